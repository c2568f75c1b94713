"""Weights & Biases, if its package is there: a run of theirs for each of ours, which a resumed one continues.

Their environment variables apply: WANDB_API_KEY, WANDB_MODE (`offline` keeps all in a local folder, for `wandb sync`),
WANDB_PROJECT, WANDB_DIR.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from typing import Any

from captionless.errors import SpecError, one_line
from captionless.runtime.redaction import public
from captionless.store import objects
from captionless.trainer.training_job import TrainingJob

_PROJECT = "captionless"


class WeightsAndBiases:
    """A `Log`; see `logs`. Steps that a resumed run makes again are told once: theirs only grow."""

    def __init__(self, job: TrainingJob, fingerprint: str, done: int) -> None:
        try:
            import wandb
        except ImportError:
            raise SpecError(
                "train.logs: wandb: the package is not installed; pip install 'captionless[wandb]', or leave it out"
            ) from None
        folder = os.environ.get("WANDB_DIR")
        if folder is None:
            folder = objects.local_path(job.run) if objects.is_local(job.run) else tempfile.gettempdir()
        os.makedirs(folder, exist_ok=True)
        try:
            self._run: Any = wandb.init(
                project=os.environ.get("WANDB_PROJECT", _PROJECT),
                id=objects.digest(job.run, fingerprint)[:16],
                name=job.title.removeprefix("train "),
                config=dict(public({**job.fields, "train.weights": job.weights.value, "train.seeds": job.seed})),
                resume="allow",
                dir=folder,
            )
        except Exception as error:
            raise SpecError(
                f"train.logs: wandb: {one_line(error)}; log in (`wandb login`), or set WANDB_MODE=offline"
            ) from error

    def tell(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def files(self) -> dict[str, bytes]:
        return {}

    def close(self) -> None:
        self._run.finish()
