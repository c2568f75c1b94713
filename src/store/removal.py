"""Removing files that a store no longer has, while it is still one's own to say so.

A worker may be frozen at any moment, and go on after a newer run has made files of the same names again. So whether
the store still is as it was when the files were found to be no longer wanted is asked before every few of them, and
not only once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from captionless.runtime.thread_pools import thread_pool
from captionless.store import objects
from captionless.store.manifest import FOLDER, Header, WorkRecord
from captionless.store.work_records import PARTS

_REQUESTS = 16
_AT_ONCE = 64


def remove_while(url: str, names: Iterable[str], goes_on: Callable[[], bool]) -> None:
    """Removes files by their paths below `url`, some of which may be gone, until `goes_on` says no."""
    ordered = sorted(names)
    with thread_pool(_REQUESTS) as pool:
        for first in range(0, len(ordered), _AT_ONCE):
            if not goes_on():
                return
            some = ordered[first : first + _AT_ONCE]
            list(pool.map(lambda name: objects.remove_file(objects.join(url, name)), some))


def leftovers_of(
    url: str,
    owns: Sequence[str],
    before: Mapping[str, Mapping[str, Any]],
    header: Header,
    records: Mapping[str, WorkRecord],
) -> set[str]:
    """What the manifest that is about to be stored, with this header and these parts, does not have: an earlier one's
    files and tables, records, files of killed or superseded workers.

    owns: suffixes of the stage's files. before: the parts of the manifest that is replaced.
    """
    kept = {name for record in records.values() for name in record.files}
    tables = {table["file"] for table in (header.document["parts"], header.document["rows"]) if table}
    found = {name for entry in before.values() for name in entry["files"]} - kept
    found |= {f"{PARTS}/{name}" for name in objects.list_names(objects.join(url, PARTS))}
    found |= {f"{FOLDER}/{name}" for name in objects.list_names(objects.join(url, FOLDER))} - tables
    if owns:
        found |= {path for path in objects.walk(url) if path.endswith(tuple(owns))} - kept
    return found
