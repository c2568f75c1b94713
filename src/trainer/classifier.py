"""A classifier: an encoder and a linear layer from its embedding to a score for each class.

Its file is the encoder's model file (see `model_file`) with the linear layer as `head`, {weight (C, D), bias (C,)}, and
the C names as `classes`: whatever reads a trained encoder can read a classifier's, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from captionless.errors import DataError, one_line
from captionless.trainer import model_file
from captionless.trainer.encoders.encoder import Encoder
from captionless.trainer.infer import embed_points


class Classifier(nn.Module):
    """(B, N, in_channels) float clouds, xyz first -> (B, C) logits of `classes`."""

    def __init__(self, encoder: Encoder, classes: Sequence[str]) -> None:
        super().__init__()
        self.encoder, self.classes = encoder, tuple(classes)
        self.head = nn.Linear(encoder.embed_dim, len(classes))

    def forward(self, points: Tensor, keys: Tensor | None = None) -> Tensor:
        """keys: see `Encoder.keys_of`."""
        return torch.as_tensor(self.head(self.encoder(points, keys)))


def logits(classifier: Classifier, points: NDArray[Any], n_points: int) -> NDArray[np.float32]:
    """(n, C) float32 of the first `n_points` points of stored clouds, as `infer` takes them."""
    classifier.eval()
    return head_logits(classifier.head, embed_points(classifier.encoder, points, n_points))


def head_logits(head: nn.Module, embedded: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, C) float32 of embeddings (n, D) float32."""
    with torch.no_grad():
        scores: Tensor = head(torch.from_numpy(embedded).to(next(head.parameters()).device))
    return scores.float().cpu().numpy()


def save_classifier(url: str, classifier: Classifier, name: str, options: dict[str, Any], meta: dict[str, Any]) -> None:
    """Store a classifier whose encoder is `encoders.build(name, **options)`, and `meta`, plain values."""
    head = {key: value.detach().cpu() for key, value in classifier.head.state_dict().items()}
    document = {"head": head, "classes": list(classifier.classes), **meta}
    model_file.save_model(url, classifier.encoder, name, options, document)


def load_classifier(url: str) -> tuple[Classifier, dict[str, Any]]:
    """A classifier on the CPU, in evaluation mode, and the rest of its file; errors as `model_file.load_model`."""
    encoder, meta = model_file.load_model(url)
    if "head" not in meta or "classes" not in meta:
        raise DataError(f"{url}: an encoder without a classification head; train one with `captionless classify`")
    classifier = Classifier(encoder, meta["classes"])
    try:
        classifier.head.load_state_dict(meta.pop("head"))
    except (TypeError, RuntimeError, AttributeError) as error:
        count = len(classifier.classes)
        raise DataError(f"{url}: its head does not match its {count} classes ({one_line(error)})") from error
    for key, value in classifier.head.state_dict().items():
        if not bool(value.isfinite().all()):
            raise DataError(f"{url}: head.{key} contains NaN or infinite values; retrain")
    return classifier.eval(), meta
