"""Checkpoints, from which a run resumes.

A checkpoint is written while training continues: the state is serialised at once, which makes it a snapshot, and a
thread stores the bytes, one checkpoint at a time.

It is a `torch.save` document of tensors and plain values. Its name carries the digest of its bytes,
`step-00000200-<sha256, 16 digits>.pt`, so that a damaged one is skipped in favour of the one before; it holds the
fingerprint of its run, so that a run whose settings or data have changed starts over.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from captionless.store import objects
from captionless.telemetry import catalog, registry
from captionless.trainer.run_folder import CHECKPOINTS
from captionless.trainer.torch_documents import decode, encode

_NAME = re.compile(r"step-(\d{8})-([0-9a-f]{16})\.pt")


class CheckpointWriter:
    """Stores the checkpoints of a run one after the other, in a thread; what fails there is raised by the next call.

    check: called before anything is stored or removed; an exception prevents it.
    """

    def __init__(self, run: str, keep: int, check: Callable[[], None] = lambda: None) -> None:
        self._run, self._keep, self._check = run, keep, check
        self._thread: Future[None] | None = None

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Begin to store the state after `step` steps, once the one before it is stored; then only `keep` are left."""
        self.wait()
        began = time.monotonic()
        pool = ThreadPoolExecutor(1)
        self._thread = pool.submit(self._store, step, encode(state), began)
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

    def _store(self, step: int, data: bytes, began: float) -> None:
        folder = objects.join(self._run, CHECKPOINTS)
        self._check()
        objects.write_bytes(objects.join(folder, f"step-{step:08d}-{hashlib.sha256(data).hexdigest()[:16]}.pt"), data)
        registry.set_value(catalog.TRAIN_CHECKPOINT_LAST_SUCCESS, time.time())
        registry.set_value(catalog.TRAIN_CHECKPOINT_DURATION, time.monotonic() - began)
        for name in _names(folder)[: -self._keep]:
            objects.remove(objects.join(folder, name))


def newest(run: str, fingerprint: str) -> dict[str, Any] | None:
    """The newest intact checkpoint of a run with this fingerprint; None if there is none."""
    folder = objects.join(run, CHECKPOINTS)
    for name in reversed(_names(folder)):
        data = objects.read_bytes(objects.join(folder, name))
        matched = _NAME.fullmatch(name)
        if matched and hashlib.sha256(data).hexdigest()[:16] == matched[2]:
            state: dict[str, Any] = decode(data)
            if state.get("fingerprint") == fingerprint:
                return state
    return None


def discard(run: str) -> None:
    """Remove all checkpoints of a run."""
    objects.remove(objects.join(run, CHECKPOINTS))


def _names(folder: str) -> list[str]:
    """Checkpoints in a folder, oldest first."""
    return [name for name in objects.list_names(folder) if _NAME.fullmatch(name)]
