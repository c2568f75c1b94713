"""What stages say they have done when a source grows and shrinks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from captionless.spec.load import load_spec
from captionless.stages import embed, landmarks, listing, pack
from captionless.stages.work_items import Outcome, Shard
from captionless.store.listing import open_listing
from tests.chaos.world import World


def _counts(outcome: Outcome) -> tuple[int, int, int, int]:
    return outcome.made, outcome.kept, outcome.removed, outcome.skipped


def test_what_is_gone_with_a_whole_shard_or_category_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    world = World.begin(tmp_path)
    spec = load_spec(os.fspath(tmp_path / "spec.yaml"))

    def run() -> dict[str, tuple[int, int, int, int]]:
        return {
            "list": _counts(listing.run(spec)), "pack": _counts(pack.run(spec)), "embed": _counts(embed.run(spec)),
            "landmarks": _counts(landmarks.run(spec)),
        }  # fmt: skip

    run()
    found = open_listing("out/list")
    *_, last = found.shards
    for one in found.rows(last):
        world.remove(one.key)
    left = len(world.variants)
    gone = (0, left, last.objects, 0)
    assert run() == {"list": gone, "pack": gone, "embed": gone, "landmarks": (0, 8, 0, 0)}
    kept = (0, left, 0, 0)
    assert run() == {"list": kept, "pack": kept, "embed": kept, "landmarks": (0, 8, 0, 0)}
    for key in [key for key in world.variants if key.startswith("cone")]:
        world.remove(key)
    listing.run(spec)
    # whichever worker publishes tells
    assert [_counts(landmarks.run(spec, Shard(index, 2))) for index in (1, 0)] == [(0, 0, 4, 0), (0, 4, 0, 0)]
