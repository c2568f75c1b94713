"""What a source lists, in bounded memory: rows on disk, and of each object a few numbers and its key.

Ten million objects are 10 GB as Python objects. Here they take about 120 bytes each, half of them the key; the rest of
their rows lies on this machine's disk.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from captionless.errors import SpecError
from captionless.precompute.sources import Source
from captionless.runtime.redaction import public_url
from captionless.stages.listing.gate import Gate
from captionless.stages.listing.layout import SPLITS, order_of
from captionless.store.file_index import FileIndex, token_of
from captionless.store.listing import VERDICTS, ObjectRef
from captionless.store.scan import Found, in_batches
from captionless.store.spill import Spill

ROWS = pa.schema(
    {
        name: pa.string()
        for name in ("key", "category", "url", "source", "licence", "text", "attributes", "up", "reason")
    }
)
"""What lies on disk of each object."""

DENIED = "denied"
"""The verdict of an object that was taken down: of such a one nothing is stored but its name."""

KEPT = 0
"""The verdict of an object that is kept, as a number; other verdicts are numbered from 1 on, as `VERDICTS` has them."""

_NAMELESS = 1 + VERDICTS.index("name")
_AT_ONCE = 16_384
_LOOKED_UP_AT_ONCE = 1 << 19  # URLs that are held as Python's strings


@dataclass
class Gathered:
    """n objects in the order in which the source lists them; the arrays are (n,).

    keys: Arrow's large strings. order: see `layout.order_of`. categories: the names that `category` numbers. split:
    numbers of `SPLITS`, as source and spec say. verdict: see `KEPT`. tokens, sizes, of_content: of their own files, see
    `file_index.Versions`. rows: on disk, see `ROWS`. files: what else was listed.
    """

    rows: Spill
    files: FileIndex
    keys: pa.Array
    order: NDArray[np.uint64]
    categories: list[str]
    category: NDArray[np.int32]
    split: NDArray[np.int8]
    verdict: NDArray[np.int8]
    tokens: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    of_content: NDArray[np.bool_]
    _sorted: tuple[NDArray[np.int64], NDArray[np.uint64]] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def kept(self) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = self.verdict == KEPT
        return found

    def key(self, place: int) -> str:
        found: str = self.keys[place].as_py()
        return found

    def batches(self) -> Iterator[tuple[slice, pa.Table]]:
        """The rows on disk, some at a time, and which they are."""
        start = 0
        for batch in self.rows.batches():
            yield slice(start, start + len(batch)), batch
            start += len(batch)

    def places(self, keys: pa.ChunkedArray) -> NDArray[np.int64]:
        """Where some keys are among the n, NONE (-1) for those that are not."""
        if not len(self):
            return np.full(len(keys), -1)
        order, hashes = self._by_hash()
        wanted = np.fromiter(map(order_of, keys.to_pylist()), np.uint64, len(keys))
        at = order[np.minimum(np.searchsorted(hashes, wanted), len(order) - 1)]
        same = pc.equal(self.keys.take(pa.array(at)), pc.cast(keys, pa.large_string()).combine_chunks())
        return np.where(same.to_numpy(zero_copy_only=False), at, -1)

    def check_keys(self) -> None:
        """SpecError if two objects have the same key."""
        order, hashes = self._by_hash()
        for place in np.flatnonzero(hashes[1:] == hashes[:-1]):
            one, other = sorted((int(order[place]), int(order[place + 1])))
            if self.key(one) == self.key(other) and _NAMELESS not in (self.verdict[one], self.verdict[other]):
                urls = [self.row(at)["url"] for at in (one, other)]
                raise SpecError(f'duplicate object key "{self.key(one)}": {urls[0]} and {urls[1]}; rename one')

    def row(self, place: int) -> dict[str, Any]:
        """The row of one object, by reading through the rows: for messages."""
        for where, batch in self.batches():
            if where.start <= place < where.stop:
                return dict(batch.slice(place - where.start, 1).to_pylist()[0])
        raise IndexError(place)

    def _by_hash(self) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        if self._sorted is None:
            order = np.argsort(self.order, kind="stable").astype(np.int64, copy=False)
            self._sorted = order, self.order[order]
        return self._sorted


LookUp = Callable[[Sequence[str]], Iterable[list[Found]]]
"""Finds files by URL, see `scan.look_up`."""


def gather(source: Source, gate: Gate, rows: Spill, look_up: LookUp, advance: Callable[[int], None]) -> Gathered:
    """Lists the source, asks the gate about every object, and finds the versions of the objects' files.

    `rows`: empty, of the schema `ROWS`. `advance` is called with how many objects more were listed.

    Raises:
        SpecError: two objects have the same key, or the source or the gate finds fault with the spec.
    """
    files = FileIndex()
    codes: dict[str, int] = {}
    keys: list[pa.Array] = []
    order, category, split, verdict, tokens = array("Q"), array("i"), array("b"), array("b"), array("Q")
    for refs in in_batches(source.stream(files), _AT_ONCE):
        columns: dict[str, list[str | None]] = {name: [] for name in ROWS.names}
        for ref in refs:
            name, reason = gate.verdict(ref)
            known = replace(ref, url=None, text=None, attributes=None) if name == DENIED else ref
            for column, value in _row(known, reason).items():
                columns[column].append(value)
            key = str(columns["key"][-1])
            order.append(order_of(key))
            category.append(codes.setdefault(str(columns["category"][-1]), len(codes)))
            split.append(SPLITS.index(ref.split))
            verdict.append(1 + VERDICTS.index(name) if name else KEPT)
            tokens.append(0 if ref.url else token_of(source.digest(ref)))
        table = pa.table(columns, schema=ROWS)
        keys.append(pc.cast(table["key"], pa.large_string()).combine_chunks())
        rows.add(table)
        advance(len(refs))
    found = Gathered(
        rows, files, pa.concat_arrays(keys) if keys else pa.array([], pa.large_string()), np.array(order, np.uint64),
        list(codes), np.array(category, np.int32), np.array(split, np.int8), np.array(verdict, np.int8),
        np.array(tokens, np.uint64), np.full(len(order), -1), np.zeros(len(order), np.bool_),
    )  # fmt: skip
    found.check_keys()
    _find_files(found, look_up)
    return found


def _row(ref: ObjectRef, reason: str) -> dict[str, str | None]:
    attributes = None if ref.attributes is None else json.dumps(ref.attributes, sort_keys=True)
    return {
        "key": shown(ref.key), "category": shown(ref.category), "url": None if ref.url is None else shown(ref.url),
        "source": shown(ref.source), "licence": shown(ref.licence), "text": ref.text, "attributes": attributes,
        "up": ref.up, "reason": public_url(reason) if reason else "",
    }  # fmt: skip


def shown(text: str) -> str:
    """A text as it is stored: lone surrogates, which no file can hold, as what Python writes for them."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _find_files(found: Gathered, look_up: LookUp) -> None:
    """Fills in the versions of the objects' own files; those that the source did not list on the way are looked up."""
    unknown: list[pa.Array] = []
    for where, batch in found.batches():
        known = _fill(found, where, batch)
        if not known[found.kept[where]].all():
            urls = batch["url"].filter(pa.array(~known & found.kept[where]))
            unknown.append(pc.cast(urls, pa.large_string()).combine_chunks())
    if not unknown:
        return
    urls = pc.unique(pa.concat_arrays(unknown))
    urls = urls.take(pc.sort_indices(urls))
    for start in range(0, len(urls), _LOOKED_UP_AT_ONCE):
        for page in look_up(urls.slice(start, _LOOKED_UP_AT_ONCE).to_pylist()):
            found.files.add(page)
    for where, batch in found.batches():
        _fill(found, where, batch)


def _fill(found: Gathered, where: slice, batch: pa.Table) -> NDArray[np.bool_]:
    """Whether each object of a batch has no file or one that was listed; these are filled in."""
    urls = batch["url"].to_pylist()
    named = np.array([url is not None for url in urls], np.bool_)
    versions = found.files.find([url or "" for url in urls])
    known = named & versions.known
    found.tokens[where] = np.where(known, versions.tokens, found.tokens[where])
    found.sizes[where] = np.where(known, versions.sizes, -1)
    found.of_content[where] = known & versions.of_content
    return known | ~named
