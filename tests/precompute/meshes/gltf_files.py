"""glTF files of every feature in every encoding, each with what it shows by the specification, written beside it by
hand: triangles, and the colours in their middles."""

from __future__ import annotations

from tests.precompute.meshes.gltf_damage import damaged, extensions
from tests.precompute.meshes.gltf_looks import colors, materials, transforms, wraps
from tests.precompute.meshes.gltf_places import morphs, nodes, skins
from tests.precompute.meshes.gltf_shapes import Case
from tests.precompute.meshes.gltf_storage import compressed, containers, coordinates, faces, pictures, positions

GROUPS = (
    containers, faces, positions, coordinates, transforms, wraps, colors, materials, pictures, nodes, morphs, skins,
    compressed, extensions, damaged,
)  # fmt: skip


def cases() -> dict[str, Case]:
    """All of them by name."""
    found: dict[str, Case] = {}
    for group in GROUPS:
        for name, case in group():
            assert name not in found, name
            found[name] = case
    return found
