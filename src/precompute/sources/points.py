"""Labelled point clouds in one file: npz, or h5 in the format of ModelNet40 and ScanObjectNN.

    npz    points (N, P, 3 or 6), labels (N,) numbers or names, classes (C,), names (N,) optional
    h5     data   (N, P, 3 or 6), label  (N,) or (N, 1), classes (C,) optional

Class names that are not in the file are read from `shape_names.txt` or `classes.txt`
next to it, one per line. The last three of six values per point are passed through.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import h5py
import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError, SpecError
from captionless.mesh import Up, points_y_up
from captionless.precompute.file_kinds import CLOUDS, by_content, by_name, kind_of
from captionless.precompute.object_files import beside
from captionless.precompute.sources.base import Loaded, ObjectRef, Selection, Split, by_key, clean_key, split_of
from captionless.runtime.redaction import public_url
from captionless.spec.data import DataSpec
from captionless.store import objects
from captionless.store.file_index import FileIndex

_WHOLE, _NAMES = "iu", "USO"  # kinds of arrays: integers; strings, and objects that are strings
_LARGEST = 2**31  # number of a class
_CLASS_FILES = ("shape_names.txt", "classes.txt")


@dataclass(frozen=True)
class Clouds:
    """A file's clouds: points (N, P, 3 or 6), categories and names (N), and the classes by number, none where the
    labels are names."""

    points: NDArray[np.floating]
    categories: list[str]
    names: list[str] | None
    numbering: list[str]


class PointsSource:
    """The clouds of `data.source.url`, and of `data.source.testUrl` as the test split where it is given.

    `numbering`: the classes by number, for files of numbered labels that do not name them.
    """

    def __init__(self, data: DataSpec, numbering: Sequence[str] = ()) -> None:
        self._data, self._numbering = data, numbering
        self._files: dict[str, Clouds] = {}
        if not data.source.up:
            raise SpecError(
                "data.source.up: required, since point clouds do not define an up axis; set it to x, y or z"
            )
        if data.split != "hash" and not data.source.test_url:
            raise SpecError('data.split: clouds do not define a split; use "hash", or set data.source.testUrl')

    def refs(self) -> list[ObjectRef]:
        return by_key(self.stream(FileIndex()))

    def stream(self, files: FileIndex) -> Iterator[ObjectRef]:
        spec = self._data.source
        urls: list[tuple[str, Split | None]] = [(spec.url, "train" if spec.test_url else None)]
        if spec.test_url:
            urls.append((spec.test_url, "test"))
        selection = Selection(spec.categories)
        for url, split in urls:
            for index, category in enumerate(self._open(url).categories):
                if selection.takes(category):
                    yield self._ref(url, split, index, category)
        selection.check()

    @property
    def numbering(self) -> list[str]:
        """Those of the first file; empty if its labels are names."""
        return self._open(self._data.source.url).numbering

    def digest(self, ref: ObjectRef) -> str:
        cloud = np.ascontiguousarray(self._cloud(ref))
        content = hashlib.sha256(cloud.tobytes()).hexdigest()
        return objects.digest(content, cloud.shape, str(cloud.dtype), self._data.source.up)

    def load(self, ref: ObjectRef) -> Loaded:
        cloud = self._cloud(ref).astype(np.float64)
        broken = int((~np.isfinite(cloud)).any(axis=1).sum())
        if broken:
            raise DataError(f"{broken} of {len(cloud)} points have NaN or infinite coordinates")
        up: Up = self._data.source.up or "y"
        return Loaded(points=np.concatenate([points_y_up(cloud[:, :3], up), cloud[:, 3:]], axis=1))

    def _cloud(self, ref: ObjectRef) -> NDArray[np.floating]:
        url, _, index = str(ref.url).rpartition("#")
        cloud: NDArray[np.floating] = self._open(url).points[int(index)]
        return cloud

    def _ref(self, url: str, split: Split | None, index: int, category: str) -> ObjectRef:
        names = self._open(url).names
        name = names[index] if names else f"{category}-{split}-{index:05d}" if split else f"{category}-{index:05d}"
        key = clean_key(name)
        return ObjectRef(
            key=key,
            category=category,
            split=split or split_of(key, self._data.test_fraction),
            source=public_url(url),
            licence="not stated",
            url=f"{url}#{index}",
        )

    def _open(self, url: str) -> Clouds:
        if url not in self._files:
            self._files[url] = read_clouds(url, self._numbering)
        return self._files[url]


def read_clouds(url: str, numbering: Sequence[str] = ()) -> Clouds:
    """All clouds of an npz or h5 file; `numbering` as `PointsSource` takes it.

    SpecError when it is missing; DataError, naming the field, when its content is invalid.
    """
    try:
        data = objects.read_bytes(url)
    except (FileNotFoundError, KeyError) as error:
        raise SpecError(f"{url}: no such file; expected an .npz or .h5 of labelled point clouds") from error
    kind = _kind(url, data)
    try:
        if kind == "npz":
            with np.load(io.BytesIO(data), allow_pickle=False) as npz:
                arrays = {name: npz[name] for name in ("points", "labels", "classes", "names") if name in npz}
            fields = ("points", "labels")
        else:
            with h5py.File(io.BytesIO(data)) as h5:
                arrays = {name: h5[name][()] for name in ("data", "label", "classes", "names") if name in h5}
            fields = ("data", "label")
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{url}: cannot read the file: damaged, or another format ({error})") from error
    for field in fields:
        if field not in arrays:
            raise DataError(f"{url}: missing field {field!r}; expected {' and '.join(fields)}")
    points, labels = arrays[fields[0]], _labels(url, fields[1], arrays[fields[1]].reshape(-1))
    if points.ndim != 3 or points.shape[2] not in (3, 6) or points.dtype.kind != "f" or 0 in points.shape:
        raise DataError(
            f"{url}: {fields[0]}: expected float (N, P, 3) or (N, P, 6), found {points.dtype} {points.shape}"
        )
    if len(labels) != len(points):
        raise DataError(f"{url}: {fields[1]}: {len(labels)} labels for {len(points)} clouds")
    names = _strings(arrays["names"]) if "names" in arrays else None
    if names is not None and len(names) != len(points):
        raise DataError(f"{url}: names: {len(names)} names for {len(points)} clouds")
    if labels.dtype.kind not in _WHOLE:
        return Clouds(points, _strings(labels), names, [])
    known = _strings(arrays["classes"]) if "classes" in arrays else _classes_beside(url) or list(numbering)
    return Clouds(points, _numbered(url, fields[1], labels, known), names, known)


def _kind(url: str, data: bytes) -> str:
    """`npz` or `h5`, by a file's content. SpecError where neither content nor name is of a kind that is read, DataError
    where it is of another."""
    if by_name(url) is None and by_content(data) is None:
        raise SpecError(f"{url}: expected a file ending in .npz, .h5 or .hdf5")
    try:
        return kind_of(url, data, CLOUDS, "an npz or HDF5 file of labelled clouds")
    except DataError as error:
        raise DataError(f"{url}: {error}") from error


def _labels(url: str, field: str, labels: NDArray[np.generic]) -> NDArray[np.generic]:
    """Labels as whole numbers or names. Arrays of other programs have numbers as floats."""
    kind = labels.dtype.kind
    if kind == "f":
        numbers = labels.astype(np.float64)
        if (np.isfinite(numbers) & (numbers == np.floor(numbers)) & (np.abs(numbers) < _LARGEST)).all():
            return numbers.astype(np.int64)
    if kind not in _WHOLE + _NAMES:
        what = "numbers that are not whole" if kind == "f" else str(labels.dtype)
        raise DataError(f"{url}: {field}: expected whole numbers or names, found {what}")
    return labels


def _numbered(url: str, field: str, labels: NDArray[np.generic], known: Sequence[str]) -> list[str]:
    if not known:
        where = f"{_CLASS_FILES[0]} next to it, one per line"
        raise DataError(f"{url}: no class names for its numbered labels; list them in {where}")
    numbers = labels.astype(np.int64)
    if numbers.min() < 0 or numbers.max() >= len(known):
        raise DataError(
            f"{url}: {field}: values {numbers.min()} to {numbers.max()}, but there are only {len(known)} classes"
        )
    return [known[number] for number in numbers]


def _classes_beside(url: str) -> list[str]:
    for name in _CLASS_FILES:
        try:
            lines = _text(objects.read_bytes(beside(url, name))).splitlines()
        except FileNotFoundError:
            continue
        return [line.strip() for line in lines if line.strip()]
    return []


def _strings(values: NDArray[np.generic]) -> list[str]:
    return [_text(v) if isinstance(v, bytes) else str(v) for v in values.tolist()]


def _text(raw: bytes) -> str:
    """Text in UTF-8, with or without its mark, or where it is not, in Latin-1."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
