"""PLY (G. Turk, "The PLY Polygon File Format", 1994), text and binary: polygons and triangle strips, with colours.

The format fixes how elements are stored, and only by custom what they are called: the names are those that Stanford's
scans, MeshLab, Blender, Open3D and CloudCompare write. Pictures are named in comments, as MeshLab does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.mesh import Mesh, MeshPart, Picture
from captionless.precompute.meshes.finding import Finder
from captionless.precompute.meshes.lexing import shown
from captionless.precompute.meshes.ply_body import Lists, Rows, body
from captionless.precompute.meshes.ply_header import Element, Header, header
from captionless.precompute.meshes.polygons import triangulated
from captionless.precompute.meshes.reading import Reading
from captionless.precompute.meshes.splitting import Piece, split
from captionless.precompute.meshes.told import Told
from captionless.precompute.meshes.written_colors import FRACTIONS, LEVELS, fractions, levels, light, see_through
from captionless.precompute.object_files import ObjectFiles
from captionless.spec.data import ReadingLimits

_POSITION = ("x", "y", "z")
_COLORS = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"))
_OPACITY = ("alpha", "diffuse_alpha", "a")
_UV = (("u", "v"), ("s", "t"), ("texture_u", "texture_v"), ("tu", "tv"))
_INDICES = ("vertex_indices", "vertex_index")
_FACE_UV = ("texcoord", "texcoords")
_NUMBER = ("texnumber", "texture_number")
_STRIPS = ("tristrips", "tristrip")
_COLORLIKE = re.compile(r"(^|_)(red|green|blue|rgba?|colou?rs?|material_ind(ex|ices)|intensity|gr[ae]y)$")
_BRIGHTNESS = re.compile(r"(^|_)(intensity|gr[ae]y)$")
"""Names of what may be meant to be seen, and of those of it that mean nothing where they are the same everywhere."""
_FULL = {"f4": FRACTIONS, "f8": FRACTIONS}
"""What full light may be written as, by type; one of `LEVELS` for all others."""


def read(data: bytes, files: ObjectFiles, limits: ReadingLimits) -> Reading:
    """The mesh of a PLY file; see `reading.Reader`. Of points without faces, one without parts."""
    told = Told()
    head = header(data)
    elements = {e.name: e for e in head.elements}
    _check(head, elements, limits)
    if "edge" in elements and elements["edge"].count:
        told("points or lines not drawn", f"{elements['edge'].count} of the element edge")
    singles = [
        *_POSITION,
        *_brightness(elements["vertex"]),
        *(n for names in (*_COLORS, *_UV) for n in names),
        *_OPACITY,
    ]
    faces = [*_INDICES, *_FACE_UV, *_NUMBER, *(n for names in _COLORS for n in names), *_OPACITY]
    rows = body(data, head, {"vertex": singles, "face": faces, **dict.fromkeys(_STRIPS, _INDICES)})
    vertex, face = rows.get("vertex", Rows()), rows.get("face", Rows())
    if not vertex.count:
        return Reading(Mesh(), told.losses())
    positions = np.stack([vertex.values[axis] for axis in _POSITION], axis=1)
    triangles, owners, uv, coordinates = _polygons(positions, face, limits, told)
    strips = _strips(rows, len(positions), limits, len(triangles))
    corners = np.concatenate([triangles, strips]) if len(strips) else triangles
    owners = np.concatenate([owners, np.full(len(strips), -1, np.int32)]) if len(strips) else owners
    if coordinates is None and (pair := _first(vertex.values, _UV)):
        uv, coordinates = np.stack([vertex.values[name] for name in pair], axis=1), corners
    elif coordinates is not None:
        coordinates = np.concatenate([coordinates, np.full_like(strips, -1)])
    pictures = _pictures(head, files, limits, told) if len(corners) else []
    groups = _textured(face, owners, coordinates, len(pictures), told)
    parts = []
    for piece in split(groups, corners, coordinates if groups.any() else None, len(positions)):
        look: dict[str, Any] = {}
        picture = pictures[piece.group - 1] if piece.group else None
        if picture is not None:
            look = {"uv": np.where(np.isfinite(uv), uv, 0.0)[piece.coordinates], "texture": picture}
        else:
            look = _colored(elements, vertex, face, piece, owners, told)
        parts.append(MeshPart(positions[piece.positions], piece.faces, **look))
    return Reading(Mesh(tuple(parts)), told.losses())


def _check(head: Header, elements: dict[str, Element], limits: ReadingLimits) -> None:
    vertex = elements.get("vertex")
    if vertex is None:
        raise DataError("its header has no element vertex")
    if missing := [axis for axis in _POSITION if axis not in {p.name for p in vertex.properties if not p.counter}]:
        raise DataError(f"its vertices have no property {missing[0]}")
    if vertex.count > limits.vertices and any(e in elements for e in ("face", *_STRIPS)):
        raise DataError(f"has {vertex.count} vertices; at most {limits.vertices} are supported: simplify the mesh")
    for name in ("face", *_STRIPS):
        lists = {p.name for p in elements[name].properties if p.counter} if name in elements else set(_INDICES)
        if not lists & set(_INDICES) and elements[name].count:
            raise DataError(f"its element {name} has no list {_INDICES[0]}")


def _polygons(
    positions: NDArray[np.float64], face: Rows, limits: ReadingLimits, told: Told
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64], NDArray[np.int32] | None]:
    """Triangles (T, 3) of vertices, (T,) the face that each is of, and if faces have texture coordinates: these,
    (C, 2), and which each corner has (T, 3), -1 for none."""
    none = np.empty((0, 2))
    indices = _list(face, _INDICES)
    if indices is None:
        return np.empty((0, 3), np.int32), np.empty(0, np.int32), none, None
    uv = _list(face, _FACE_UV)
    if uv is None and (indices.lengths == 3).all() and len(indices.lengths) <= limits.faces:
        corners = _in_range(indices, len(positions), least=0)
        return corners.reshape(-1, 3), np.arange(len(indices.lengths), dtype=np.int32), none, None
    kept = indices.lengths >= 3
    count = int((indices.lengths[kept] - 2).sum())
    if count > limits.faces:
        raise DataError(f"has {count} faces; at most {limits.faces} are supported: simplify the mesh")
    if not kept.all():
        told("faces dropped", f"{int((~kept).sum())} of fewer than three corners")
    corners = _in_range(indices, len(positions), least=0)
    corners = corners[np.repeat(kept, indices.lengths)]
    sizes = indices.lengths[kept].astype(np.int32)
    triangles, owners = triangulated(positions, sizes, corners)
    of_face = np.flatnonzero(kept).astype(np.int32)[owners]
    if uv is None:
        return corners[triangles], of_face, none, None
    whole = uv.lengths == 2 * indices.lengths
    if not (whole | (uv.lengths == 0)).all():
        wrong = int(np.argmin(whole | (uv.lengths == 0)))
        raise DataError(
            f"face {wrong} has {uv.lengths[wrong]} texture coordinates; expected {2 * indices.lengths[wrong]}"
        )
    starts = (np.cumsum(uv.lengths) - uv.lengths) // 2  # of each face's coordinates, as pairs
    first_corners = np.cumsum(sizes) - sizes
    pairs = starts[of_face][:, None] + triangles - first_corners[owners][:, None]
    coordinates = np.where(uv.lengths[of_face][:, None] > 0, pairs, -1).astype(np.int32)
    return corners[triangles], of_face, uv.values[: len(uv.values) // 2 * 2].reshape(-1, 2), coordinates


def _strips(rows: dict[str, Rows], count: int, limits: ReadingLimits, others: int) -> NDArray[np.int32]:
    """(T, 3) triangles of strips: each index makes one with the two before; -1 begins anew."""
    found = [np.empty((0, 3), np.int32)]
    for name in _STRIPS:
        indices = _list(rows.get(name, Rows()), _INDICES)
        if indices is not None:
            if len(indices.values) + others > limits.faces + 2 * len(indices.lengths):
                raise DataError(f"has more than {limits.faces} faces: simplify the mesh")
            found.append(_unrolled(_in_range(indices, count, least=-1), indices.lengths))
    return np.concatenate(found)


@numba.njit(cache=True, nogil=True)
def _unrolled(indices: NDArray[np.int32], lengths: NDArray[np.int64]) -> NDArray[np.int32]:
    found = np.empty((len(indices), 3), np.int32)
    count = at = 0
    for length in lengths:
        run = 0
        for _ in range(length):
            run = run + 1 if indices[at] >= 0 else 0
            if run >= 3:
                turned = (run - 3) % 2  # every other triangle goes the other way round
                found[count, 0] = indices[at - 2 + turned]
                found[count, 1] = indices[at - 1 - turned]
                found[count, 2] = indices[at]
                count += 1
            at += 1
    return found[:count].copy()


def _in_range(indices: Lists, count: int, least: int) -> NDArray[np.int32]:
    values = indices.values
    if values.dtype.kind in "iu" and len(values) and values.min() >= least and values.max() < count:
        return values.astype(np.int32, copy=False)
    with np.errstate(invalid="ignore"):
        right: NDArray[np.bool_] = (values >= least) & (values < count) & (values == np.floor(values))
    if not right.all():
        first = int(np.argmin(right))
        face = int(np.searchsorted(np.cumsum(indices.lengths), first, "right"))
        raise DataError(f"face {face} names vertex {values[first]:g} of {count}")
    return values.astype(np.int32)


def _pictures(head: Header, files: ObjectFiles, limits: ReadingLimits, told: Told) -> list[Picture | None]:
    finder = Finder(files, limits, told)
    return [finder.picture(name) for name in head.textures]


def _textured(
    face: Rows, owners: NDArray[np.int32], coordinates: NDArray[np.int32] | None, pictures: int, told: Told
) -> NDArray[np.int64]:
    """(T,) the number of each triangle's picture, from 1; 0 without one."""
    if not pictures:
        return np.zeros(len(owners), np.int64)
    if coordinates is None:
        told("texture coordinates missing", "of all faces")
        return np.zeros(len(owners), np.int64)
    numbers = np.zeros(len(owners))
    if name := _one(face.values, _NUMBER):
        numbers = np.where(owners >= 0, face.values[name][owners], 0.0)
    with np.errstate(invalid="ignore"):
        inside = (numbers >= 0) & (numbers < pictures)
    mapped = (coordinates >= 0).all(axis=1)
    if not (mapped & inside).all():
        told("texture coordinates missing", f"of {int((~(mapped & inside)).sum())} faces")
    return np.where(mapped & inside, np.where(inside, numbers, 0.0) + 1, 0).astype(np.int64)


def _colored(
    elements: dict[str, Element], vertex: Rows, face: Rows, piece: Piece, owners: NDArray[np.int32], told: Told
) -> dict[str, Any]:
    """The looks of faces without a picture: their vertices' colours, or else their own."""
    of = owners[piece.triangles]
    colors = _light(elements["vertex"], vertex, told)
    if colors is not None:
        colors = colors[piece.positions]
        return {"color": (255, 255, 255), "vertex_colors": colors, "alpha": see_through(colors)}
    if (of >= 0).all() and (colors := _light(elements["face"], face, told)) is not None:
        if see_through(colors) != "opaque":
            told("colours dropped", "the opacity of single faces")
        return {"face_colors": levels(colors)[of]}
    _tell_unread(elements["vertex"], vertex, told)
    if "face" in elements:
        _tell_unread(elements["face"], face, told)
    return {}


def _tell_unread(element: Element, rows: Rows, told: Told) -> None:
    """Tells what of an element that has no colours may be some all the same."""
    for name in (p.name for p in element.properties if _COLORLIKE.search(p.name)):
        if not (_BRIGHTNESS.search(name) and name in rows.values and np.ptp(rows.values[name]) == 0):
            told("colours dropped", f"the property {shown(name.encode())} of {element.name}")


def _brightness(element: Element) -> list[str]:
    return [p.name for p in element.properties if _BRIGHTNESS.search(p.name)]


def _light(element: Element, rows: Rows, told: Told) -> NDArray[np.float32] | None:
    """(N, 4) colours of an element's rows in linear light, and opacity; None if it has none."""
    names = _first(rows.values, _COLORS)
    if not names or not rows.count:
        return None
    types = {p.name: p.type for p in element.properties}
    found = light(np.stack([rows.values[name] for name in names], axis=1), _FULL.get(types[names[0]], LEVELS))
    opacity = _one(rows.values, _OPACITY)
    if opacity and not rows.values[opacity].any():  # whoever writes that means nothing by it
        told("colours dropped", f"an opacity of 0 everywhere, as {opacity}")
    elif opacity:
        found[:, 3] = fractions(rows.values[opacity], _FULL.get(types[opacity], LEVELS))
    return found


def _list(rows: Rows, names: Sequence[str]) -> Lists | None:
    return next((rows.lists[name] for name in names if name in rows.lists), None)


def _one(values: Any, names: Sequence[str]) -> str | None:
    return next((name for name in names if name in values), None)


def _first(values: Any, groups: Sequence[Sequence[str]]) -> Sequence[str]:
    """The first of several groups of names that are all there; empty if none is."""
    return next((names for names in groups if all(name in values for name in names)), ())
