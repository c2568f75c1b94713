"""Stored similarity: one file per category, and a manifest that makes a folder of them one store.

Only pairs within a category are stored; a pair across categories has the manifest's
`cross_category_sim`. A matrix is symmetric with a diagonal of 1, so its upper triangle is all there is
to keep, as 16-bit steps between its least and greatest value. That costs at most half a step,
(max - min) / 131,070, a hundredth of what float16 would lose in the same bytes.

A category's file, little-endian throughout:

    offset  bytes        what
    0       8            the magic number b"captsim1"
    8       8            H, the length of the header, uint64
    16      H            the header: JSON in UTF-8, padded with spaces so that 16 + H is a multiple of 64
    16 + H  n (n-1)      the upper triangle without its diagonal, row by row, uint16
    the end 32           sha256 of all bytes before it

The header holds `version` (1), `metric` ("i2i" or "i2l"), `holds` ("similarity": values are f(.) or
g(.) of method's equations 2 and 4, not the raw means), `category`, `keys` (the n objects, in the order
of the rows), `min`, `max` and `source` (digest of what it was made from). To read it without this
project:

    raw = open(path, "rb").read()
    size = int.from_bytes(raw[8:16], "little")
    header = json.loads(raw[16 : 16 + size])
    n = len(header["keys"])
    steps = np.frombuffer(raw, "<u2", n * (n - 1) // 2, 16 + size)
    sim = np.zeros((n, n))
    sim[np.triu_indices(n, 1)] = header["min"] + steps * ((header["max"] - header["min"]) / 65535)
    sim = sim + sim.T + np.eye(n)
    assert hashlib.sha256(raw[:-32]).digest() == raw[-32:]

`similarity.json` beside the files names the metric, `cross_category_sim`, and every category's file with
its number of objects, size and checksum. It is written last, by `publish`.
"""

from __future__ import annotations

import hashlib
import json
import math
import urllib.parse
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from captionless.errors import DataError, did_you_mean
from captionless.store import objects

Metric: TypeAlias = Literal["i2i", "i2l"]

CROSS_CATEGORY_SIM = 0.25
"""The paper's alpha: the similarity of objects of different categories, for either metric."""

MANIFEST = "similarity.json"

_MAGIC = b"captsim1"
_STEPS = 65535
_CHECKSUM = 32
_ALIGN = 64
_FIRST_READ = 64 << 10  # bytes; holds the whole header of most categories, so opening costs one request each


def category_file(category: str) -> str:
    """The file's name for a category: its name, percent-encoded."""
    return urllib.parse.quote(category, safe=" ") + ".sim"


def write_category(
    url: str,
    category: str,
    keys: Sequence[str],
    sim: ArrayLike,
    metric: Metric,
    source: str,
) -> str:
    """Store one category's matrix under the folder `url`; a reader sees the whole file or none.

    Args:
        url: the store's folder.
        keys: the n >= 1 objects, in the order of `sim`'s rows, each once.
        sim: (n, n), symmetric, finite, diagonal 1; a memory map will do, it is read by rows.
        source: digest of what `sim` was made from.

    Returns:
        The file's URL.

    Raises:
        DataError: no objects, a key twice, a matrix of another shape, or a value that is not finite.
    """
    matrix = np.asanyarray(sim)
    n = len(keys)
    where = f'similarity of category "{category}"'
    if n == 0:
        raise DataError(f"{where}: no objects; expected at least one")
    if len(set(keys)) != n:
        twice = Counter(keys).most_common(1)[0][0]
        raise DataError(f'{where}: object "{twice}" is there twice; keys must be unique')
    if matrix.shape != (n, n):
        raise DataError(f"{where}: the matrix has shape {matrix.shape}; expected {(n, n)} for {n} objects")
    low, high = _span(matrix, keys, where)
    header = json.dumps(
        {
            "version": 1,
            "metric": metric,
            "holds": "similarity",
            "category": category,
            "keys": list(keys),
            "min": low,
            "max": high,
            "source": source,
        },
        ensure_ascii=False,
    ).encode()
    header += b" " * (-(16 + len(header)) % _ALIGN)
    checksum = hashlib.sha256()
    target = objects.join(url, category_file(category))
    scale = _STEPS / (high - low) if high > low else 0.0
    with objects.open_write(target) as file:
        for part in _parts(header, matrix, low, scale):
            checksum.update(part)
            file.write(part)
        file.write(checksum.digest())
    return target


def _span(matrix: NDArray[Any], keys: Sequence[str], where: str) -> tuple[float, float]:
    """Least and greatest value above the diagonal; (1, 1) for a single object."""
    low, high = math.inf, -math.inf
    for i in range(len(keys) - 1):
        row = matrix[i, i + 1 :]
        if not np.isfinite(row).all():
            other = keys[i + 1 + int(np.argmin(np.isfinite(row)))]
            raise DataError(f'{where}: the value of "{keys[i]}" and "{other}" is not finite; compute it again')
        low, high = min(low, float(row.min())), max(high, float(row.max()))
    return (low, high) if len(keys) > 1 else (1.0, 1.0)


def _parts(header: bytes, matrix: NDArray[Any], low: float, scale: float) -> Iterator[bytes]:
    yield _MAGIC + len(header).to_bytes(8, "little") + header
    for i in range(len(matrix) - 1):
        steps = (matrix[i, i + 1 :].astype(np.float64) - low) * scale
        yield np.clip(np.rint(steps), 0, _STEPS).astype("<u2").tobytes()


def publish(url: str, categories: Iterable[str], cross_category_sim: float = CROSS_CATEGORY_SIM) -> None:
    """Write the manifest over the stored files of `categories`; from then on `open_similarity` opens `url`.

    Raises:
        DataError: a category is missing or damaged, metrics differ, or an object is in two categories.
    """
    found = {category: _Category.open(objects.join(url, category_file(category))) for category in sorted(categories)}
    if not found:
        raise DataError(f"{url}: no categories; expected the similarity of at least one")
    metrics = {part.header["metric"] for part in found.values()}
    if len(metrics) != 1:
        raise DataError(f"{url}: files of different metrics ({', '.join(sorted(metrics))}); expected one per folder")
    _index(url, found.values())
    objects.renew_json(
        objects.join(url, MANIFEST),
        {
            "format": "captionless similarity",
            "version": 1,
            "metric": metrics.pop(),
            "holds": "similarity",
            "cross_category_sim": cross_category_sim,
            "categories": {
                category: {
                    "file": category_file(category),
                    "objects": part.n,
                    "bytes": part.size,
                    "sha256": part.stored_checksum().hex(),
                    "source": part.header["source"],
                }
                for category, part in found.items()
            },
        },
    )


def open_similarity(url: str) -> SimilarityStore:
    """Open a published store; reads the manifest and the headers, matrices only when they are looked up.

    Raises:
        DataError: no manifest, or a file that is missing, truncated or not what the manifest says.
    """
    manifest_url = objects.join(url, MANIFEST)
    try:
        manifest = objects.read_json(manifest_url)
    except FileNotFoundError:
        raise DataError(
            f"{url}: no stored similarity ({MANIFEST} is missing); run the similarity stage, or correct the URL"
        ) from None
    try:
        return SimilarityStore(url, manifest)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{manifest_url}: not a similarity manifest ({error!r}); run the similarity stage again"
        ) from error


class SimilarityStore:
    """Looks up the similarity of any objects; made by `open_similarity`.

    Attributes:
        metric: "i2i" or "i2l".
        categories: names, sorted.
        cross_category_sim: the value of pairs across categories.
    """

    def __init__(self, url: str, manifest: dict[str, Any]) -> None:
        self.url = url
        self.metric: Metric = manifest["metric"]
        self.cross_category_sim = float(manifest["cross_category_sim"])
        self.categories: tuple[str, ...] = tuple(sorted(manifest["categories"]))
        self._parts: list[_Category] = []
        self._checksums: list[str] = []
        for category in self.categories:
            entry = manifest["categories"][category]
            part = _Category.open(objects.join(url, entry["file"]))
            if (part.header["category"], part.n, part.size) != (category, entry["objects"], entry["bytes"]):
                raise DataError(f"{part.url}: not the file that {MANIFEST} tells of; run the similarity stage again")
            self._parts.append(part)
            self._checksums.append(entry["sha256"])
        self._index = _index(url, self._parts)

    def keys(self, category: str) -> list[str]:
        """The objects of a category, in the order of its matrix."""
        return list(self._part(category).keys)

    def lookup(self, keys: Sequence[str]) -> NDArray[np.float32]:
        """Similarity of every pair of `keys`.

        Args:
            keys: N objects of any categories; the same one may come twice and then has similarity 1.

        Returns:
            (N, N) float32, symmetric, diagonal 1, `cross_category_sim` across categories.

        Raises:
            DataError: an object that is not stored; the message names it.
        """
        try:
            places = np.array([self._index[key] for key in keys], dtype=np.int64).reshape(-1, 2)
        except KeyError as error:
            key = str(error.args[0])
            raise DataError(
                f'{self.url}: no similarity for object "{key}"{did_you_mean(key, self._index)}; '
                "run the similarity stage on this dataset"
            ) from None
        sim = np.full((len(keys), len(keys)), self.cross_category_sim, dtype=np.float32)
        for number in np.unique(places[:, 0]):
            part = self._parts[number]
            positions = np.flatnonzero(places[:, 0] == number)
            positions = positions[np.argsort(places[positions, 1], kind="stable")]
            _fill(sim, positions, places[positions, 1], part.triangle(), part.n, part.low, part.step)
        return sim

    def matrix(self, category: str) -> NDArray[np.float32]:
        """(n, n) float32: the whole category, in the order of `keys(category)`."""
        return self.lookup(self._part(category).keys)

    def category_mean(self) -> dict[str, float]:
        """Mean similarity over the pairs of each category; 1 for a category of one object."""
        means = {}
        for part in self._parts:
            triangle = part.triangle()
            means[part.header["category"]] = part.low + part.step * float(np.mean(triangle)) if part.n > 1 else 1.0
        return means

    def verify(self) -> None:
        """Read every byte and compare checksums; DataError names the first file that is damaged."""
        for part, expected in zip(self._parts, self._checksums, strict=True):
            part.verify(expected)

    def _part(self, category: str) -> _Category:
        if category not in self.categories:
            raise DataError(f'{self.url}: no category "{category}"{did_you_mean(category, self.categories)}')
        return self._parts[self.categories.index(category)]


@dataclass(eq=False)
class _Category:
    """One category's file: its header, and its triangle from the first time it is asked for."""

    url: str
    header: dict[str, Any]
    keys: list[str]
    offset: int
    size: int
    low: float
    step: float
    _triangle: NDArray[np.uint16] | None = None

    @classmethod
    def open(cls, url: str) -> _Category:
        size = objects.size(url)
        if size is None:
            raise DataError(f"{url}: missing; run the similarity stage again")
        damaged = f"{url}: damaged or truncated (%s); delete it and run the similarity stage again"
        start = objects.read_bytes(url, 0, min(_FIRST_READ, size))
        if start[:8] != _MAGIC or size < 16 + _CHECKSUM:
            raise DataError(damaged % "it does not begin as a similarity file")
        offset = 16 + int.from_bytes(start[8:16], "little")
        if offset > size:
            raise DataError(damaged % f"{size:,} bytes, its header alone needs {offset:,}")
        raw = start[16:offset] if offset <= len(start) else objects.read_bytes(url, 16, offset)
        try:
            header = json.loads(raw)
            keys, low, high = list(header["keys"]), float(header["min"]), float(header["max"])
            version, *_ = (header[name] for name in ("version", "metric", "holds", "category", "source"))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(damaged % f"header: {error}") from error
        if version != 1 or header["holds"] != "similarity":
            raise DataError(f'{url}: version {version} holding "{header["holds"]}"; this release reads 1, "similarity"')
        expected = offset + len(keys) * (len(keys) - 1) + _CHECKSUM
        if size != expected:
            raise DataError(damaged % f"{size:,} bytes, expected {expected:,}")
        return cls(url, header, keys, offset, size, low, (high - low) / _STEPS)

    @property
    def n(self) -> int:
        return len(self.keys)

    def triangle(self) -> NDArray[np.uint16]:
        if self._triangle is None:
            count = self.n * (self.n - 1) // 2
            if count and objects.is_local(self.url):
                path = objects.local_path(self.url)
                self._triangle = np.memmap(path, "<u2", "r", self.offset, (count,)).view(np.ndarray)
            else:
                stop = self.offset + 2 * count
                data = objects.read_bytes(self.url, self.offset, stop) if count else b""
                self._triangle = np.frombuffer(data, "<u2")
        return self._triangle

    def stored_checksum(self) -> bytes:
        return objects.read_bytes(self.url, self.size - _CHECKSUM, self.size)

    def verify(self, expected: str) -> None:
        checksum, end, block = hashlib.sha256(), self.size - _CHECKSUM, 16 << 20
        for start in range(0, end, block):
            checksum.update(objects.read_bytes(self.url, start, min(start + block, end)))
        if not checksum.hexdigest() == self.stored_checksum().hex() == expected:
            raise DataError(f"{self.url}: the checksum does not match; delete it and run the similarity stage again")


def _index(url: str, parts: Iterable[_Category]) -> dict[str, tuple[int, int]]:
    """Category number and row of every object."""
    index: dict[str, tuple[int, int]] = {}
    for number, part in enumerate(parts):
        for row, key in enumerate(part.keys):
            if key in index:
                raise DataError(f'{url}: object "{key}" is stored twice; keys must be unique across categories')
            index[key] = (number, row)
    return index


@numba.njit(nogil=True)
def _fill(
    sim: NDArray[np.float32],
    positions: NDArray[np.int64],
    rows: NDArray[np.int64],
    triangle: NDArray[np.uint16],
    n: int,
    low: float,
    step: float,
) -> None:
    """Write one category's pairs into `sim`: compiled, since 512 objects are 130,000 scattered reads.

    `rows` ascends, so that the reads of one outer step go forward through one row of the triangle.
    """
    for p in range(len(rows)):
        i, at = rows[p], positions[p]
        start = i * (2 * n - i - 1) // 2 - i - 1
        sim[at, at] = 1
        for q in range(p + 1, len(rows)):
            value = np.float32(1)
            if rows[q] != i:
                value = np.float32(low + step * triangle[start + rows[q]])
            sim[at, positions[q]] = value
            sim[positions[q], at] = value
