"""Checkpoints, from which a run resumes.

A checkpoint is written while training continues: the state is serialised at once, which makes it a snapshot, and a
thread stores the bytes, one checkpoint at a time.

It is a `torch.save` document of tensors and plain values. Its name says which run it is of, so that runs with other
settings or data in the same folder do not touch it, and has the digest of its bytes, so that a damaged one is skipped
in favour of the one before (see `run_folder`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from captionless.store import objects
from captionless.telemetry import catalog, registry
from captionless.trainer.run_folder import CHECKPOINTS, CheckpointName, checkpoint_names, run_name
from captionless.trainer.torch_documents import decode, encode


class CheckpointWriter:
    """Stores the checkpoints of a run one after the other, in a thread; what fails there is raised by the next call.

    check: called before anything is stored or removed; an exception prevents it.
    """

    def __init__(self, run: str, fingerprint: str, keep: int, check: Callable[[], None] = lambda: None) -> None:
        self._run, self._name, self._keep, self._check = run, run_name(fingerprint), keep, check
        self._thread: Future[None] | None = None

    def save(self, step: int, state: dict[str, Any], beside: Mapping[str, bytes] | None = None) -> None:
        """Begin to store the state after `step` steps, once the one before it is stored; then only `keep` are left.

        beside: other files, by their paths in the run's folder, which are stored before it.
        """
        self.wait()
        began = time.monotonic()
        pool = ThreadPoolExecutor(1)
        self._thread = pool.submit(self._store, step, encode(state), dict(beside or {}), began)
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

    def _store(self, step: int, data: bytes, beside: Mapping[str, bytes], began: float) -> None:
        folder = objects.join(self._run, CHECKPOINTS)
        self._check()
        for file, content in beside.items():
            objects.write_bytes(objects.join(self._run, file), content)
        name = CheckpointName(step, self._name, hashlib.sha256(data).hexdigest()[:16])
        objects.write_bytes(objects.join(folder, str(name)), data)
        registry.set_value(catalog.TRAIN_CHECKPOINT_LAST_SUCCESS, time.time())
        registry.set_value(catalog.TRAIN_CHECKPOINT_DURATION, time.monotonic() - began)
        own = [file for file, each in checkpoint_names(self._run).items() if each.run == self._name]
        for file in own[: -self._keep]:
            objects.remove(objects.join(folder, file))


def newest(run: str, fingerprint: str) -> dict[str, Any] | None:
    """The newest intact checkpoint of a run with this fingerprint; None if there is none."""
    for file, name in reversed(checkpoint_names(run).items()):
        if name.run in (run_name(fingerprint), None):
            data = objects.read_bytes(objects.join(run, CHECKPOINTS, file))
            if hashlib.sha256(data).hexdigest()[:16] == name.digest:
                state: dict[str, Any] = decode(data)
                if state.get("fingerprint") == fingerprint:
                    return state
    return None
