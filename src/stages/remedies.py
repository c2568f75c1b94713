"""Broken objects as a run has recorded them, sorted by what can be done about them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from captionless.store import objects
from captionless.store.ledger import Ledger
from captionless.store.manifest import WorkRecord


@dataclass(frozen=True)
class Remedy:
    """kind: a word for what is wrong. text: what can be done about it."""

    kind: str
    text: str


_REMEDIES = (
    (
        Remedy(
            "limits",
            "simplify the mesh; or, if the machine was too small, run `captionless pack --retry` on a larger one: an "
            "object may take half of its memory",
        ),
        r"while reading$|^MemoryError",
    ),
    (
        Remedy(
            "outside",
            "move the file into the source's folder, or add its own folder to data.allow",
        ),
        r"outside of .*data\.allow",
    ),
    (
        Remedy("forbidden", "copy the file next to the mesh, and name it there"),
        r"not a public address|of the kernel|:// are not read|a device or socket",
    ),
    (
        Remedy("denied", "give this run's user or credentials access to the file"),
        r"access denied|the server answered 40[137]",
    ),
    (
        Remedy("missing", "restore the file, or take the object out of the source"),
        r"no such file|which does not exist|the server answered \d+",
    ),
    (
        Remedy("name", "correct the name in the mesh or its material file"),
        r"its name|one of the folders in its path|a loop of symbolic links|a folder, expected|not a name of a file",
    ),
    (
        Remedy("texture", "replace the picture by one that opens in an image viewer"),
        r"texture",
    ),
    (
        Remedy("size", "simplify the mesh, or make its files smaller"),
        r"faces; at most|bytes; at most|more than \d+ files",
    ),
    (
        Remedy("axis", "set data.source.up, or `up` in the manifest"),
        r"up axis",
    ),
    (
        Remedy("format", "open the file in a mesh editor and export it again, as GLB for example"),
        r"cannot read the|not a mesh format|not a glTF|is empty|is not read|not supported",
    ),
    (
        Remedy("geometry", "repair the mesh: its surface is missing, flat, or not finite"),
        r"no faces|no extent|all vertices|NaN|a face refers to|area|no mesh",
    ),
)
_OTHER = Remedy("other", "open the file in a mesh editor and export it again; if it is valid, report it as a bug")


def remedy(reason: str) -> Remedy:
    """What can be done about an object that was skipped for this reason."""
    return next((found for found, pattern in _REMEDIES if re.search(pattern, reason)), _OTHER)


@dataclass(frozen=True)
class Broken:
    """A broken object, and why it is."""

    key: str
    reason: str


def broken_objects(url: str) -> Iterator[Broken]:
    """Those of the stage whose output is under `url`, in the order of its parts; also of one that has not finished, or
    that failed since there are too many of them."""
    ledger = Ledger(url)
    loose = _unpublished(ledger)
    if ledger.published is not None and ledger.published.rows_url is not None:
        rows = ledger.manifest().rows(["key", "reason", "part"])
        for row in rows.filter(_has_reason(rows)).to_pylist():
            if row["part"] not in loose:
                yield Broken(row["key"], row["reason"])
    for _, record in sorted(loose.items()):
        assert record.rows is not None
        for key, reason in zip(record.rows["key"], record.rows["reason"], strict=True):
            if reason:
                yield Broken(key, reason)


def _has_reason(rows: object) -> object:
    import pyarrow.compute as pc

    return pc.and_kleene(pc.is_valid(rows["reason"]), pc.not_equal(rows["reason"], ""))  # type: ignore[index]


def _unpublished(ledger: Ledger) -> dict[str, WorkRecord]:
    """The newest record of each part that has one beside the manifest."""
    found: dict[str, tuple[float, WorkRecord]] = {}
    for record in ledger.everything():
        if record.rows is not None and "reason" in record.rows:
            time = max((objects.modified(objects.join(ledger.url, name)) or 0.0 for name in record.files), default=0.0)
            if record.part not in found or time > found[record.part][0]:
                found[record.part] = time, record
    return {part: record for part, (_, record) in found.items()}
