"""A trained encoder's model file: a `torch.save` document of tensors and plain values.

`torch.load(..., weights_only=True)` reads it without this package. It holds the encoder's name, options and weights,
and whatever plain values its training adds.
"""

from __future__ import annotations

import hashlib
from typing import Any

from captionless.errors import CaptionlessError, DataError, SpecError, one_line
from captionless.runtime.redaction import public
from captionless.store import objects
from captionless.trainer import encoders
from captionless.trainer.encoders.encoder import Encoder
from captionless.trainer.run_folder import HISTORY, MODEL, check_place, model_url
from captionless.trainer.torch_documents import decode, encode

_FORMAT = "captionless model"


def save_model(url: str, model: Encoder, name: str, options: dict[str, Any], meta: dict[str, Any]) -> None:
    """Store a trained encoder with what rebuilds it, `encoders.build(name, **options)`, and `meta`, plain values, of
    which what signs URLs is not stored."""
    state = {key: value.detach().cpu() for key, value in model.state_dict().items()}
    document = {"format": _FORMAT, "version": 1, "encoder": {"name": name, "options": options, "state": state}}
    objects.write_bytes(url, encode({**document, **public(meta)}))


def load_model(url: str, sha256: str = "") -> tuple[Encoder, dict[str, Any]]:
    """A trained encoder on the CPU, in evaluation mode, and the rest of its model file, including the encoder's name
    and options (`encoder`).

    `url` is the file or its run's folder. DataError when it is missing, corrupt, not such a file, not the one of this
    `sha256` (if given), or contains values that are not finite.
    """
    document = read_model(url, sha256)
    try:
        encoder = document.pop("encoder")
        model = encoders.build(encoder["name"], **encoder["options"])
        model.load_state_dict(encoder["state"])
        document["encoder"] = {"name": encoder["name"], "options": encoder["options"]}
    except (KeyError, TypeError, RuntimeError, CaptionlessError) as error:
        raise DataError(f"{url}: cannot rebuild its encoder ({one_line(error)})") from error
    for key, value in model.state_dict().items():
        if not bool(value.isfinite().all()):
            raise DataError(f"{url}: {key} contains NaN or infinite values; retrain")
    return model.eval(), document


def load_into(encoder: Encoder, url: str) -> dict[str, Any]:
    """Load the weights of a model file into `encoder`; returns the rest of it, as `load_model`, whose errors these are
    too. SpecError when the encoders differ."""
    model, about = load_model(url)
    try:
        encoder.load_state_dict(model.state_dict())
    except RuntimeError as error:
        raise SpecError(f"train.init: the encoder of {url} does not match train.encoder ({one_line(error)})") from error
    return about


def read_model(url: str, sha256: str = "") -> dict[str, Any]:
    """A model file as a document; the same errors as `load_model`, the encoder's tensors unchecked."""
    check_place(url)
    url = model_url(url)
    try:
        data = objects.read_bytes(url)
        if sha256 and hashlib.sha256(data).hexdigest() != sha256:
            raise DataError(f"{url}: replaced while it was used; rerun")
        document = decode(data)
    except FileNotFoundError:
        raise DataError(f"{url}: model file not found; train first, or correct the URL") from None
    except Exception as error:
        if isinstance(error, CaptionlessError):
            raise
        raise DataError(f"{url}: not a model file, or corrupt; retrain") from error
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise DataError(f"{url}: not a captionless model file; expected the {MODEL} of a training run")
    if document.get("version") != 1:
        raise DataError(f"{url}: model file version {document.get('version')}; this release supports version 1")
    return document


def is_finished(run: str, fingerprint: str) -> bool:
    """Whether the run's model file exists, is intact, and was trained with these settings and data, and its history is
    there and is not another run's, which was written late."""
    if not objects.exists(objects.join(run, MODEL)):
        return False
    try:
        if read_model(run).get("fingerprint") != fingerprint:
            return False
        history = objects.read_json(objects.join(run, HISTORY))
        return bool(history.get("fingerprint", fingerprint) == fingerprint)
    except (DataError, FileNotFoundError, AttributeError):
        return False  # trained again
