"""Folders and manifests of small files to list: they need not be meshes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from captionless.spec import load
from captionless.spec.alignment import AlignmentSpec
from captionless.store import objects
from captionless.store.listing import open_listing


def spec_of(root: str, kind: str, url: str, **data: Any) -> AlignmentSpec:
    """A spec whose outputs are in `root`."""
    source = {"kind": kind, "url": url, **data.pop("source", {})}
    return load.build_spec(
        {
            "output": root,
            "data": {"source": source, "shardObjects": 4, "testFraction": 0.25, "points": 32, **data},
            "train": {"weights": ["uniform"], "points": 32},
        }
    )


def put(root: str, **content: str) -> None:
    """Writes files, named by `category__name`, as OBJ files."""
    for name, text in content.items():
        objects.write_bytes(objects.join(root, *name.split("__")) + ".obj", text.encode())


def fill(root: str, count: int, category: str = "box", first: int = 0) -> None:
    put(root, **{f"{category}__{number:03d}": f"{category} {number}" for number in range(first, first + count)})


def manifest(path: Path, *lines: dict[str, Any]) -> str:
    base = {"category": "box", "source": "here", "licence": "CC0"}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({**base, "mesh": f"{line['key']}.obj", **line}) + "\n" for line in lines))
    return str(path)


def rows(root: str) -> dict[str, dict[str, Any]]:
    """All rows of the published listing by key."""
    found = open_listing(objects.join(root, "list"))
    return {row["key"]: row for batch in found.batches() for row in batch.to_pylist()}


def shards(root: str) -> dict[str, list[str]]:
    """The keys of every shard, as a reader gets them."""
    found = open_listing(objects.join(root, "list"))
    return {shard.name: [each.key for each in found.rows(shard)] for shard in found.shards}
