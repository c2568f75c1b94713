"""What a model file says of itself: what it was trained with, on what, and by what."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch

from captionless import __version__
from captionless.trainer.data.training_data import TrainingData
from captionless.trainer.training_job import TrainingJob


def about_model(
    job: TrainingJob,
    data: TrainingData,
    *,
    fingerprint: str,
    step: int,
    log_scale: float,
    skipped: Sequence[str],
    segments: Sequence[dict[str, Any]],
    processes: int,
    device: str,
) -> dict[str, Any]:
    """Plain values beside the encoder of a finished run (see `model_file`), the same whether it was resumed or not.

    step: from which the weights are. skipped: keys of objects. segments: which steps were made with what.
    """
    return {
        "fingerprint": fingerprint,
        "step": step,
        "log_scale": log_scale,
        "clip": {**job.clip, "embed_dim": data.features},
        "points": job.train.points,
        "weights": job.weights.value,
        "seed": job.seed,
        "train": job.train.model_dump(mode="json"),
        "provenance": {
            **job.provenance,
            "data": data.digest,
            **({"neighbours": job.mined} if job.mined else {}),
            "training_objects": len(data.training),
            "validation_objects": len(data.validation),
            "skipped": list(skipped),
            "segments": json.loads(json.dumps(segments)),
            "captionless": __version__,
            "torch": str(torch.__version__),
            "processes": processes,
            "threads": job.threads,
            "device": device,
        },
    }
