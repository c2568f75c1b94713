"""The folder of a training run: the names of its files, and the location and digest of its model. Without torch."""

from __future__ import annotations

from captionless.errors import DataError
from captionless.store import objects

MODEL = "model.pt"
"""The trained model, written last: its presence says that the run is complete."""

HISTORY = "history.json"
"""The curves of the run."""

CHECKPOINTS = "checkpoints"
"""The folder of the checkpoints."""


def model_url(url: str) -> str:
    """The model file at `url`, which is the file or its run's folder."""
    return url if is_model(url) else objects.join(url, MODEL)


def is_model(url: str) -> bool:
    """Whether a URL, which may be signed, is that of a model file."""
    return url.partition("?")[0].endswith(".pt")


def model_digest(url: str) -> str:
    """The sha256 (hex) of the model file at `url`. DataError when it does not exist."""
    try:
        return objects.sha256(model_url(url))
    except FileNotFoundError:
        raise DataError(f"{model_url(url)}: model file not found; train first, or correct the URL") from None
