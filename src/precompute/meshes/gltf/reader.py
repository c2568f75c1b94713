"""glTF 2.0 and GLB -> `Mesh`, by the specification, with nothing between the file's bytes and numpy but this package.

Every primitive of every node that the file's scene shows is a part of its own, in the coordinates of the world, y-up,
float64. What of the file is not in the mesh is told as losses; cameras, lights, animations, normals and all maps but
those of base colour and emission are none, since nothing draws them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from captionless.mesh import Glow, Mesh, MeshPart, Picture
from captionless.precompute.meshes.gltf import extensions
from captionless.precompute.meshes.gltf.accessors import Accessors
from captionless.precompute.meshes.gltf.buffers import Buffers
from captionless.precompute.meshes.gltf.container import open_document
from captionless.precompute.meshes.gltf.document import Entry
from captionless.precompute.meshes.gltf.materials import Material, Materials
from captionless.precompute.meshes.gltf.primitives import Attributes, Budget, Primitive, read_primitive
from captionless.precompute.meshes.gltf.scene import Matrix, Placed, Scene
from captionless.precompute.meshes.gltf.skins import Skins, skinned
from captionless.precompute.meshes.gltf.textures import Texture, Textures
from captionless.precompute.meshes.reading import Loss, Reading
from captionless.precompute.object_files import ObjectFiles
from captionless.spec.data import ReadingLimits

_MOST_TOLD = 100  # losses of a kind
_WHITE, _GREY = (255, 255, 255), (178, 178, 178)


def read(data: bytes, files: ObjectFiles, limits: ReadingLimits) -> Reading:
    """The mesh of a glTF file. `files` opens the buffers and pictures beside it. DataError, in one line, for whatever
    is wrong with it."""
    return _Reader(data, files, limits).reading()


@dataclass(frozen=True)
class _Looks:
    """What is the same for a primitive wherever it stands."""

    primitive: Primitive
    positions: NDArray[np.float64]
    part: MeshPart


class _Reader:
    def __init__(self, data: bytes, files: ObjectFiles, limits: ReadingLimits) -> None:
        self._document = open_document(data)
        self._losses: dict[Loss, None] = dict.fromkeys(extensions.check(self._document.root))
        self._buffers = Buffers(self._document, files, limits)
        longest = max(limits.vertices, 3 * limits.faces)
        self._accessors = Accessors(self._document, self._buffers, longest)
        self._materials = Materials(self._document, Textures(self._document, self._buffers, limits))
        self._scene = Scene(self._document, self._accessors, limits.depth, limits.faces)
        self._skins = Skins(self._document, self._accessors, self._scene)
        self._budget = Budget(limits)
        self._told: Counter[str] = Counter()
        self._looks: dict[tuple[int, tuple[float, ...]], list[_Looks]] = {}

    def reading(self) -> Reading:
        parts = [part for placed in self._scene.placed() for part in self._placed(placed) if len(part.faces)]
        return Reading(Mesh(tuple(parts)), tuple(self._losses))

    def _lost(self, kind: str, detail: str) -> None:
        self._told[kind] += 1
        self._losses[Loss(kind, detail if self._told[kind] <= _MOST_TOLD else "and more")] = None

    def _placed(self, placed: Placed) -> Iterator[MeshPart]:
        mesh = self._document.get("meshes", placed.mesh, placed.node.at)
        weights = placed.node.numbers("weights")
        if weights is None:
            weights = mesh.numbers("weights", None)
        if placed.has_colors:
            self._lost("colours dropped", f"{placed.node.at}: those of single instances")
        key = (placed.mesh, tuple(weights) if weights is not None else ())
        first = key not in self._looks
        if first:
            self._looks[key] = [found for one in mesh.entries("primitives") if (found := self._read(one, key[1]))]
        for looks in self._looks[key]:
            if not first:
                self._budget.take(len(looks.part.faces), len(looks.positions))
            yield self._at(looks, placed)

    def _read(self, entry: Entry, weights: Sequence[float]) -> _Looks | None:
        primitive = read_primitive(entry, self._accessors, self._buffers, self._budget)
        if primitive.dropped:
            kind = "points or lines not drawn" if primitive.without_faces else "faces dropped"
            self._lost(kind, f"{entry.at}: {primitive.dropped}")
        attributes = primitive.attributes
        if not len(primitive.faces):
            return None
        positions = attributes.numbers("POSITION", ("VEC3",), weights)
        assert positions is not None  # `read_primitive` counts them
        material = self._materials.material(entry.index("material"), entry.place("material"))
        for loss in material.losses:
            self._lost(loss.kind, loss.detail)
        part = self._dressed(entry, primitive, positions, material, weights)
        return _Looks(primitive, positions, part)

    def _dressed(
        self,
        entry: Entry,
        primitive: Primitive,
        positions: NDArray[np.float64],
        material: Material,
        weights: Sequence[float],
    ) -> MeshPart:
        attributes = primitive.attributes
        uv, picture = self._textured(entry, attributes, material.texture, weights)
        color = _WHITE if material.texture is None or picture is not None else _GREY
        glow = None
        if max(material.glow) > 0:
            glow_uv, glow_picture = self._textured(entry, attributes, material.glow_texture, weights)
            if material.glow_texture is None or glow_picture is not None:
                glow = Glow(material.glow, glow_uv, glow_picture)
            elif material.is_black:  # what only glows, and has lost its glow, would be
                material = replace(material, factor=(1.0, 1.0, 1.0, material.factor[3]))
                color = _GREY
        return MeshPart(
            positions,
            primitive.faces,
            color=color,
            uv=uv,
            texture=picture,
            factor=material.factor,
            vertex_colors=self._colors(entry, attributes, weights),
            alpha=material.alpha,
            cutoff=material.cutoff,
            glow=glow,
            unlit=material.unlit,
        )

    def _textured(
        self, entry: Entry, attributes: Attributes, texture: Texture | None, weights: Sequence[float]
    ) -> tuple[NDArray[np.float64] | None, Picture | None]:
        """The picture and its coordinates, both or neither."""
        if texture is None:
            return None, None
        if texture.picture is None:
            self._lost("texture missing", texture.name)
            return None, None
        name = f"TEXCOORD_{texture.coordinates}"
        stored = attributes.numbers(name, ("VEC2",), weights)
        if stored is None:
            self._lost("texture coordinates missing", f"{entry.at}: {name}")
            return None, None
        uv = texture.uv(stored)
        if not np.isfinite(uv).all():
            self._lost("texture coordinates missing", f"{entry.at}: {name} is not finite everywhere")
            uv = np.where(np.isfinite(uv), uv, 0)
        return uv, texture.picture

    def _colors(self, entry: Entry, attributes: Attributes, weights: Sequence[float]) -> NDArray[np.float32] | None:
        """(V, 4) of COLOR_0, which alone the specification gives a meaning."""
        stored = attributes.numbers("COLOR_0", ("VEC3", "VEC4"), weights)
        if stored is None:
            return None
        if not np.isfinite(stored).all():
            self._lost("colours dropped", f"{entry.at}: COLOR_0 is not finite everywhere")
            stored = np.where(np.isfinite(stored), stored, 1)
        found = np.ones((len(stored), 4), np.float32)
        found[:, : stored.shape[1]] = np.clip(stored, 0, 1)
        return found

    def _at(self, looks: _Looks, placed: Placed) -> MeshPart:
        """The part in the world."""
        joints = self._skins.joints(placed.node)
        if joints is not None:
            moved = skinned(looks.positions, looks.primitive.attributes, joints)
            if moved is not None:
                return _replaced(looks.part, moved, looks.part.faces)
            self._lost("skin not applied", f"{placed.node.at}: its vertices name no joints")
        return self._repeated(looks.part, placed.matrices)

    def _repeated(self, part: MeshPart, matrices: Matrix) -> MeshPart:
        """The part at each of some places, as one."""
        count, vertices = len(matrices), len(part.vertices)
        more = max(count - 1, 0)
        self._budget.take(len(part.faces) * more, vertices * more)
        moved = _moved(part.vertices, np.ascontiguousarray(matrices[:, :3]))
        if count == 1:
            return _replaced(part, moved, part.faces)
        faces = (part.faces + (np.arange(count, dtype=np.int32) * vertices)[:, None, None]).reshape(-1, 3)
        return _replaced(part, moved, faces, count)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _moved(vertices: NDArray[np.float64], matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vertices (V, 3) at each of M places (M, 3, 4), (M * V, 3); not finite where one of both is not."""
    count = len(vertices)
    found = np.empty((len(matrices) * count, 3))
    for place in range(len(matrices)):
        m = matrices[place]
        for i in range(count):
            x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
            for axis in range(3):
                found[place * count + i, axis] = m[axis, 0] * x + m[axis, 1] * y + m[axis, 2] * z + m[axis, 3]
    return found


def _replaced(part: MeshPart, vertices: NDArray[np.float64], faces: NDArray[np.int32], times: int = 1) -> MeshPart:
    """The part with other vertices and faces, what belongs to its vertices repeated some times."""

    def tiled(values: NDArray[Any] | None) -> NDArray[Any] | None:
        return values if values is None or times == 1 else np.tile(values, (times, 1))

    glow = part.glow and replace(part.glow, uv=tiled(part.glow.uv))
    return replace(
        part, vertices=vertices, faces=faces, uv=tiled(part.uv), vertex_colors=tiled(part.vertex_colors), glow=glow
    )
