"""Documents of tensors and plain values as bytes, written by `torch.save`."""

from __future__ import annotations

import io
from typing import Any

import torch


def encode(value: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def decode(data: bytes) -> Any:
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
