"""What the ranks of a node share of the training data: memory, copies on the disk, and the table of objects.

A supervisor makes room for them and outlives its rounds, and so do they: ranks that are started again find what was
read before (`elastic.node_storage`). A training without a supervisor has what it caches for itself.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from typing import Self

from captionless.runtime import env, temporary_files
from captionless.store.disk_cache import DiskCache


@dataclass(frozen=True)
class NodeCache:
    """disk: copies of what storage has. memory: the path of memory that the ranks share; None: each has its own. ranks:
    how many there are on this node. folder: of files that describe the data set; None: there is none."""

    disk: DiskCache | None = None
    memory: str | None = None
    ranks: int = 1
    folder: str | None = None

    @classmethod
    def inherited(cls, limit: int) -> Self:
        """What the supervisor has made room for. limit: bytes of the disk; 0: nothing is copied."""
        folder = os.environ.get(env.NODE_FOLDER)
        ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        disk = None
        if limit:
            where = folder or tempfile.mkdtemp(prefix=temporary_files.prefix())  # swept when this process has ended
            disk = DiskCache(os.path.join(where, "copies"), limit)
        return cls(disk, os.environ.get(env.NODE_MEMORY), ranks, folder)
