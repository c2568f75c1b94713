"""Skins: vertices that follow joints, in the pose that the file's nodes have, as viewers show it before any animation.

A vertex is moved by its joints' transforms, each from the skin's own pose to the world, in shares that add up to one.
The node that wears the skin does not move it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.precompute.meshes.gltf.accessors import Accessors
from captionless.precompute.meshes.gltf.document import Document, Entry
from captionless.precompute.meshes.gltf.primitives import Attributes
from captionless.precompute.meshes.gltf.scene import Matrix, Scene

_MOST_SETS = 8  # of four joints each
_BLOCK = 1 << 16


class Skins:
    """Of one document."""

    def __init__(self, document: Document, accessors: Accessors, scene: Scene) -> None:
        self._document = document
        self._accessors = accessors
        self._scene = scene
        self._found: dict[int, Matrix] = {}

    def joints(self, node: Entry) -> Matrix | None:
        """(J, 4, 4): where the joints of a node's skin bring what they move; None if it wears none."""
        index = node.index("skin")
        if index is None:
            return None
        if index not in self._found:
            self._found[index] = self._read(self._document.get("skins", index, node.place("skin")))
        return self._found[index]

    def _read(self, skin: Entry) -> Matrix:
        at = skin.place("joints")
        worlds = [self._scene.world(joint, at) for joint in skin.indices("joints")]
        if not worlds:
            raise DataError(f"{at}: expected at least one joint")
        found = np.array(worlds)
        index = skin.index("inverseBindMatrices")
        if index is None:
            return found
        stored = self._accessors.values(index, skin.place("inverseBindMatrices"), ("MAT4",)).numbers()
        if len(stored) < len(found):
            raise DataError(f"{skin.place('inverseBindMatrices')}: {len(stored)} matrices for {len(found)} joints")
        return np.asarray(found @ stored[: len(found)].reshape(-1, 4, 4).transpose(0, 2, 1))


def skinned(positions: NDArray[np.float64], attributes: Attributes, joints: Matrix) -> NDArray[np.float64] | None:
    """(V, 3) in the world; None if the vertices do not say which joints they follow. DataError for a joint that is not
    there."""
    followed = list(_followed(attributes, len(joints)))
    if not followed:
        return None
    which = np.concatenate([names for names, _ in followed], 1)
    shares = np.concatenate([weights for _, weights in followed], 1)
    total = shares.sum(1, keepdims=True)
    shares = np.divide(shares, total, out=np.zeros_like(shares), where=total > 0)
    shares[:, 0] += total[:, 0] <= 0  # what nothing holds follows its first joint
    moved = np.zeros_like(positions)
    for start in range(0, len(positions), _BLOCK):  # a matrix for each vertex takes many times the room of the vertices
        block = slice(start, start + _BLOCK)
        for k in range(shares.shape[1]):
            matrices = joints[which[block, k]]
            placed = np.einsum("vij,vj->vi", matrices[:, :3, :3], positions[block]) + matrices[:, :3, 3]
            moved[block] += shares[block, k : k + 1] * placed
    return moved


def _followed(attributes: Attributes, count: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """(V, 4) numbers of joints, of `count`, and their weights, for each set of them."""
    for number in range(_MOST_SETS):
        names = attributes.numbers(f"JOINTS_{number}", ("VEC4",))
        weights = attributes.numbers(f"WEIGHTS_{number}", ("VEC4",))
        if names is None or weights is None:
            return
        weights = np.maximum(np.nan_to_num(weights, nan=0.0, posinf=0.0, neginf=0.0), 0)
        there = (names >= 0) & (names < count)
        if (~there & (weights > 0)).any():
            raise DataError(f"a vertex follows joint {names.max():.0f}, but the skin has {count}")
        yield np.where(there, names, 0).astype(np.int64), weights
