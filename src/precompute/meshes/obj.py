"""Wavefront OBJ (Alias|Wavefront, "Object Files (.obj)", version 3.0): its polygons, with their materials.

Read besides: colours of vertices behind their coordinates, as MeshLab writes them, and ZBrush's in comments. Lines,
points and free-form curves and surfaces are told, not drawn. Normals are not needed: views are shaded by the surface
itself.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from captionless.mesh import Mesh, MeshPart
from captionless.precompute.meshes.finding import Finder
from captionless.precompute.meshes.lexing import name_of, plain, shown
from captionless.precompute.meshes.mtl import Material, materials
from captionless.precompute.meshes.obj_lines import LIBRARY, NONE, OTHER, USE
from captionless.precompute.meshes.obj_looks import WHITE, Look
from captionless.precompute.meshes.obj_text import ObjText, Statement, scanned
from captionless.precompute.meshes.polygons import triangulated
from captionless.precompute.meshes.polypaint import polypaint
from captionless.precompute.meshes.reading import Reading
from captionless.precompute.meshes.splitting import Piece, split
from captionless.precompute.meshes.told import Told
from captionless.precompute.meshes.written_colors import light, see_through
from captionless.precompute.object_files import ObjectFiles
from captionless.spec.data import ReadingLimits

_SURFACES = frozenset(("surf", "bzp", "bsp", "cdc", "res"))
_CURVES = frozenset(("curv", "curv2", "cdp"))
_UNSEEN = frozenset((
    "bevel", "bmat", "c_interp", "con", "csh", "cstype", "ctech", "d_interp", "deg", "end", "hole", "lod",
    "maplib", "mg", "parm", "scrv", "shadow_obj", "sp", "stech", "step", "trace_obj", "trim",
))  # fmt: skip
"""Statements that change nothing, or only what has been told."""
_NO_MAP = frozenset(("", "off", "(null)"))


def read(data: bytes, files: ObjectFiles, limits: ReadingLimits) -> Reading:
    """The mesh of an OBJ file; see `reading.Reader`."""
    told = Told()
    data = plain(data)
    text = scanned(data, limits)
    _tell(text, told)
    written = polypaint(data, len(text.vertices), told) if text.colors is None else text.colors
    looks = _Looks(text, files, limits, told)
    triangles, owners = triangulated(text.vertices, text.sizes, text.corners[0])
    corners = text.corners[:, triangles]
    mapped: NDArray[np.bool_] = np.all(corners[1] != NONE, axis=1)
    painted = _painted(written, corners[0])
    # a piece for each material and both kinds of faces of it
    groups = (looks.by_face()[owners] * 2 + mapped) * 2 + painted
    coordinates = np.where(mapped[:, None], corners[1], NONE)
    pieces = split(groups, corners[0], coordinates if mapped.any() else None, len(text.vertices))
    colors = None if written is None else light(written)
    uv = np.where(np.isfinite(text.coordinates), text.coordinates, 0.0)
    parts = []
    for piece in pieces:
        look = looks.material(piece.group >> 2)
        own = colors[piece.positions] if colors is not None and piece.group & 1 else None
        laid = uv[piece.coordinates] if piece.group & 2 else None
        parts.append(_part(text, piece, look, laid, own))
    return Reading(Mesh(tuple(parts)), told.losses())


def _part(
    text: ObjText, piece: Piece, look: Look | None, uv: NDArray[np.float64] | None, own: NDArray[np.float32] | None
) -> MeshPart:
    vertices = text.vertices[piece.positions]
    if look is not None:
        return MeshPart(vertices, piece.faces, **look.of(uv, own))
    if own is not None:
        return MeshPart(vertices, piece.faces, WHITE, vertex_colors=own, alpha=see_through(own))
    return MeshPart(vertices, piece.faces)


def _tell(text: ObjText, told: Told) -> None:
    if text.unfinished:
        told("faces dropped", f"{text.unfinished} of fewer than three corners")
    if text.lines:
        told("points or lines not drawn", f"{text.lines} statements")
    if text.long:
        told("colours dropped", f"{text.long} vertices of more than seven numbers, which may have colours anywhere")
    if len(text.coordinates) and not np.isfinite(text.coordinates).all():
        told("texture coordinates missing", "some are not finite")
    for statement in text.statements:
        if statement.kind == OTHER:
            word = statement.text.split(None, 1)[0]
            known = name_of(word).lower()
            if known in _SURFACES:
                told("faces dropped", "free-form surfaces")
            elif known in _CURVES:
                told("points or lines not drawn", "free-form curves")
            elif known == "call":
                told("faces dropped", f"those of the file {shown(_rest(statement).encode())}, which the file calls")
            elif known == "usemap":
                if _rest(statement).lower() not in _NO_MAP:
                    told("texture not read", f"the statement usemap {shown(_rest(statement).encode())}")
            elif known not in _UNSEEN:
                told("extension ignored", f"the statement {shown(word)}")


def _painted(colors: NDArray[np.float32] | None, corners: NDArray[np.int32]) -> NDArray[np.bool_]:
    """(T,) whether all corners of a triangle have a colour."""
    if colors is None:
        return np.zeros(len(corners), np.bool_)
    own: NDArray[np.bool_] = np.isfinite(colors.sum(axis=1))
    painted: NDArray[np.bool_] = np.all(own[corners], axis=1)
    return painted


class _Looks:
    """The materials of an OBJ file's libraries, and which face has which."""

    def __init__(self, text: ObjText, files: ObjectFiles, limits: ReadingLimits, told: Told) -> None:
        self._told = told
        self._finder = Finder(files, limits, told)
        self._files = files
        self._all: list[Look] = []
        self._by_name: dict[str, int] = {}
        self._by_folded: dict[str, int] = {}
        for statement in text.statements:
            if statement.kind == LIBRARY:
                self._add(_names(statement))
        self._uses = [s for s in text.statements if s.kind == USE]
        self._faces = len(text.sizes)

    def material(self, number: int) -> Look | None:
        """The material of the faces with a number of `by_face`."""
        return self._all[number - 1] if number else None

    def by_face(self) -> NDArray[np.int64]:
        """(F,) the number of each face's material, from 1; 0 without one."""
        only = 1 if len(self._all) == 1 else 0
        numbers, starts = [only], [0]
        for use in self._uses:
            numbers.append(self._number(_rest(use), only))
            starts.append(use.faces)
        lengths = np.diff(np.array([*starts, self._faces]))
        if lengths[0] and not only and self._all:
            self._told("material missing", f"none is named for {lengths[0]} faces, and there are {len(self._all)}")
        return np.repeat(np.array(numbers, np.int64), lengths)

    def _number(self, name: str, only: int) -> int:
        if not name:
            return only
        found = self._by_name.get(name) or self._by_folded.get(_folded(name))
        if found is None:
            self._told("material missing", name)
        return found or 0

    def _add(self, names: Iterable[str]) -> None:
        """The materials of a library, or of several whose names stand on one line."""
        whole, *several = names
        found = None if any(ord(c) < 32 for c in whole) else self._finder.file(whole)
        if found is not None or not several:
            self._take(whole, found)
            return
        for name in several:
            self._take(name, self._finder.file(name))

    def _take(self, name: str, found: tuple[bytes, str] | None) -> None:
        if found is None:
            self._told("material missing", f"the library {name}")
            return
        content, url = found
        for material in materials(content, name):
            if material.name not in self._by_name:  # as the format has it: the first library that has a name
                self._keep(material, url)

    def _keep(self, material: Material, url: str) -> None:
        for ignored in material.ignored:
            self._told("option ignored", f"{ignored} of the material {material.name}")
        self._all.append(Look(material, url if url != self._files.url else "", self._finder, self._told))
        self._by_name[material.name] = len(self._all)
        self._by_folded.setdefault(_folded(material.name), len(self._all))


def _folded(name: str) -> str:
    """A material's name in one case, without a comment: `a # red`, but not the 25 of `Material #25`."""
    return name.partition(" # ")[0].rstrip().casefold()


def _rest(statement: Statement) -> str:
    """What follows the keyword, on one line."""
    words = statement.text.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ").split(None, 1)
    return name_of(words[1]) if len(words) > 1 else ""


def _names(statement: Statement) -> list[str]:
    """What follows the keyword as one name, and if there can be several, each of them."""
    whole = _rest(statement)
    if len(words := whole.split()) < 2:
        return [whole]
    if '"' not in whole and "'" not in whole:
        return [whole, *words]
    return [whole, *(word for word in _quoted(whole) if word)]


def _quoted(text: str) -> list[str]:
    """Words, or what quotes hold together."""
    found, quote, word = [], "", ""
    for c in text:
        if quote:
            quote, word = ("", word) if c == quote else (quote, word + c)
        elif c in "\"'":
            quote = c
        elif c.isspace():
            found.append(word)
            word = ""
        else:
            word += c
    return [*found, word]
