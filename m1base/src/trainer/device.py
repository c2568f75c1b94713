"""Which device a rank computes on: the GPU of its place on its node.

Triton, CUDA libraries and whatever is given no device use the process's current one, wherever the tensors are. So a
rank makes its GPU the current one before anything else touches a GPU, its process group included.
"""

from __future__ import annotations

import os

import torch

from captionless.errors import SpecError


def select_device(wanted: str) -> torch.device:
    """The device of this rank for "auto", "cpu" or "cuda"; a GPU is from then on the process's current device.

    SpecError if a GPU is requested and there is none, or the node has fewer GPUs than ranks.
    """
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise SpecError("resources.device: cuda, but no CUDA device is available; use auto or cpu")
    if wanted == "cpu" or not available:
        return torch.device("cpu")
    place, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if place >= count:
        raise SpecError(
            f"resources.processes: {os.environ.get('LOCAL_WORLD_SIZE', place + 1)} processes run on this node, which "
            f"has {count} GPU{'s' if count > 1 else ''}; each needs one of its own"
        )
    device = torch.device("cuda", place)
    torch.cuda.set_device(device)
    return device
