"""Point-cloud encoders by name: every one maps (B, N, in_channels) clouds to (B, embed_dim) embeddings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from captionless.errors import SpecError, did_you_mean
from captionless.spec.encoder import EncoderSpec
from captionless.trainer.encoders.encoder import Encoder
from captionless.trainer.encoders.pointbert import PointBert
from captionless.trainer.encoders.pointnext import PointNext
from captionless.trainer.encoders.sparseconv import SparseConv

ENCODERS: dict[str, Callable[..., Encoder]] = {
    "pointnext-s": PointNext,
    "pointbert": PointBert,
    "sparseconv": SparseConv,
}


def names() -> list[str]:
    """The names that `build` knows."""
    return sorted(ENCODERS)


def build(name: str, **options: Any) -> Encoder:
    """The encoder called `name`, freshly initialised from torch's global generator.

    `options` are those of the encoder's class. SpecError on an unknown name or option.
    """
    if name not in ENCODERS:
        raise SpecError(f'unknown encoder "{name}"{did_you_mean(name, ENCODERS)}; known: {", ".join(names())}')
    try:
        return ENCODERS[name](**options)
    except (TypeError, ValueError) as error:
        raise SpecError(f"encoder {name}: {error}") from error


def encoder_options(spec: EncoderSpec, embed_dim: int) -> dict[str, Any]:
    """What `build` takes besides the encoder's name."""
    return {**spec.model_dump(exclude={"name", "operators"}), "embed_dim": embed_dim}
