"""What is stored below a run's folder: its stores, what the manifests of each reference, and whose keys they hold.

A store is a folder with a manifest: a stage's `manifest.json`, and beside or instead of it that of stored similarity,
of neighbours or of a gallery. What a manifest references, it needs; everything else in the folder that is of a kind
that stages write was superseded, or left by one that was killed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from captionless.errors import DataError
from captionless.store import objects, similarity_index
from captionless.store.gallery import FORMAT as GALLERY
from captionless.store.gallery import is_objects
from captionless.store.manifest import FOLDER, MANIFEST, read_header
from captionless.store.neighbour_store import FORMAT as NEIGHBOURS
from captionless.store.scan import scan
from captionless.store.table import TableReader
from captionless.store.tiles import FORMAT as TILES
from captionless.store.work_records import PARTS
from captionless.store.writers import FOLDER as WRITERS

MANIFESTS = (MANIFEST, TILES.manifest, NEIGHBOURS.manifest, GALLERY.manifest)
_WRITTEN = (".tar", ".index", ".sim", ".parquet", ".npy", ".npz", ".jsonl", ".faiss")
"""Of files that stages write and name by what they hold: one that no manifest references was superseded."""
_OWN = (PARTS, FOLDER)
"""Folders of files that nobody but a stage writes."""


@dataclass
class Store:
    """A store: its folder below the root, its files' sizes by their path below the folder, and which of these its
    manifests reference."""

    folder: str
    url: str
    files: dict[str, int] = field(default_factory=dict)
    referenced: frozenset[str] = frozenset()

    def superseded(self) -> list[str]:
        """The files that no manifest references, of the kinds that stages write."""
        return [
            name
            for name in sorted(self.files.keys() - self.referenced)
            if name.endswith(_WRITTEN) or name.partition("/")[0] in _OWN
        ]


class Contents(NamedTuple):
    """What is below a folder: the stores, the sizes of the files that are in none, by their path below the folder, and
    the folders, relative to it, in which a writer has a lease."""

    stores: list[Store]
    others: dict[str, int]
    leased: frozenset[str]


def contents(root: str) -> Contents:
    """What is below a folder; leases are not among the files."""
    sizes = {found.url.removeprefix(root).strip("/"): found.size for page in scan(root) for found in page}
    leases = [path for path in sizes if f"/{WRITERS}/" in f"/{path}"]
    for path in leases:
        del sizes[path]
    leased = frozenset(f"/{path}".rpartition(f"/{WRITERS}/")[0].lstrip("/") for path in leases)
    folders = {path.rpartition("/")[0] for path in sizes if path.rpartition("/")[2] in MANIFESTS}
    found = {folder: Store(folder, objects.join(root, folder) if folder else root) for folder in sorted(folders)}
    others = {}
    for path, size in sorted(sizes.items()):
        folder = next((above for above in _above(path) if above in found), None)
        if folder is None:
            others[path] = size
        else:
            found[folder].files[path[len(folder) :].lstrip("/")] = size
    for store in found.values():
        store.referenced = frozenset(_referenced(store))
    return Contents(list(found.values()), others, leased)


def _above(path: str) -> Iterator[str]:
    """The folders that a path is in, the deepest first."""
    while path:
        path = path.rpartition("/")[0]
        yield path


def _referenced(store: Store) -> Iterator[str]:
    if MANIFEST in store.files:
        yield MANIFEST
        header, _ = read_header(store.url)
        if header is not None:
            yield from (str(header.document[name]["file"]) for name in ("parts", "rows") if header.document[name])
            for entry in header.entries().values():
                yield from entry["files"]
    for name in MANIFESTS[1:]:
        if name in store.files:
            yield name
            document = objects.read_json(objects.join(store.url, name))
            files = set(_named(document))
            yield from files
            for table in (file for file in files if file.endswith(".parquet")):
                yield from _named_in_table(objects.join(store.url, table))
            if name == TILES.manifest and document.get("version") != TILES.version:
                yield from similarity_index.read_index(store.url).files()


def _named(document: Any) -> Iterator[str]:
    """The files that a manifest names, wherever in it."""
    if isinstance(document, dict):
        yield from (str(document[name]) for name in ("file", "index") if isinstance(document.get(name), str))
        for value in document.values():
            yield from _named(value)
    elif isinstance(document, list):
        for value in document:
            yield from _named(value)


def _named_in_table(url: str) -> Iterator[str]:
    """The files that a manifest's table names; none if a pruning that was killed has deleted it."""
    try:
        reader = TableReader(url)
    except FileNotFoundError:
        return
    columns = [name for name in reader.schema.names if name == "file" or name.endswith("_file")]
    for batch in reader.batches(columns) if columns else ():
        for column in batch.columns:
            yield from column.to_pylist()


def keys_in(url: str) -> Iterable[str]:
    """The keys of the objects that a stored file is about, if it is of a kind that lists them."""
    name = url.rpartition("/")[2]
    try:
        if name.endswith(".parquet"):
            reader = TableReader(url)
            if "key" not in reader.schema.names:
                return ()
            return (key for batch in reader.batches(["key"]) for key in batch["key"].to_pylist() if key is not None)
        if name.endswith(".index"):
            document = objects.read_json(url)
            return _texts(document.get("samples", document.get("keys", ())))
        if is_objects(name):
            return _texts(objects.read_json(url).get("keys", ()))
        if name == NEIGHBOURS.manifest:
            groups = objects.read_json(url)["groups"]
            return [key for group in groups.values() for key in _texts(group.get("keys", ()))]
    except (FileNotFoundError, DataError, AttributeError, KeyError, TypeError, json.JSONDecodeError):
        return ()  # damaged, or of something else: the search for keys reads its bytes
    return ()


def _texts(keys: Iterable[object]) -> list[str]:
    return [key for key in keys if isinstance(key, str)]
