"""The record of a training run, whose files have the same names whatever the run was made from.

A worker of another run that was frozen, or a request of its own that is served late, may put its model or history in
the place of those that are recorded. Of which run they are the files say themselves. So they are told from files that
somebody has modified, and the recorded ones are brought back, from where the other run has moved them (see
`trainer.earlier_models`), or made again.
"""

from __future__ import annotations

import hashlib

from captionless.errors import DataError
from captionless.store import objects
from captionless.store.ledger import Ledger
from captionless.store.manifest import WorkRecord
from captionless.trainer.run_folder import HISTORY, earlier_url

PART = "model"
"""The only part of a training run."""


def whole(ledger: Ledger, fingerprint: str) -> WorkRecord | None:
    """The record of the run with this fingerprint if its files are the recorded ones by their bytes; None if it is to
    be made.

    A file that a frozen worker has put in their place has the time at which it was written, which may be before they
    were, so that times tell nothing.

    Raises:
        DataError: a file was modified, and is not of another run.
    """
    record = ledger.record(PART, fingerprint)
    if record is None:
        return None
    own_again = False
    for name, file in record.files.items():
        if _is_stored(ledger.url, name, file["sha256"]) or _is_back(ledger.url, fingerprint, name, file["sha256"]):
            continue
        of = _run_of(objects.join(ledger.url, name), name)
        if of == fingerprint and name == HISTORY:
            own_again = True  # the same curve, written once more: only its seconds differ
        elif of in ("", fingerprint):
            ledger.whole(PART, fingerprint)
            return None
        else:
            return None
    if own_again:
        return ledger.commit(PART, fingerprint, dict.fromkeys(record.files, ""), record.facts)
    return record


def _is_stored(run: str, name: str, sha256: str) -> bool:
    try:
        return objects.sha256(objects.join(run, name)) == sha256
    except FileNotFoundError:
        return False


def _is_back(run: str, fingerprint: str, name: str, sha256: str) -> bool:
    """Whether a file was moved aside by another run, and is brought back."""
    data = objects.read_if_any(objects.join(earlier_url(run, fingerprint), name))
    if data is None or hashlib.sha256(data).hexdigest() != sha256:
        return False
    objects.write_bytes(objects.join(run, name), data)
    return True


def _run_of(url: str, name: str) -> str:
    """The fingerprint of the run that a file is of, by what it says itself; empty if it says nothing."""
    try:
        if name == HISTORY:
            document = objects.read_json(url)
        else:
            from captionless.trainer import model_file  # brings torch, which a finished run does not need

            document = model_file.read_model(url)
        return str(document.get("fingerprint", ""))
    except (DataError, FileNotFoundError, AttributeError):
        return ""
