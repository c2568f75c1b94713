"""What distinguishes a training from the others of its run, and the names that say so.

[<loss>-]<weights>[-<encoder>]-seed<seed>    avg-seed0, hcl-uniform-seed3, i2i-pointbert-seed0

A training's folder, its stage and its figures are called by it. Loss and encoder are named where they are not the usual
ones. All but the seed is the mode: what tables have a row for, and what is compared with the baseline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, get_args

from captionless.spec.alignment import AlignmentSpec
from captionless.spec.encoder import EncoderSpec
from captionless.spec.train import TrainSpec
from captionless.spec.weights import BASELINE, Weights

_LOSSES: tuple[str, ...] = get_args(TrainSpec.model_fields["loss"].annotation)
_ENCODERS: tuple[str, ...] = get_args(EncoderSpec.model_fields["name"].annotation)


def _name(weights: str, loss: str, encoder: str) -> str:
    others = loss if loss != _LOSSES[0] else "", encoder if encoder != _ENCODERS[0] else ""
    return "-".join(filter(None, (others[0], weights, others[1])))


@dataclass(frozen=True)
class Mode:
    """All of a training but its seed."""

    weights: Weights
    loss: str = _LOSSES[0]
    encoder: str = _ENCODERS[0]

    def __str__(self) -> str:
        return _name(self.weights.value, self.loss, self.encoder)

    @property
    def baseline(self) -> Mode:
        """The one with which this is compared: the same loss and encoder, its negatives unweighted."""
        return replace(self, weights=BASELINE)


MODES: dict[str, Mode] = {
    str(mode): mode for mode in (Mode(w, loss, e) for e, loss, w in product(_ENCODERS, _LOSSES, Weights))
}
"""All there are by their names, in the order of a table's rows."""


@dataclass(frozen=True)
class TrainingVariant:
    """One training: a mode and a seed."""

    mode: Mode
    seed: int

    @property
    def weights(self) -> Weights:
        return self.mode.weights

    @property
    def name(self) -> str:
        return f"{self.mode}-seed{self.seed}"


def training_variants(spec: AlignmentSpec) -> tuple[TrainingVariant, ...]:
    """The trainings of a spec: every kind of weights with every seed, seeds outermost."""
    return tuple(
        training_variant(spec, w, s) for s in dict.fromkeys(spec.train.seeds) for w in dict.fromkeys(spec.train.weights)
    )


def training_variant(spec: AlignmentSpec, weights: Weights, seed: int) -> TrainingVariant:
    """The spec's training with these weights and this seed, which it need not list."""
    return TrainingVariant(Mode(weights, spec.train.loss, spec.train.encoder.name), seed)


def variant_named(name: str) -> TrainingVariant:
    """The training of this name."""
    mode, _, seed = name.rpartition("-seed")
    return TrainingVariant(MODES[mode], int(seed))


def mode_of(about: Mapping[str, Any]) -> str:
    """What a model file says of itself, see `trainer.model_file`: the name of the mode that it was trained in."""
    loss = about.get("train", {}).get("loss", _LOSSES[0])
    return _name(str(about["weights"]), str(loss), str(about["encoder"]["name"]))


def baseline_of(mode: str) -> str:
    """The name of the mode with which the one of this name is compared."""
    return str(MODES[mode].baseline) if mode in MODES else BASELINE.value
