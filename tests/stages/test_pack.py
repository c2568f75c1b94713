"""Dealing objects to shards: even enough, and stable when objects come."""

from __future__ import annotations

from pathlib import Path

import pytest
import trimesh

from captionless.errors import DataError
from captionless.spec import load
from captionless.spec.alignment import AlignmentSpec
from captionless.stages import pack
from captionless.stages.pack import shard_count
from captionless.store import objects
from captionless.store.ledger import Ledger
from captionless.telemetry import catalog, registry


@pytest.mark.parametrize(
    ("count", "per_shard", "expected"),
    [(1, 256, 1), (256, 256, 1), (384, 256, 2), (720, 128, 4), (1000, 100, 8), (52_000, 256, 256)],
)
def test_the_number_of_shards_is_the_nearest_power_of_two(count: int, per_shard: int, expected: int) -> None:
    assert shard_count(count, per_shard) == expected


def _folder(folder: Path, count: int) -> None:
    for number in range(count):
        path = folder / "box" / f"b{number:02d}.glb"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            trimesh.creation.box((1, 1 + number / 7, 2)).export(path)


def _spec(folder: Path, **data: object) -> AlignmentSpec:
    return load.build_spec(
        {
            "output": str(folder / "out"),
            "data": {
                "source": {"kind": "folder", "url": str(folder / "shapes")},
                "views": 2, "imageSize": 32, "points": 32, "shardObjects": 3, "testFraction": 0, **data,
            },
            "train": {"weights": ["uniform"], "points": 32},
        }
    )  # fmt: skip


def test_a_new_object_and_a_changed_one_touch_their_shards_only(tmp_path: Path) -> None:
    _folder(tmp_path / "shapes", 12)
    spec = _spec(tmp_path)
    assert pack.run(spec).made == 4
    assert pack.run(spec).made == 0
    _folder(tmp_path / "shapes", 13)
    assert pack.run(spec).made == 1
    trimesh.creation.box((3, 1, 2)).export(tmp_path / "shapes" / "box" / "b05.glb")
    assert pack.run(spec).made == 1


def test_broken_objects_are_named_counted_and_left_out_up_to_the_limit(tmp_path: Path) -> None:
    _folder(tmp_path / "shapes", 6)
    (tmp_path / "shapes" / "box" / "broken.obj").write_text("v 0 0 nan\n")
    (tmp_path / "shapes" / "box" / "flat.obj").write_text("v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n")
    with pytest.raises(DataError, match=r"data\.maxSkipped allows 0") as caught:
        pack.run(_spec(tmp_path))
    assert "box/broken" in str(caught.value)
    assert "box/flat" in str(caught.value)
    registry.reset()
    pack.run(_spec(tmp_path, maxSkipped=2))
    facts = Ledger(objects.join(str(tmp_path), "out", "pack")).manifest().facts()
    assert sorted(s["key"] for f in facts for s in f["skipped"]) == ["box/broken", "box/flat"]
    # One series, however many objects are left out.
    assert [m[1:] for m in registry.snapshot() if m[0] == catalog.STAGE_SKIPPED_OBJECTS.name] == [[["broken"], 2]]
    assert sum(len(f["objects"]) for f in facts) == 6
