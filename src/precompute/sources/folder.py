"""A folder of mesh files, one sub-folder per category.

Files may be nested deeper; their paths make the keys. With `data.split: folders` a folder `train` or `test` in each
category, or two that hold the categories, say the split (`split_folders`). Other files (materials, textures,
notes) are ignored; a sub-folder without meshes is logged, and so is what is hidden and left out (`.git`, but perhaps a
category `.22 rifle`).
"""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Iterator, Sequence

from captionless.errors import SpecError
from captionless.precompute.formats import DEFAULT_UP, Axes, file_type
from captionless.precompute.object_files import MeshFile, Scope
from captionless.precompute.sources.base import Loaded, ObjectRef, Selection, Split, by_key, clean_key, split_of
from captionless.precompute.sources.split_folders import FOLDERS, Place, place_of
from captionless.runtime.redaction import public_url
from captionless.spec.data import DataSpec
from captionless.store import objects
from captionless.store.file_index import FileIndex
from captionless.store.scan import scan

_log = logging.getLogger(__name__)


class FolderSource:
    """OBJ, PLY, STL, OFF, GLB and GLTF files below `data.source.url`/<category>/."""

    numbering: Sequence[str] = ()

    def __init__(self, data: DataSpec) -> None:
        self._data = data
        self._scope = Scope((data.source.url,), data.source.url, tuple(data.allow))
        if data.split == "manifest":
            raise SpecError(
                'data.split: a folder has no manifest; use "hash", "folders" (train/ and test/ in each category), or '
                "data.source.kind: manifest"
            )

    def refs(self) -> list[ObjectRef]:
        return by_key(self.stream(FileIndex()))

    def stream(self, files: FileIndex) -> Iterator[ObjectRef]:
        url = self._data.source.url
        root, folders, selection = len(objects.join(url, "x")) - 1, set[str](), Selection(self._data.source.categories)
        filled, axes, hidden, unused = set[str](), Axes(), set[str](), set[str]()
        for page in scan(url, hidden.add):
            files.add(page)
            for found in page:
                path = found.url[root:]
                if "/" not in path:
                    continue
                category, split = self._place(path)
                folders.add(category)
                if file_type(path):
                    filled.add(category)
                    if split is not None and not self._by_folders:
                        unused.add(split)
                    if selection.takes(category):
                        axes.add(path, self._data.source.up or None)
                        yield self._ref(category, split, path)
        if len(unused) == len(FOLDERS):
            _log.warning(
                "%s: its folders train/ and test/ are not used as the split, since data.split is %s; it can be folders",
                public_url(url), self._data.split,
            )  # fmt: skip
        for category in sorted(folders - filled):
            _log.warning("%s: no mesh files (%s), skipped", objects.join(url, category), _formats())
        if hidden:
            _log.warning(
                "%s: %d hidden files and folders are left out, such as %s; rename those that hold objects",
                public_url(url), len(hidden), min(hidden),
            )  # fmt: skip
        if not filled:
            raise SpecError(
                f"data.source.url: {url}: no mesh files; expected one sub-folder per category with {_formats()} files"
            )
        selection.check()
        axes.check()

    def digest(self, ref: ObjectRef) -> str:
        from captionless.precompute.meshfile import digest  # brings decoders, which reading apart does without

        return objects.digest(digest(self.mesh_file(ref).open()), self._data.source.up)

    def load(self, ref: ObjectRef) -> Loaded:
        from captionless.precompute.meshfile import read_object

        files = self.mesh_file(ref).open()
        reading = read_object(files, self._data.source.up or None)
        return Loaded(mesh=reading.mesh, files=tuple(files.seen), losses=reading.losses)

    def mesh_file(self, ref: ObjectRef) -> MeshFile:
        return MeshFile(str(ref.url), self._data.source.up or None, self._scope)

    @property
    def _by_folders(self) -> bool:
        return self._data.split == "folders"

    def _place(self, path: str) -> Place:
        """An object's category, and the split that its folders say; SpecError if they are to say it, and do not."""
        place = place_of(path)
        if not self._by_folders:
            return place._replace(category=path.partition("/")[0])
        if place.split is None and file_type(path):
            raise SpecError(
                f"data.split: folders, but {objects.join(self._data.source.url, path)} is in neither "
                f"{place.category}/train/ nor {place.category}/test/; move it, or use hash"
            )
        return place

    def _ref(self, category: str, split: Split | None, path: str) -> ObjectRef:
        key = clean_key(posixpath.splitext(path)[0])
        return ObjectRef(
            key=key,
            category=category,
            split=(split if self._by_folders else None) or split_of(key, self._data.test_fraction),
            source=public_url(self._data.source.url),
            licence="not stated",
            url=objects.join(self._data.source.url, path),
            up=self._data.source.up or None,
        )


def _formats() -> str:
    return ", ".join(f".{kind}" for kind in sorted(DEFAULT_UP))
