"""The files that are read: furniture in every format, and one large mesh in each. trimesh writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image

from captionless.precompute.meshfile import load_mesh

_LEVELS = 7  # each divides the triangles of an icosahedron into four: 327,680 in the end
_TEXELS = 256


@dataclass(frozen=True)
class Format:
    """looks: whether its files keep materials. options: of trimesh's exporter."""

    suffix: str
    looks: bool = False
    options: Mapping[str, str] = field(default_factory=dict)


FORMATS = {
    "OBJ with materials": Format("obj", looks=True),
    "PLY, binary": Format("ply"),
    "PLY, text": Format("ply", options={"encoding": "ascii"}),
    "STL, binary": Format("stl"),
    "STL, text": Format("stl", options={"file_type": "stl_ascii"}),
    "OFF": Format("off"),
    "GLB": Format("glb", looks=True),
    "glTF": Format("gltf", looks=True),
}


def converted(path: Path, name: str, folder: Path) -> Path:
    """An OBJ file in another format, with its polygons in triangles and its looks if they can be kept."""
    if FORMATS[name].suffix == "obj":
        return path
    if FORMATS[name].looks:
        return _written(trimesh.load(path, process=False, force="scene"), name, folder)
    mesh = load_mesh(str(path), "y")
    starts = np.cumsum([0, *(len(part.vertices) for part in mesh.parts)])
    faces = np.concatenate([part.faces + start for part, start in zip(mesh.parts, starts, strict=False)])
    return _written(trimesh.Trimesh(mesh.vertices, faces, process=False), name, folder)


def large(name: str, folder: Path) -> Path:
    """A bumpy sphere whose coordinates have all their digits, with a texture where it can be kept."""
    ball = trimesh.creation.icosphere(_LEVELS)
    rng = np.random.default_rng(0)
    ball.vertices *= 1.0 + 0.02 * rng.random((len(ball.vertices), 1))
    if FORMATS[name].looks:
        picture = Image.fromarray(rng.integers(0, 255, (_TEXELS, _TEXELS, 3), np.uint8))
        ball.visual = trimesh.visual.TextureVisuals(uv=_around(np.asarray(ball.vertices)), image=picture)
    return _written(ball, name, folder)


def _around(vertices: NDArray[np.float64]) -> NDArray[np.float64]:
    """(V, 2) texture coordinates: longitude and latitude."""
    x, y, z = (vertices / np.linalg.norm(vertices, axis=1, keepdims=True)).T
    return np.column_stack([np.arctan2(y, x) / (2 * np.pi) + 0.5, np.arcsin(z) / np.pi + 0.5])


def _written(mesh: trimesh.Trimesh | trimesh.Scene, name: str, folder: Path) -> Path:
    folder.mkdir(parents=True)
    kind = FORMATS[name]
    path = folder / f"mesh.{kind.suffix}"
    if kind.suffix in ("glb", "gltf") and isinstance(mesh, trimesh.Trimesh):
        mesh = trimesh.Scene(mesh)
    mesh.export(path, **kind.options)
    return path
