"""What trainings are called: told apart by all that may be stored side by side, and read back from the name."""

from __future__ import annotations

import pytest

from captionless.eval.tables import row_name
from captionless.spec import load
from captionless.spec.plan import plan
from captionless.spec.variant import (
    MODES,
    Mode,
    baseline_of,
    mode_of,
    training_variants,
    variant_named,
)
from captionless.spec.weights import Weights


@pytest.mark.parametrize(
    ("train", "names"),
    [
        ({"weights": ["avg"]}, ["avg-seed0"]),
        ({"weights": ["uniform", "i2i"], "loss": "hcl", "seeds": [7]}, ["hcl-uniform-seed7", "hcl-i2i-seed7"]),
        ({"weights": ["i2i"], "encoder": {"name": "pointbert"}}, ["i2i-pointbert-seed0"]),
        ({"weights": ["i2i"], "loss": "hcl", "encoder": {"name": "sparseconv"}}, ["hcl-i2i-sparseconv-seed0"]),
    ],
)
def test_loss_and_encoder_are_named_where_not_usual(train: dict[str, object], names: list[str]) -> None:
    spec = load.build_spec({"data": {"source": {"kind": "parametric"}}, "train": train})
    assert [run.name for run in training_variants(spec)] == names
    assert [s.output for s in plan(spec) if s.command[0] == "train"] == [f"train/{name}" for name in names]
    assert [variant_named(name) for name in names] == list(training_variants(spec))


def test_every_mode_has_a_name_of_its_own_and_a_baseline_of_its_kind() -> None:
    assert len(MODES) == 2 * 3 * 5
    assert len({row_name(name) for name in MODES}) == len(MODES)
    for name, mode in MODES.items():
        assert MODES[baseline_of(name)] == Mode(Weights.uniform, mode.loss, mode.encoder)
    assert list(MODES)[:5] == [weights.value for weights in Weights]


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("uniform", "InfoNCE"), ("avg", "AVG"), ("hcl-uniform", "HCL"), ("hcl-i2i", "HCL, I2I"),
        ("uniform-pointbert", "InfoNCE, PointBERT"), ("hcl-uniform-sparseconv", "HCL, SparseConv"), ("mine", "mine"),
    ],
)  # fmt: skip
def test_rows_say_what_a_run_is(mode: str, name: str) -> None:
    assert row_name(mode) == name


def test_a_model_file_says_what_it_is() -> None:
    about = {"weights": "i2l", "encoder": {"name": "pointbert"}}
    assert mode_of(about) == "i2l-pointbert"
    assert mode_of(about | {"train": {"loss": "hcl"}}) == str(Mode(Weights.i2l, "hcl", "pointbert"))
