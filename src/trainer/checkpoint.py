"""Checkpoints that a run goes on from, and the model file that it ends with.

A checkpoint is written behind the training: the state is serialised at once, which is its snapshot, and the bytes are
stored by a thread, one checkpoint at a time.

Both are `torch.save` documents of tensors and plain values, readable by `torch.load(..., weights_only=True)` without
this package. A checkpoint carries the digest of its bytes in its name, `step-00000200-<sha256, 16 digits>.pt`, so
that a damaged one is passed over for the one before it; and the fingerprint of its run, so that a run whose settings
or data have changed begins anew.
"""

from __future__ import annotations

import hashlib
import io
import re
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch

from captionless.errors import CaptionlessError, DataError, SpecError, one_line
from captionless.store import objects
from captionless.telemetry import catalog, registry
from captionless.trainer import encoders, modelfile
from captionless.trainer.encoders.encoder import Encoder

MODEL = modelfile.MODEL
_FOLDER = "checkpoints"
_NAME = re.compile(r"step-(\d{8})-([0-9a-f]{16})\.pt")
_MODEL_FORMAT = "captionless model"


class Writer:
    """Stores the checkpoints of a run one after the other, in a thread; what fails there is raised by the next call."""

    def __init__(self, run: str, keep: int) -> None:
        self._run, self._keep = run, keep
        self._thread: Future[None] | None = None

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Begin to store the state after `step` steps, once the one before it is stored; then only `keep` are left."""
        self.wait()
        began = time.monotonic()
        pool = ThreadPoolExecutor(1)
        self._thread = pool.submit(_store, self._run, step, _encode(state), self._keep, began)
        pool.shutdown(wait=False)

    def ended(self) -> bool:
        """Whether a checkpoint has been stored since this was last asked or waited for."""
        if self._thread is None or not self._thread.done():
            return False
        self.wait()
        return True

    def wait(self) -> None:
        """Until what was begun is stored."""
        if self._thread is not None:
            thread, self._thread = self._thread, None
            thread.result()


def _store(run: str, step: int, data: bytes, keep: int, began: float) -> None:
    folder = objects.join(run, _FOLDER)
    objects.write_bytes(objects.join(folder, f"step-{step:08d}-{hashlib.sha256(data).hexdigest()[:16]}.pt"), data)
    registry.set_value(catalog.TRAIN_CHECKPOINT_LAST_SUCCESS, time.time())
    registry.set_value(catalog.TRAIN_CHECKPOINT_DURATION, time.monotonic() - began)
    for name in _names(folder)[:-keep]:
        objects.remove(objects.join(folder, name))


def newest(run: str, fingerprint: str) -> dict[str, Any] | None:
    """The newest whole checkpoint of a run with this fingerprint, None when there is none."""
    folder = objects.join(run, _FOLDER)
    for name in reversed(_names(folder)):
        data = objects.read_bytes(objects.join(folder, name))
        matched = _NAME.fullmatch(name)
        if matched and hashlib.sha256(data).hexdigest()[:16] == matched[2]:
            state: dict[str, Any] = _decode(data)
            if state.get("fingerprint") == fingerprint:
                return state
    return None


def discard(run: str) -> None:
    """Remove all checkpoints of a run."""
    objects.remove(objects.join(run, _FOLDER))


def save_model(url: str, model: Encoder, name: str, options: dict[str, Any], meta: dict[str, Any]) -> None:
    """Store a trained encoder with what rebuilds it, `encoders.build(name, **options)`, and `meta`, plain values."""
    state = {key: value.detach().cpu() for key, value in model.state_dict().items()}
    document = {"format": _MODEL_FORMAT, "version": 1, "encoder": {"name": name, "options": options, "state": state}}
    objects.write_bytes(url, _encode({**document, **meta}))


def load_model(url: str) -> tuple[Encoder, dict[str, Any]]:
    """A trained encoder on the CPU, in evaluation mode, and the rest of its model file, the encoder's name and options
    (`encoder`) among it.

    `url` is the file or its run's folder. DataError when it is missing, damaged, not such a file, or holds values
    that are not finite.
    """
    document = read_model(url)
    try:
        encoder = document.pop("encoder")
        model = encoders.build(encoder["name"], **encoder["options"])
        model.load_state_dict(encoder["state"])
        document["encoder"] = {"name": encoder["name"], "options": encoder["options"]}
    except (KeyError, TypeError, RuntimeError, CaptionlessError) as error:
        raise DataError(f"{url}: its encoder cannot be rebuilt ({one_line(error)})") from error
    for key, value in model.state_dict().items():
        if not bool(value.isfinite().all()):
            raise DataError(f"{url}: {key} holds NaN or infinite values; train again")
    return model.eval(), document


def load_into(encoder: Encoder, url: str) -> None:
    """Give `encoder` the weights of a model file's. Errors as `load_model`; SpecError when it is built otherwise."""
    model, _ = load_model(url)
    try:
        encoder.load_state_dict(model.state_dict())
    except RuntimeError as error:
        raise SpecError(f"train.init: the encoder of {url} is not that of train.encoder ({one_line(error)})") from error


def read_model(url: str) -> dict[str, Any]:
    """A model file as a document; the same errors as `load_model`, the encoder's tensors unchecked."""
    url = modelfile.model_url(url)
    try:
        document = _decode(objects.read_bytes(url))
    except FileNotFoundError:
        raise DataError(f"{url}: there is no such model file; train first, or correct the URL") from None
    except Exception as error:
        if isinstance(error, CaptionlessError):
            raise
        raise DataError(f"{url}: not a model file, or a damaged one; train again") from error
    if not isinstance(document, dict) or document.get("format") != _MODEL_FORMAT:
        raise DataError(f"{url}: not a model file of captionless; expected a run's {MODEL}")
    if document.get("version") != 1:
        raise DataError(f"{url}: model file of version {document.get('version')}; this release reads version 1")
    return document


def is_finished(run: str, fingerprint: str) -> bool:
    """Whether the run's model file is there, whole, and of these settings and data."""
    if not objects.exists(objects.join(run, MODEL)):
        return False
    try:
        return bool(read_model(run).get("fingerprint") == fingerprint)
    except DataError:
        return False  # made again


def _names(folder: str) -> list[str]:
    """Checkpoints in a folder, oldest first."""
    return [name for name in objects.list_names(folder) if _NAME.fullmatch(name)]


def _encode(value: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _decode(data: bytes) -> Any:
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
