"""Where in stored files some objects' keys occur: the proof that what was taken down is gone.

Files are searched as they are, whatever wrote them: the bytes of tars, models and texts, and the decoded contents of
formats that compress or encode text (Parquet, npz, npy and gzip). A key is found as UTF-8, as JSON escapes it (a slash
also as `\\/`), as HTML and as URLs do, where neither neighbour is a character of keys: `chair/1` is in `chair/1.json`,
and not in `chair/12.json`. What precedes it may be a path: `/meshes/chair/1.obj` names `chair/1`, unless the path ends
in a longer key that is listed, such as `meshes/chair/1`.

All keys are looked for at once, by the last bytes of each: a filter over every position leaves few that are compared.
So the time depends on the bytes, not on how many keys there are.
"""

from __future__ import annotations

import contextlib
import html
import io
import json
import re
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.store import escapes, objects

if TYPE_CHECKING:
    from captionless.store.key_index import KeyIndex

_BLOCK = 32 << 20
_WIDTHS = (8, 4, 1)  # bytes at the end of a key by which it is looked for: as many as it has
_FILTER_BITS = (12, 24)
_AT_ONCE = 1 << 16  # positions that are looked at together: what is computed of them stays in the processor's cache
_GZIP = 31  # zlib's number of the format
_MIX = {8: 0x9E3779B97F4A7C15, 4: 0x9E3779B1}
_KEY_BYTES = re.compile(rb"[\w/\x80-\xff-]")
"""What a key consists of (`precompute.sources.base.clean_key`); the bytes above 127 are of letters in UTF-8."""
_SEGMENT_BYTES = re.compile(rb"[\w\x80-\xff-]")
_BEGINNING = re.compile(rb"(?<![\w\x80-\xff-])")
"""Where a key may begin."""


class KeySearch:
    """Looks for some keys; none of them may be empty. listed: those of which one may be the end."""

    def __init__(self, keys: Iterable[str], listed: KeyIndex | None = None) -> None:
        self.keys, self._listed = sorted(set(keys)), listed
        patterns: dict[bytes, str] = {}
        for key in self.keys:
            for pattern in (key.encode("utf-8", "surrogatepass"), json.dumps(key)[1:-1].encode(), _in_html(key)):
                patterns.setdefault(pattern, key)
        self._suffixes = [_Suffixes(width, own) for width, own in _by_width(patterns).items()]
        self._left = 1 + (0 if listed is None else escapes.LONGEST * listed.longest)
        """Bytes before a key by which it is decided whether it is the end of another one."""
        self._reach = max(map(len, patterns), default=0) + self._left + 1

    def in_bytes(self, data: bytes, first: bool = True, last: bool = True) -> set[str]:
        """The keys that occur in some bytes. first, last: whether nothing precedes or follows them."""
        found = self._in_plain(data, first, last)
        for part, begins, ends in escapes.unescaped(data, self._reach):
            found |= self._in_plain(part, first and begins, last and ends)
        return found

    def in_file(self, url: str) -> set[str]:
        """The keys that occur in a stored file; none if it is no longer there."""
        found: set[str] = set()
        if not self.keys:
            return found
        try:
            for data, first, last in self._contents(url):
                found |= self.in_bytes(data, first, last)
        except FileNotFoundError:
            return set()
        return found

    def _in_plain(self, data: bytes, first: bool, last: bool) -> set[str]:
        low, high = 0 if first else self._left, len(data) if last else len(data) - 1
        found: set[str] = set()
        for suffixes in self._suffixes:
            for key, start, end in suffixes.find(data, low, high):
                if key not in found and not self._ends_another(data, start, end):
                    found.add(key)
        return found

    def _ends_another(self, data: bytes, start: int, end: int) -> bool:
        """Whether what was found is the end of a path that is, from some place on, a listed key."""
        if self._listed is None or data[start - 1 : start] != b"/":
            return False
        begins = [match.start() for match in _BEGINNING.finditer(data, max(0, start - self._left), start - 1)]
        for some in (begins[-1:], begins[:-1]):  # mostly it is the shortest one
            texts = [text for begin in some for text in _readings(data[begin:end])]
            if (self._listed.places(texts) >= 0).any():
                return True
        return False

    def _contents(self, url: str) -> Iterator[tuple[bytes, bool, bool]]:
        """A file's bytes in pieces, as `in_bytes` takes them."""
        kind = url.rsplit(".", 1)[-1].lower()
        try:
            if kind == "gz":
                yield from self._overlapping(_inflated(url))
                return
            if kind in _DECODERS:
                for data in _DECODERS[kind](url):
                    yield data, True, True
                return
        except (DataError, zipfile.BadZipFile, zlib.error):
            pass  # not what its name says: its bytes are searched
        yield from self._overlapping(_blocks(url))

    def _overlapping(self, pieces: Iterable[bytes]) -> Iterator[tuple[bytes, bool, bool]]:
        """Pieces, each with the end of what precedes it: what ends with a piece is decided in the next."""
        held, first, overlap = b"", True, escapes.LONGEST * self._reach
        for data in pieces:
            held += data
            yield held, first, False
            first = first and len(held) <= overlap
            held = held[-overlap:]
        yield held, first, True


class _Suffixes:
    """Keys by the last `width` bytes of what they are looked for as."""

    def __init__(self, width: int, patterns: dict[bytes, str]) -> None:
        self._width = width
        self._patterns: dict[int, list[tuple[bytes, str]]] = defaultdict(list)
        for pattern, key in patterns.items():
            self._patterns[int.from_bytes(pattern[-width:], "little")].append((pattern, key))
        self._values = np.array(sorted(self._patterns), f"<u{width}")
        least, most = _FILTER_BITS
        self._bits = max(least, min(most, len(self._values).bit_length() + 6))  # 1 of 64 places or less is taken
        self._filter = np.zeros(1 << self._bits, np.bool_)
        self._filter[self._place(self._values)] = True

    def find(self, data: bytes, low: int, high: int) -> Iterator[tuple[str, int, int]]:
        """The keys within `data[low:high]`, with neighbours wherever these are, and where each begins and ends."""
        windows: NDArray[np.unsignedinteger] = np.ndarray(
            (max(0, len(data) - self._width + 1),), f"<u{self._width}", data, strides=(1,)
        )
        for first in range(0, len(windows), _AT_ONCE):
            some = windows[first : first + _AT_ONCE]
            places = np.flatnonzero(self._filter[self._place(some)])
            nearest = np.searchsorted(self._values, some[places]).clip(max=len(self._values) - 1)
            places = places[self._values[nearest] == some[places]]
            for place, value in zip(places.tolist(), some[places].tolist(), strict=True):
                end = first + place + self._width
                for pattern, key in self._patterns[value]:
                    start = end - len(pattern)
                    if start >= low and end <= high and data[start:end] == pattern and not _continues(data, start, end):
                        yield key, start, end

    def _place(self, values: NDArray[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
        """Of each value in the filter."""
        if self._width == 1:
            return values
        bits = 8 * self._width
        with np.errstate(over="ignore"):
            mixed = values * values.dtype.type(_MIX[self._width])
        found: NDArray[np.unsignedinteger] = mixed >> values.dtype.type(bits - self._bits)
        return found


def _by_width(patterns: dict[bytes, str]) -> dict[int, dict[bytes, str]]:
    found: dict[int, dict[bytes, str]] = defaultdict(dict)
    for pattern, key in patterns.items():
        found[next(width for width in _WIDTHS if len(pattern) >= width)][pattern] = key
    return found


def _continues(data: bytes, start: int, end: int) -> bool:
    """Whether a key's character precedes or follows, so that what was found is a part of another one; but what precedes
    may be a path."""
    before = start > 0 and _SEGMENT_BYTES.match(data, start - 1) is not None
    return before or (end < len(data) and _KEY_BYTES.match(data, end) is not None)


def _readings(data: bytes) -> Iterator[str]:
    """What some bytes say as text, and within HTML, JSON or a URL."""
    with contextlib.suppress(UnicodeDecodeError):
        text = data.decode("utf-8", "surrogatepass")
        yield text
        if "%" in text:
            yield unquote(text)
        if "&" in text:
            yield html.unescape(text)
        if "\\" in text:
            with contextlib.suppress(ValueError):
                yield json.loads(f'"{text}"')


def _in_html(key: str) -> bytes:
    return html.escape(key).encode("utf-8", "surrogatepass")


def _blocks(url: str) -> Iterator[bytes]:
    """A file's bytes."""
    start = 0
    while True:
        data = objects.read_bytes(url, start, start + _BLOCK)
        yield data
        if len(data) < _BLOCK:
            return
        start += len(data)


def _inflated(url: str) -> Iterator[bytes]:
    """What a gzip file holds, a block at a time, however much it is. zlib.error if it is none, or not whole."""
    inflate = zlib.decompressobj(_GZIP)
    for data in _blocks(url):
        while data:
            if inflate.eof:  # another member follows
                inflate = zlib.decompressobj(_GZIP)
            yield inflate.decompress(data, _BLOCK)
            data = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
    if not inflate.eof:
        raise zlib.error("truncated")


def _of_table(url: str) -> Iterator[bytes]:
    """All text of a table, value by value."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from captionless.store.table import TableReader

    for batch in TableReader(url).batches():
        for column in batch.columns:
            kind = column.type
            if pa.types.is_dictionary(kind):
                column = pc.unique(column).cast(kind.value_type)
                kind = column.type
            if pa.types.is_string(kind) or pa.types.is_large_string(kind):
                yield _joined(column.to_pylist())


def _of_archive(url: str) -> Iterator[bytes]:
    """The arrays of an npz."""
    with zipfile.ZipFile(io.BytesIO(objects.read_bytes(url))) as archive:
        for name in archive.namelist():
            yield _text_of(archive.read(name))


def _of_array(url: str) -> Iterator[bytes]:
    yield _text_of(objects.read_bytes(url))


def _text_of(data: bytes) -> bytes:
    """The text of an array's file, or its bytes."""
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except ValueError:
        return data
    return _joined(array.ravel().tolist()) if array.dtype.kind == "U" else data


def _joined(values: Sequence[str | None]) -> bytes:
    return "\n".join(value for value in values if value).encode("utf-8", "surrogatepass")


_DECODERS: dict[str, Callable[[str], Iterator[bytes]]] = {"parquet": _of_table, "npz": _of_archive, "npy": _of_array}
