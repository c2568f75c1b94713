"""Finds the pictures and libraries that a mesh names, where its exporter did not write the path that they have.

Meshes are moved, from Windows most of all. A name is tried as it is written, then by itself beside the file that names
it and beside the mesh, then with its case changed, and a picture also where well-known collections keep it. Whatever is
tried is opened by `ObjectFiles` and stays within what that allows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from captionless.errors import DataError
from captionless.mesh import Picture, Wrap
from captionless.precompute.meshes.pictures import picture
from captionless.precompute.meshes.told import Told
from captionless.precompute.object_files import ObjectFiles, beside
from captionless.spec.data import ReadingLimits

_FOREIGN = re.compile(r"[A-Za-z]:[\\/]|\\\\")
"""How names begin that are none on any machine but the exporter's."""
_FOLDERS = ("textures", "images", "../textures", "../images", "../materials/textures")
"""Where pictures are: the last is Google Scanned Objects', the one before ShapeNet's."""
_SEARCHES = 8
"""Names of one object that are searched for: each costs requests that find nothing."""


class Finder:
    """Opens what the object with these files names. Each name is sought once."""

    def __init__(self, files: ObjectFiles, limits: ReadingLimits, told: Told) -> None:
        self._files, self._limits, self._told = files, limits, told
        self._found: dict[tuple[str, str], tuple[bytes, str] | None] = {}
        self._pictures: dict[tuple[str, str, Wrap], Picture | None] = {}
        self._searches = 0

    def picture(self, name: str, by: str = "", wrap: Wrap = "repeat") -> Picture | None:
        """The picture that the mesh, or its file at the URL `by`, names; None, and told, when there is none.

        DataError when what is there is not a picture, or the name leads out of what may be read.
        """
        key = (name, by, wrap)
        if key not in self._pictures:
            found = self.file(name, by, _FOLDERS)
            if found is None:
                self._told("texture missing", name)
            content = found[0] if found else None
            what = f"the texture {name}"
            self._pictures[key] = None if content is None else picture(content, what, self._limits, (wrap, wrap))
        return self._pictures[key]

    def file(self, name: str, by: str = "", folders: tuple[str, ...] = ()) -> tuple[bytes, str] | None:
        """A file's bytes, and its URL; None when there is none."""
        key = (name, by)
        if key not in self._found:
            self._found[key] = self._sought(_bare(name), by, folders)
        return self._found[key]

    def _sought(self, name: str, by: str, folders: tuple[str, ...]) -> tuple[bytes, str] | None:
        refused = None
        if not name or _FOREIGN.match(name):
            found = None
        else:
            try:
                found = self._open(name, by)
            except DataError as error:
                found, refused = None, error
        if found is None and name and self._searches < _SEARCHES:
            self._searches += 1
            found = self._elsewhere(name, by, folders)
        if found is None and refused:
            raise refused
        return found

    def _open(self, name: str, by: str) -> tuple[bytes, str] | None:
        content = self._files.named(name, by)
        return None if content is None else (content, beside(by or self._files.url, name))

    def _elsewhere(self, name: str, by: str, folders: tuple[str, ...]) -> tuple[bytes, str] | None:
        for other, of in self._guesses(name, by, folders):
            try:
                found = self._open(other, of)
            except DataError:  # what is guessed, not written, may lead anywhere
                continue
            if found is not None:
                return found
        return None

    def _guesses(self, name: str, by: str, folders: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        path = name.replace("\\", "/")
        alone = path.rpartition("/")[2]
        if not alone:
            return
        written = not (_FOREIGN.match(name) or path.startswith("/") or "://" in name)
        places = [by, ""] if by else [""]
        for place in places:
            if written and place != by:
                yield path, place
            if alone != path:
                yield alone, place
        for place in places:
            for spelled in (path, alone) if written and alone != path else (alone,):
                alike = self._alike(spelled, place)
                if alike is not None and alike != spelled:
                    yield alike, place
        for folder in folders:
            yield f"{folder}/{alone}", ""
        bare, mark, _ = name.rpartition(" #")
        if mark and bare.strip():  # a comment
            yield bare.strip(), by

    def _alike(self, name: str, place: str) -> str | None:
        try:
            alike = self._files.spelled_alike(name, place)
        except DataError:
            return None
        return name.lower() if alike is None and name != name.lower() else alike


def _bare(name: str) -> str:
    """A name without blanks and quotes around it."""
    name = name.strip()
    return name[1:-1].strip() if len(name) > 1 and name[0] == name[-1] and name[0] in "\"'" else name
