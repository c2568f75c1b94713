"""A folder of mesh files, one sub-folder per category.

Files may be nested deeper; their paths make the keys. Other files (materials, textures,
notes) are ignored; a sub-folder without meshes is logged.
"""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Sequence

from captionless.errors import SpecError
from captionless.precompute.meshfile import DEFAULT_UP, digest, file_type, load_mesh
from captionless.precompute.sources.base import Loaded, ObjectRef, by_key, chosen, clean_key, split_of
from captionless.spec.data import DataSpec
from captionless.store import objects

_log = logging.getLogger(__name__)


class FolderSource:
    """OBJ, PLY, STL, OFF, GLB and GLTF files below `data.source.url`/<category>/."""

    numbering: Sequence[str] = ()

    def __init__(self, data: DataSpec) -> None:
        self._data = data
        if data.split == "manifest":
            raise SpecError('data.split: a folder does not define a split; use "hash", or data.source.kind: manifest')

    def refs(self) -> list[ObjectRef]:
        url = self._data.source.url
        meshes: dict[str, list[str]] = {}
        for path in objects.walk(url):
            category, _, below = path.partition("/")
            if below:
                meshes.setdefault(category, []).extend([path] if file_type(path) else [])
        for category in [c for c, paths in meshes.items() if not paths]:
            _log.warning("%s: no mesh files (%s), skipped", objects.join(url, category), _formats())
            del meshes[category]
        if not meshes:
            raise SpecError(
                f"data.source.url: {url}: no mesh files; expected one sub-folder per category with {_formats()} files"
            )
        taken = chosen(self._data.source.categories, meshes)
        return by_key(self._ref(c, path) for c, paths in meshes.items() if c in taken for path in paths)

    def digest(self, ref: ObjectRef) -> str:
        return objects.digest(digest(str(ref.url)), self._data.source.up)

    def load(self, ref: ObjectRef) -> Loaded:
        return Loaded(mesh=load_mesh(str(ref.url), self._data.source.up or None))

    def _ref(self, category: str, path: str) -> ObjectRef:
        key = clean_key(posixpath.splitext(path)[0])
        return ObjectRef(
            key=key,
            category=category,
            split=split_of(key, self._data.test_fraction),
            source=self._data.source.url,
            licence="not stated",
            url=objects.join(self._data.source.url, path),
        )


def _formats() -> str:
    return ", ".join(f".{kind}" for kind in sorted(DEFAULT_UP))
