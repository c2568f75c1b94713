"""What a source lists, in bounded memory: rows on disk, and of each object a few numbers and its key.

Ten million objects are 10 GB as Python objects. Here they take about 120 bytes each, half of them the key; the rest of
their rows lies on this machine's disk.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from captionless.errors import SpecError
from captionless.precompute.sources import Source
from captionless.runtime.redaction import public_address
from captionless.stages.listing.gate import LONGEST, Gate
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
_SHOWN = 100  # characters of a name that is too long
_LOOKED_UP_AT_ONCE = 1 << 19  # URLs that are held as Python's strings


@dataclass
class Gathered:
    """n objects in the order in which the source lists them; the arrays are (n,).

    keys: Arrow's large strings. order: see `layout.order_of`. categories: the names that `category` numbers. split:
    numbers of `SPLITS`, as source and spec say. verdict: see `KEPT`. tokens, sizes, of_content: of their own files, see
    `file_index.Versions`. rows: on disk, see `ROWS`. files: what else was listed. reasons: by place, why objects were
    left out after their rows were written.
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
    reasons: dict[int, str] = field(default_factory=dict)
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

    def settle_keys(self, of_files: bool) -> None:
        """Makes keys unique. of_files: they come from the names of files; the file whose URL is the least keeps its
        key, and the others are left out. SpecError if a user gave two objects the same key."""
        order, hashes = self._by_hash()
        again = np.flatnonzero(hashes[1:] == hashes[:-1])
        alike: dict[str, list[int]] = {}
        for place in sorted({*order[again].tolist(), *order[again + 1].tolist()}):
            if self.verdict[place] == KEPT or not (of_files or self.verdict[place] == _NAMELESS):
                alike.setdefault(self.key(place), []).append(place)
        alike = {key: places for key, places in alike.items() if len(places) > 1}
        urls = self._urls([place for places in alike.values() for place in places])
        for key, places in alike.items():
            first, *others = sorted(places, key=lambda place: urls[place])
            if not of_files:
                raise SpecError(f'duplicate object key "{key}": {urls[first]} and {urls[others[0]]}; rename one')
            for place in others:
                self.verdict[place] = _NAMELESS
                self.reasons[place] = f"its key is that of {urls[first]} as well; rename one"
        self._sorted = None

    def _urls(self, places: list[int]) -> dict[int, str]:
        """The URLs of some objects, without signatures, by reading through the rows."""
        found: dict[int, str] = {}
        wanted = np.array(sorted(places), np.int64)
        for where, batch in self.batches() if places else ():
            here = wanted[np.searchsorted(wanted, where.start) : np.searchsorted(wanted, where.stop)]
            urls = batch["url"].take(pa.array(here - where.start)).to_pylist()
            found |= {place: public_address(url or "") for place, url in zip(here.tolist(), urls, strict=True)}
        return found

    def _by_hash(self) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """Places sorted by hash, of equal ones the kept one first, and their hashes."""
        if self._sorted is None:
            order = np.lexsort((self.verdict != KEPT, self.order)).astype(np.int64, copy=False)
            self._sorted = order, self.order[order]
        return self._sorted


LookUp = Callable[[Sequence[str]], Iterable[list[Found]]]
"""Finds files by URL, see `scan.look_up`."""


def gather(
    source: Source, gate: Gate, rows: Spill, look_up: LookUp, advance: Callable[[int], None], keys_of_files: bool
) -> Gathered:
    """Lists the source, asks the gate about every object, and finds the versions of the objects' files.

    `rows`: empty, of the schema `ROWS`. `advance` is called with how many objects more were listed. keys_of_files: see
    `Gathered.settle_keys`.

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
    found.settle_keys(keys_of_files)
    _find_files(found, look_up)
    return found


def _row(ref: ObjectRef, reason: str) -> dict[str, str | None]:
    attributes = None if ref.attributes is None else json.dumps(ref.attributes, sort_keys=True)
    return {
        "key": _short(shown(ref.key)), "category": _short(shown(ref.category)),
        "url": None if ref.url is None else shown(ref.url),
        "source": shown(ref.source), "licence": shown(ref.licence), "text": ref.text, "attributes": attributes,
        "up": ref.up, "reason": public_address(reason) if reason else "",
    }  # fmt: skip


def _short(name: str) -> str:
    """A key or category; of one that is too long, for which its object is left out, the beginning."""
    return name if len(name) <= LONGEST else f"{name[:_SHOWN]}..."


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
