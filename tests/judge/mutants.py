"""Mistakes that readers make, made on purpose: the judge must find each of them."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from captionless.mesh import Mesh, MeshPart, Picture
from captionless.precompute.meshes.colour import linear, srgb
from tests.judge.objects import Files
from tests.precompute.meshes.gltf_document import glb


def _of_parts(change: Callable[[MeshPart], MeshPart], mesh: Mesh) -> Mesh:
    return Mesh(tuple(map(change, mesh.parts)))


def _flipped(part: MeshPart) -> MeshPart:
    return part if part.uv is None else replace(part, uv=np.stack([part.uv[:, 0], 1 - part.uv[:, 1]], 1))


def _without_colors(part: MeshPart) -> MeshPart:
    return replace(part, vertex_colors=None)


def _without_srgb(part: MeshPart) -> MeshPart:
    """Texels taken for linear light, and vertex colours for sRGB."""
    found = part
    if part.texture is not None:
        texels = part.texture.texels.copy()
        texels[..., :3] = np.rint(255 * srgb(texels[..., :3] / 255.0))
        found = replace(found, texture=Picture(texels, part.texture.wrap))
    if part.vertex_colors is not None:
        colors = part.vertex_colors.copy()
        colors[:, :3] = linear(colors[:, :3])
        found = replace(found, vertex_colors=colors)
    return found


MESHES: dict[str, Callable[[Mesh], Mesh]] = {
    "texture flipped": partial(_of_parts, _flipped),
    "COLOR_0 left out": partial(_of_parts, _without_colors),
    "sRGB left out": partial(_of_parts, _without_srgb),
}
"""What is done to a mesh that was read."""


def first_coordinates(files: Files) -> Files:
    """A GLB whose textures all use the first set of coordinates: what a reader sees who does not look for another."""
    (name, data), *others = files.items()
    size = struct.unpack_from("<I", data, 12)[0]
    document = json.loads(data[20 : 20 + size])
    for material in document["materials"]:
        info = material["pbrMetallicRoughness"]["baseColorTexture"]
        for entry in (info, info.get("extensions", {}).get("KHR_texture_transform", {})):
            entry.pop("texCoord", None)
    return {name: glb(document, data[28 + size :]), **dict(others)}
