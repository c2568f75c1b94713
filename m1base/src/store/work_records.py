"""A finished part's record, as it is stored until the stage is published.

_parts/<part>-<fingerprint>.json    {"part", "fingerprint", "files": {path: {"size", "sha256"}}, "facts", "rows"}
"""

from __future__ import annotations

import json
import re

from captionless.errors import DataError
from captionless.store import objects
from captionless.store.manifest import WorkRecord

PARTS = "_parts"
_NAME = re.compile(r".*-[0-9a-f]{16}\.json")


def record_name(part: str, fingerprint: str) -> str:
    """The file of a part's record, another one for every fingerprint."""
    return f"{part}-{objects.digest(fingerprint)[:16]}.json"


def is_record_name(name: str) -> bool:
    """Whether a file of `_parts` is a record of this release, rather than of one before fingerprints were in names."""
    return _NAME.fullmatch(name) is not None


def record_url(url: str, part: str, fingerprint: str) -> str:
    """The URL of a part's record; `url` is the stage's."""
    return objects.join(url, PARTS, record_name(part, fingerprint))


def read_record(url: str) -> WorkRecord | None:
    """The record at `url`; None when there is none. DataError when it is something else."""
    try:
        document = objects.read_json(url)
        files = {n: {"size": int(f["size"]), "sha256": str(f["sha256"])} for n, f in document["files"].items()}
        return WorkRecord(document["part"], document["fingerprint"], files, document["facts"], document["rows"])
    except FileNotFoundError:
        return None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{url}: not a record of finished work ({error}); delete it") from error


def write_record(url: str, record: WorkRecord) -> None:
    """Stores a record as it is; `url` is the stage's. In one line: indented, rows take several times as long."""
    document = {
        "part": record.part, "fingerprint": record.fingerprint, "files": dict(record.files),
        "facts": dict(record.facts),
        "rows": None if record.rows is None else {name: list(column) for name, column in record.rows.items()},
    }  # fmt: skip
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    objects.write_bytes(record_url(url, record.part, record.fingerprint), data)
