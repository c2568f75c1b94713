"""A stored gallery: a trained encoder's embeddings of a data set's shapes, for search, and where their pictures are.

    <row>.faiss     embeddings, unit rows, of some objects from the object `row` on: a faiss IndexFlatIP
    objects-<sha256>.json    JSON: `keys`, sorted; `category` and `shard`, a number for each key; `categories` and
                    `shards`, what these numbers mean. A shard is the path of an object's shard below the data set and
                    its pack folder
    gallery.json    JSON, the manifest: `digest` (of what the rows were made from), `dim`, `objects` and `parts` (files
                    with their bytes and sha256, and a part's first and one past its last row), and `about`, see
                    `stages.search.build`

Rows are in the order of the keys, which breaks ties between equal rows. They are stored in parts of a few thousand,
which an interrupted build need not repeat, and which are read, checked and searched in parallel: in one piece, the rows
of a million objects would be copied several times while loading. Without this project:

    parts = json.load(open("gallery.json"))["parts"]
    index = faiss.read_index(parts[0]["file"])
    for part in parts[1:]:
        index.merge_from(faiss.read_index(part["file"]))

The index is exact. A flat one of a million shapes of width 512 has 2 GB and answers within a fraction of a second; an
approximate one would be smaller or faster, and would miss some of the nearest (see docs/search.md).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError, SpecError, did_you_mean
from captionless.runtime.thread_pools import thread_pool
from captionless.store import objects
from captionless.store.embeddings import EmbeddedObject
from captionless.store.published import REQUESTS, StoreFormat, check_unique

if TYPE_CHECKING:
    from faiss import IndexFlatIP

VERSION = 1
FORMAT = StoreFormat("gallery", "`captionless search build`", "gallery.json", VERSION)


@dataclass(frozen=True)
class GalleryPart:
    """A file of the embeddings of the objects [rows[0], rows[1])."""

    rows: tuple[int, int]
    file: str
    bytes: int
    sha256: str


def faiss() -> Any:
    """The library faiss. SpecError where it is not installed."""
    try:
        import faiss as library
    except ImportError:
        raise SpecError("search needs faiss, which is not installed: pip install 'captionless[search]'") from None
    return library


def write_rows(url: str, row: int, rows: NDArray[np.float32]) -> tuple[str, str]:
    """Store the embeddings (n, D) of the objects `row` and on, unit rows, under the folder `url`; file and sha256."""
    index = faiss().IndexFlatIP(rows.shape[1])
    index.add(rows)
    data, file = faiss().serialize_index(index).tobytes(), f"{row}.faiss"
    objects.write_bytes(objects.join(url, file), data)
    return file, hashlib.sha256(data).hexdigest()


def publish(
    url: str,
    digest: str,
    dim: int,
    about: Mapping[str, Any],
    listed: Sequence[EmbeddedObject],
    parts: Sequence[GalleryPart],
    before: bytes | None = None,
) -> None:
    """Write the objects and the manifest next to the stored rows; from then on `open_gallery` opens `url`.

    listed: the objects in the order of their rows. about: plain values. before: the manifest that may be replaced, None
    if there was none.

    Raises:
        DataError: an object occurs twice.
        Retryable: the manifest is not the one that may be replaced: another run has published its gallery.
    """
    check_unique(url, (item.key for item in listed))
    categories, shards = (sorted(set(names)) for names in zip(*((o.category, o.shard) for o in listed), strict=True))
    category_number, shard_number = ({name: i for i, name in enumerate(names)} for names in (categories, shards))
    document = {
        "keys": [item.key for item in listed],
        "categories": categories,
        "category": [category_number[item.category] for item in listed],
        "shards": shards,
        "shard": [shard_number[item.shard] for item in listed],
    }
    data = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    sha256 = hashlib.sha256(data).hexdigest()
    file = f"objects-{sha256[:16]}.json"
    objects.renew_bytes(objects.join(url, file), data)
    manifest = {
        "format": "captionless gallery",
        "version": VERSION,
        "index": "IndexFlatIP",
        "digest": digest,
        "dim": dim,
        "about": about,
        "objects": {"file": file, "bytes": len(data), "sha256": sha256},
        "parts": [asdict(part) for part in parts],
    }
    if not FORMAT.is_said(before, manifest):
        FORMAT.replace(url, manifest, before, {file}, is_objects)


def is_objects(name: str) -> bool:
    """Whether a file of this name, in a gallery's folder, has its objects, in this or an earlier release."""
    return name.startswith("objects") and name.endswith(".json")


def open_gallery(url: str) -> Gallery:
    """Open a gallery: reads the manifest, the objects and the files' sizes, no rows.

    Raises:
        DataError: no manifest, or a file that is missing, truncated, or not the one that was written.
    """

    def read(manifest: Any) -> tuple[Gallery, list[tuple[str, int]]]:
        listed, parts = manifest["objects"], [GalleryPart(**{**p, "rows": tuple(p["rows"])}) for p in manifest["parts"]]
        target = objects.join(url, listed["file"])
        found = json.loads(FORMAT.read_file(target, listed["sha256"]))
        gallery = Gallery(url, int(manifest["dim"]), dict(manifest["about"]), found, parts)
        edges = [0, *(p.rows[1] for p in parts)]
        if [p.rows[0] for p in parts] != edges[:-1] or edges[-1] != len(gallery.keys):
            raise DataError(f"{url}: its parts do not cover its {len(gallery.keys):,} objects; rerun {FORMAT.maker}")
        return gallery, [(listed["file"], listed["bytes"]), *((p.file, p.bytes) for p in parts)]

    gallery, files = FORMAT.open(url, read)
    FORMAT.check_sizes(url, files)
    return gallery


class Gallery:
    """The objects of a gallery, by row; made by `open_gallery`.

    Attributes:
        dim: width of the embeddings.
        about: what its rows were made from and by.
        keys: of every row, sorted.
        categories: all there are, sorted.
    """

    def __init__(
        self, url: str, dim: int, about: dict[str, Any], listed: Mapping[str, Any], parts: Sequence[GalleryPart]
    ) -> None:
        self.url, self.dim, self.about = url, dim, about
        self.keys: list[str] = listed["keys"]
        self.categories: list[str] = listed["categories"]
        self._category: NDArray[np.int32] = np.array(listed["category"], np.int32)
        self._shards: list[str] = listed["shards"]
        self._shard: list[int] = listed["shard"]
        self._parts = parts

    def __len__(self) -> int:
        return len(self.keys)

    def category(self, row: int) -> str:
        """The category of a row's object."""
        return self.categories[int(self._category[row])]

    def shard(self, row: int) -> str:
        """The path of its shard below the data set's folder, and below the pack stage's."""
        return self._shards[self._shard[row]]

    def within(self, category: str) -> NDArray[np.bool_]:
        """(n,): which rows are of a category. SpecError when there is none of that name."""
        if category not in self.categories:
            some = f"{', '.join(self.categories[:20])}{', ...' if len(self.categories) > 20 else ''}"
            raise SpecError(
                f'{self.url}: no category "{category}"{did_you_mean(category, self.categories)}; there are {some}'
            )
        found: NDArray[np.bool_] = self._category == self.categories.index(category)
        return found

    def row(self, key: str) -> int:
        """The row of an object. DataError, with the nearest name, when it is not there."""
        try:
            return self.keys.index(key)
        except ValueError:
            raise DataError(f'{self.url}: no object "{key}"{did_you_mean(key, self.keys)}') from None

    def indices(self) -> list[IndexFlatIP]:
        """The rows, each part a faiss index, in order; checksums are compared while they are read.

        Raises:
            DataError: a file that is missing or damaged.
        """
        library = faiss()

        def read(part: GalleryPart) -> IndexFlatIP:
            target = objects.join(self.url, part.file)
            data = FORMAT.read_file(target, part.sha256)
            index: IndexFlatIP = library.deserialize_index(np.frombuffer(data, np.uint8))
            if (index.ntotal, index.d) != (part.rows[1] - part.rows[0], self.dim):
                raise FORMAT.damaged(target, f"{index.ntotal} rows of {index.d}, expected {part.rows} of {self.dim}")
            return index

        with thread_pool(REQUESTS) as pool:
            return list(pool.map(read, self._parts))

    def verify(self) -> None:
        """Read every byte and compare checksums; DataError names the first file that is damaged."""
        self.indices()
