"""Which device a rank computes on."""

from __future__ import annotations

import torch

from captionless.errors import SpecError
from captionless.trainer import distributed


def select_device(wanted: str) -> torch.device:
    """The device of this rank for "auto", "cpu" or "cuda". SpecError if a GPU is requested and there is none."""
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise SpecError("resources.device: cuda, but no CUDA device is available; use auto or cpu")
    if wanted == "cpu" or not available:
        return torch.device("cpu")
    return torch.device("cuda", distributed.rank() % torch.cuda.device_count())
