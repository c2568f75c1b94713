"""The plan: which stages, in which order, reading what."""

from __future__ import annotations

from captionless.spec import load
from captionless.spec.plan import plan
from captionless.spec.variant import training_variants


def _plan(*overrides: str) -> dict[str, tuple[str, ...]]:
    spec = load.build_spec({"data": {"source": {"kind": "parametric"}}}, overrides)
    return {s.name: s.after for s in plan(spec)}


def test_only_what_the_losses_need() -> None:
    assert list(_plan("train.weights=[uniform]")) == ["list", "pack", "embed", "train-uniform-seed0", "eval"]
    with_i2i = ["list", "pack", "embed", "similarity-i2i", "train-i2i-seed0", "eval"]
    assert list(_plan("train.weights=[i2i]")) == with_i2i
    assert "landmarks" in _plan("train.weights=[avg]")


def test_every_stage_follows_what_it_reads() -> None:
    stages = _plan("train.weights=[uniform,category,i2i,i2l,avg]", "train.seeds=[0,1]")
    seen: set[str] = set()
    for name, after in stages.items():
        assert set(after) <= seen
        seen.add(name)
    assert stages["train-avg-seed1"] == ("embed", "similarity-i2i", "similarity-i2l")
    assert stages["train-category-seed0"] == ("embed", "similarity-i2i")
    assert len(stages["eval"]) == 10


def test_seeds_are_paired_and_repeated_ones_count_once() -> None:
    spec = load.build_spec(
        {"data": {"source": {"kind": "parametric"}}}, ["train.weights=[uniform,i2i,uniform]", "train.seeds=[1,0,1]"]
    )
    assert [r.name for r in training_variants(spec)] == ["uniform-seed1", "i2i-seed1", "uniform-seed0", "i2i-seed0"]
