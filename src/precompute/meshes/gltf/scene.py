"""What of a glTF file is drawn, and where: the nodes of its scene, with their transforms.

Matrices are 4 x 4 float64 and multiply columns: a node's place in the world is its parent's times its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.precompute.meshes.gltf.accessors import Accessors
from captionless.precompute.meshes.gltf.document import Document, Entry

Matrix = NDArray[np.float64]
_IDENTITY = np.eye(4)
_INSTANCING = "EXT_mesh_gpu_instancing"


@dataclass(frozen=True)
class Placed:
    """A node with a mesh. matrices: (N, 4, 4), the mesh's place in the world, or its places if there are instances."""

    node: Entry
    mesh: int
    matrices: Matrix

    @property
    def has_colors(self) -> bool:
        """Whether each instance has a colour of its own, as three.js writes them."""
        extension = self.node.extension(_INSTANCING)
        attributes = extension.entry("attributes") if extension is not None else None
        return attributes is not None and attributes.has("_COLOR_0")


class Scene:
    """The nodes of a document: each has at most one parent, and none is above itself."""

    def __init__(self, document: Document, accessors: Accessors, depth: int, instances: int) -> None:
        """depth: most levels of nodes below nodes. instances: most of all nodes together."""
        self._document = document
        self._accessors = accessors
        self._depth = depth
        self._most = instances
        self._instanced = 0
        self._worlds: dict[int, Matrix] = {}
        self._parents: list[int] | None = None

    def placed(self) -> Iterator[Placed]:
        """The nodes with meshes of the scene that the file wants shown, in the order of the file, those that
        KHR_node_visibility hides left out. A file without scenes shows all of its nodes; one without nodes its
        meshes."""
        if not self._document.count("nodes"):
            for number in range(self._document.count("meshes")):
                yield Placed(Entry({}, f"meshes[{number}]"), number, _IDENTITY[None])
            return
        seen: set[int] = set()
        stack = [(root, _IDENTITY, 0, place) for root, place in reversed(self._roots())]
        while stack:
            index, above, depth, by = stack.pop()
            node = self._document.get("nodes", index, by)
            if index in seen:
                raise DataError(f"{node.at}: is below itself, or twice in the scene")
            if depth > self._depth:
                raise DataError(f"{node.at}: more than {self._depth} levels of nodes")
            seen.add(index)
            visibility = node.extension("KHR_node_visibility")
            if visibility is not None and not visibility.flag("visible", True):
                continue
            world = above @ local_matrix(node)
            if (mesh := node.index("mesh")) is not None:
                yield Placed(node, mesh, self._instances(node, world))
            below = node.place("children")
            stack += [(child, world, depth + 1, below) for child in reversed(node.indices("children"))]

    def world(self, index: int, by: str) -> Matrix:
        """A node's place in the world, whether or not it is part of the scene."""
        path: list[int] = []
        at = index
        while at >= 0 and at not in self._worlds:
            if len(path) > self._depth:
                raise DataError(f"nodes[{index}]: more than {self._depth} levels of nodes, or below itself")
            path.append(at)
            self._document.get("nodes", at, by)
            at = self._parent(at)
        found = self._worlds[at] if at >= 0 else _IDENTITY
        for below in reversed(path):
            found = found @ local_matrix(self._document.get("nodes", below, by))
            self._worlds[below] = found
        return found

    def _parent(self, index: int) -> int:
        if self._parents is None:
            self._parents = [-1] * self._document.count("nodes")
            for parent, node in enumerate(self._document.root.entries("nodes")):
                for child in node.indices("children"):
                    if child < len(self._parents):
                        self._parents[child] = parent
        return self._parents[index]

    def _roots(self) -> list[tuple[int, str]]:
        if self._document.count("scenes"):
            scene = self._document.get("scenes", self._document.root.whole("scene", 0), "scene")
            at = scene.place("nodes")
            return [(index, at) for index in dict.fromkeys(scene.indices("nodes"))]
        named: set[int] = set()  # by other nodes: as below them, or as themselves in less detail
        for node in self._document.root.entries("nodes"):
            levels = node.extension("MSFT_lod")
            named.update(node.indices("children"), levels.indices("ids") if levels is not None else ())
        return [(i, "nodes") for i in range(self._document.count("nodes")) if i not in named]

    def _instances(self, node: Entry, world: Matrix) -> Matrix:
        """(N, 4, 4): one, or those of EXT_mesh_gpu_instancing."""
        extension = node.extension(_INSTANCING)
        attributes = extension.entry("attributes") if extension is not None else None
        if attributes is None:
            return world[None]
        counts = {n: self._accessors.count(attributes.whole(n), attributes.place(n)) for n in attributes.names()}
        if len(set(counts.values())) > 1:
            raise DataError(f"{attributes.at}: instances of different numbers: {counts}")
        count = next(iter(counts.values()), 1)
        self._instanced += count
        if self._instanced > self._most:
            raise DataError(f"{attributes.at}: {self._instanced} instances so far; at most {self._most} are read")
        moved = self._rows(attributes, "TRANSLATION", "VEC3")
        turned = self._rows(attributes, "ROTATION", "VEC4")
        scaled = self._rows(attributes, "SCALE", "VEC3")
        found = np.tile(_IDENTITY, (count, 1, 1))
        if turned is not None:
            found[:, :3, :3] = _rotations(turned)
        if scaled is not None:
            found[:, :3, :3] *= scaled[:, None, :]
        if moved is not None:
            found[:, :3, 3] = moved
        with np.errstate(invalid="ignore"):  # places that are not finite: `surface` refuses them
            return np.asarray(world @ found)

    def _rows(self, attributes: Entry, name: str, kind: str) -> NDArray[np.float64] | None:
        index = attributes.index(name)
        if index is None:
            return None
        return self._accessors.values(index, attributes.place(name), (kind,)).numbers()


def local_matrix(node: Entry) -> Matrix:
    """A node's own transform: its matrix (stored by columns), or translation, rotation (x, y, z, w) and scale."""
    if node.has("matrix"):
        return node.vector("matrix", (0.0,) * 16).reshape(4, 4).T
    found = np.eye(4)
    if node.has("rotation"):
        found[:3, :3] = _rotations(node.vector("rotation", (0.0, 0.0, 0.0, 1.0))[None])[0]
    found[:3, :3] *= node.vector("scale", (1.0, 1.0, 1.0))
    found[:3, 3] = node.vector("translation", (0.0, 0.0, 0.0))
    return found


def _rotations(quaternions: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 3, 3) of (N, 4) quaternions x, y, z, w, brought to length 1 first; those of length 0 turn nothing."""
    length = np.linalg.norm(quaternions, axis=1, keepdims=True)
    x, y, z, w = (quaternions / np.where(length > 0, length, 1)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), 2, 0)
