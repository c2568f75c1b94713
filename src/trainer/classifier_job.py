"""Describes the training of one classifier. Without torch, so that a finished one is recognised quickly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from captionless.spec.classification import ClassifySpec
from captionless.store import objects
from captionless.trainer.run_folder import model_digest

FORMAT = 2
"""Version of the training's arithmetic and of its files; a checkpoint of another version is not resumed."""

EARLIER = 1
"""The version before, which drew other random numbers and else did the same: its classifiers are as good."""


@dataclass(frozen=True)
class ClassifierJob:
    """run: the folder of checkpoints/, history.json, and model.pt, written last. title: for the progress. data_digest:
    of the clouds and their classes. meta: plain values, copied into the model file."""

    run: str
    title: str
    spec: ClassifySpec
    classes: tuple[str, ...]
    data_digest: str
    meta: dict[str, Any] = field(default_factory=dict)

    def fingerprint(self, version: int = FORMAT) -> str:
        """Digest of what determines the result, except the number of threads, which changes only the last bits."""
        spec = self.spec.determining({"init", *ClassifySpec.OPERATIONAL})
        init = model_digest(self.spec.init) if self.spec.init else ""
        return objects.digest(version, spec, init, self.classes, self.data_digest)
