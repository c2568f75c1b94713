"""Files that a spec names and no stage makes: whether they are what they were when a stage read them.

That a spec names the same file says nothing of what is in it. So a stage records, among its inputs, the sha256 of each
such file that it reads, and its version where the storage gives one that all machines see. Of a text file on the web
addresses count without what signs them: a manifest may be signed anew whenever it is asked for. Who reads the stage
compares these with the file as it is now, and reads it only where the version leaves that open. A file that cannot be
read, by this process or any more, is taken for what it was.
"""

from __future__ import annotations

import functools
import hashlib

from captionless.errors import CaptionlessError
from captionless.runtime.redaction import public_address
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.data import SourceKind
from captionless.spec.landmarks import LandmarkOrigin
from captionless.spec.plan import LANDMARKS, LIST, TRAIN
from captionless.store import objects
from captionless.store.guarded_http import Guard
from captionless.store.manifest import InputRecord
from captionless.store.scan import look_up
from captionless.store.urls import is_local
from captionless.trainer.run_folder import model_url

_VERSION = "version"


def read_by(spec: AlignmentSpec, stage: str) -> dict[str, str]:
    """The URLs of those that a stage of the plan reads, by field."""
    kind = stage.partition("-")[0]
    found: dict[str, str] = {}
    if kind == LIST:
        found["data.source.url"] = spec.data.source.url if spec.data.source.kind is SourceKind.manifest else ""
        found["data.deny"] = spec.data.deny
    elif kind == LANDMARKS and spec.landmarks.origin is LandmarkOrigin.file:
        found["landmarks.file"] = spec.landmarks.file
    elif kind == TRAIN and spec.train.init:
        found["train.init"] = model_url(spec.train.init)
    return {field: url for field, url in found.items() if url}


def recorded(url: str) -> InputRecord | None:
    """A file as it is now; None if it cannot be read: who reads it says why."""
    try:
        version, seen = _versions(url)
        return InputRecord({_VERSION: version} if version else {}, _sha256(url, seen))
    except (CaptionlessError, OSError):
        return None


def has_changed(url: str, record: InputRecord) -> bool:
    """Whether the file is not the recorded one."""
    try:
        version, seen = _versions(url)
        return (not version or version != record.settings.get(_VERSION)) and _sha256(url, seen) != record.digest
    except (CaptionlessError, OSError):
        return False


def _versions(url: str) -> tuple[str, str]:
    """The version for all machines, empty where there is none, and the one for this process. FileNotFoundError when
    there is no such file, or no short try reaches it: whoever needs it tries longer."""
    guard = _guard(url)
    for page in look_up([url], guard) if guard.servers.answer(url) else ():
        for found in page:
            if found.url == url:
                return "" if is_local(url) else found.version, found.version
    raise FileNotFoundError(url)


@functools.lru_cache(maxsize=64)
def _guard(url: str) -> Guard:
    """Remembers whether a server is silent."""
    return Guard([url])


def _sha256(url: str, seen: str) -> str:
    return _at_version(url, seen) if seen else _content(url)


@functools.lru_cache(maxsize=64)
def _at_version(url: str, seen: str) -> str:
    """Remembered, since it is asked for again and again while a stage waits."""
    return _content(url)


def _content(url: str) -> str:
    if url.startswith(("http://", "https://")):  # not every server reads parts
        content = objects.read_bytes(url)
        try:
            lines = content.decode().split("\n")
        except UnicodeDecodeError:
            return hashlib.sha256(content).hexdigest()
        found = hashlib.sha256()
        for line in lines:
            found.update(public_address(line).encode() + b"\n")
        return found.hexdigest()
    return objects.sha256(url)
