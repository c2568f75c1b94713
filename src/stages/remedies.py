"""Broken objects as a run has recorded them, sorted by what can be done about them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from captionless.errors import DataError
from captionless.precompute import losses
from captionless.precompute.meshes.reading import Loss
from captionless.store import objects
from captionless.store.ledger import Ledger
from captionless.store.manifest import WorkRecord
from captionless.store.table import TableReader

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Remedy:
    """kind: a word for what is wrong. text: what can be done about it."""

    kind: str
    text: str


_REMEDIES = (
    (
        Remedy(
            "strict",
            "restore what was lost (`captionless look` shows it), or lower data.strict",
        ),
        r"^data\.strict is",
    ),
    (
        Remedy("content", "fetch the file again, or unpack it: it is not what its name says"),
        r"^is not an? .*(, but |neither its name nor)",
    ),
    (
        Remedy(
            "limits",
            "simplify the mesh; or raise data.limits; or, if the machine was too small, run `captionless pack --retry` "
            "on a larger one: an object may take half of its memory",
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
        Remedy("size", "simplify the mesh or make its files smaller, or raise data.limits"),
        r"(faces|vertices|bytes|elements|instances); at most|more than \d+ (files|faces|vertices)",
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


_FOR_LOSSES = {
    "faces dropped": "repair the mesh in a mesh editor: some of its faces have no area, or refer to nothing",
    "points or lines not drawn": "give the object a surface where it has points or lines only",
    "nodes dropped": "export the scene again without what refers to nothing",
    "skin not applied": "export the mesh in its pose (apply the armature)",
    "morph not applied": "export the mesh with its shape keys applied",
    "instances not drawn": "export the instances as meshes of their own",
    "texture missing": "restore the picture at the place that the file names, beside the mesh as a rule",
    "texture damaged": "replace the picture by one that opens in an image viewer",
    "texture not read": "store the picture as PNG or JPEG",
    "texture coordinates missing": "unwrap the mesh, or give its material a colour",
    "material missing": "restore the material library that the file names",
    "colours dropped": "give each face or vertex one colour of three or four numbers",
    "option ignored": "apply the option to the picture or the coordinates themselves",
    "extension ignored": "export again without the extension",
}
"""By the kinds of `meshes.reading`."""


def loss_remedy(kind: str) -> str:
    """What can be done about losses of a kind."""
    return _FOR_LOSSES.get(kind, _OTHER.text)


@dataclass(frozen=True)
class Lossy:
    """An object that was read, and what it lacks of its file."""

    key: str
    losses: tuple[Loss, ...]


@dataclass(frozen=True)
class Broken:
    """A broken object, and why it is."""

    key: str
    reason: str


def broken_objects(url: str) -> Iterator[Broken]:
    """Those of the stage whose output is under `url`, in the order of its parts; also of one that has not finished, or
    that failed since there are too many of them. DataError if it has recorded nothing yet."""
    for key, reason in _values(url, "reason"):
        yield Broken(key, reason)


def lossy_objects(url: str) -> Iterator[Lossy]:
    """The objects with losses of the same stage, likewise; an earlier release has not noted any."""
    for key, stored in _values(url, "losses"):
        if found := losses.from_json(stored):
            yield Lossy(key, found)


def _values(url: str, column: str) -> Iterator[tuple[str, str]]:
    """Key and value of the objects that have one in a column of the stage's rows."""
    ledger = Ledger(url)
    loose = _unpublished(ledger)
    if ledger.published is None and not loose:
        raise DataError(
            f"{url}: no object has been packed yet, so that none is known to be broken; run `captionless pack`"
        )
    if ledger.published is not None and (table := ledger.published.rows_url) is not None:
        reader = TableReader(table)
        if column in reader.schema.names:
            for batch in reader.batches(["key", column, "part"]):
                for row in batch.filter(_has_value(batch[column])).to_pylist():
                    if row["part"] not in loose:
                        yield row["key"], row[column]
    for _, record in sorted(loose.items()):
        assert record.rows is not None
        keys = record.rows["key"]
        for key, value in zip(keys, record.rows.get(column) or [None] * len(keys), strict=True):
            if value:
                yield key, value


def _has_value(column: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow.compute as pc

    return pc.and_kleene(pc.is_valid(column), pc.not_equal(column, ""))


def _unpublished(ledger: Ledger) -> dict[str, WorkRecord]:
    """The newest record of each part that has one beside the manifest."""
    found: dict[str, tuple[float, WorkRecord]] = {}
    for record in ledger.everything():
        if record.rows is not None and "reason" in record.rows:
            time = max((objects.modified(objects.join(ledger.url, name)) or 0.0 for name in record.files), default=0.0)
            if record.part not in found or time > found[record.part][0]:
                found[record.part] = time, record
    return {part: record for part, (_, record) in found.items()}
