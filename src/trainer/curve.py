"""The curve of a run while it trains: JSON lines beside its checkpoints, for whoever wants to look before it ends.

    checkpoints/curve-<run>-<first step>.jsonl    a line a step: `step`, `loss`, `scale`, `lr`, `grad_norm` ...

Object storage cannot append. So every checkpoint brings a file with the steps since the one before, and a run that
resumes removes those of steps that it is going to make again. In the end `history.json` has all steps, and replaces
them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from captionless.spec.train import BatchesSpec
from captionless.store import objects
from captionless.telemetry import catalog
from captionless.trainer.run_folder import CHECKPOINTS, curve_names

MEASURED = {
    "loss": catalog.TRAIN_LOSS,
    "scale": catalog.TRAIN_LOGIT_SCALE,
    "lr": catalog.TRAIN_LEARNING_RATE,
    "grad_norm": catalog.TRAIN_GRADIENT_NORM,
    "weight_entropy": catalog.TRAIN_WEIGHT_ENTROPY,
    "false_negatives": catalog.TRAIN_FALSE_NEGATIVES,
}
"""What may be recorded of a step, and its metric."""


def measured(batches: BatchesSpec) -> list[str]:
    """What is recorded of a run's steps."""
    return [name for name in MEASURED if name != "false_negatives" or batches.false_negatives > 0]


def lines(history: Mapping[str, Sequence[float | None]], first: int, stop: int) -> bytes:
    """The steps [first, stop) of a run's history, a list for each of what was measured."""
    rows = ({"step": step} | {name: values[step] for name, values in history.items()} for step in range(first, stop))
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def forget(run: str, fingerprint: str, first: int = 0) -> None:
    """Removes the stored steps of the run with this fingerprint from `first` on, where a file begins."""
    for name, begins in curve_names(run, fingerprint).items():
        if begins >= first:
            objects.remove_file(objects.join(run, CHECKPOINTS, name))
