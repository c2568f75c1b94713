"""Where a trained model is, and which one it is: what is asked of a model file without torch."""

from __future__ import annotations

from captionless.errors import DataError
from captionless.store import objects

MODEL = "model.pt"


def model_url(url: str) -> str:
    """The model file at `url`, which is the file or its run's folder."""
    return url if url.endswith(".pt") else objects.join(url, MODEL)


def model_digest(url: str) -> str:
    """Its sha256 (hex). DataError when there is none."""
    try:
        return objects.sha256(model_url(url))
    except FileNotFoundError:
        raise DataError(f"{model_url(url)}: there is no such model file; train first, or correct the URL") from None
