"""The room that a supervisor makes for what its ranks cache: a folder, and memory. Both outlive the rounds.

The memory is a file without a name, of no size until it is used and of no file system's: its pages count for the
processes of this container, and are gone when the supervisor is, however it ends. Ranks open it by the supervisor's
descriptor.
"""

from __future__ import annotations

import os
import tempfile
from types import TracebackType
from typing import Self

from captionless.runtime import env, temporary_files


class NodeStorage:
    """As a context manager it leaves nothing behind."""

    def __enter__(self) -> Self:
        parent = os.environ.get(env.DATA_DISK) or None
        self._folder = tempfile.TemporaryDirectory(
            prefix=temporary_files.prefix(), dir=parent, ignore_cleanup_errors=True
        )
        self._memory = os.memfd_create("captionless") if hasattr(os, "memfd_create") else -1
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._memory >= 0:
            os.close(self._memory)
        self._folder.cleanup()

    @property
    def environment(self) -> dict[str, str]:
        """Where it is, for `NodeCache.inherited`."""
        memory = {env.NODE_MEMORY: f"/proc/{os.getpid()}/fd/{self._memory}"} if self._memory >= 0 else {}
        return {env.NODE_FOLDER: self._folder.name, **memory}
