"""Mesh files -> `Mesh`: OBJ, PLY, STL, OFF, GLB and GLTF from any fsspec URL, read by trimesh.

Kept is what a view shows: geometry with the scene's transforms applied, base colour
textures, material colours, vertex colours (as the mean of a face's corners). Lights,
cameras, animation and every other map are not. glTF colours that are not pictures are
linear by its specification and become sRGB here, as those of all other formats are.
"""

from __future__ import annotations

import hashlib
import io
import logging
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image
from trimesh.visual.color import ColorVisuals
from trimesh.visual.material import PBRMaterial
from trimesh.visual.texture import TextureVisuals

from captionless.errors import CaptionlessError, DataError
from captionless.mesh import Mesh, MeshPart, Up
from captionless.precompute.formats import axis_of, format_of
from captionless.precompute.object_files import ObjectFiles
from captionless.precompute.references import references
from captionless.precompute.surface import areas, triangles
from captionless.store import objects

MAX_FACES = 5_000_000
MAX_TEXTURE = 1024  # a view shows no more of a texture, and a larger one costs its upload

_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tga", ".tif", ".tiff", ".gif", ".webp")

# trimesh's complaints about a file become errors of our own.
logging.getLogger("trimesh").setLevel(logging.CRITICAL + 1)


def load_mesh(url: str, up: Up | None = None) -> Mesh:
    """`read_mesh` of a file that the user names: it may refer to files anywhere."""
    return read_mesh(ObjectFiles(url), up)


def read_mesh(files: ObjectFiles, up: Up | None = None, parsing: Callable[[], None] = lambda: None) -> Mesh:
    """The mesh in an object's files, turned to y-up.

    `up` is the file's own up axis; None takes the format's convention. `parsing` is called when all files have been
    read. DataError when there is no up axis, or a file is missing, not to be read, of another format, damaged, without
    faces or area, of more than `MAX_FACES` faces, or has coordinates that are not finite.
    """
    kind = format_of(files.url)
    axis = axis_of(kind, up)
    data = files.own()
    named = references(files, kind, data)
    parsing()
    mesh = _parse(kind, data, named)
    areas(triangles(mesh))
    return mesh.y_up(axis)


def digest(files: ObjectFiles) -> str:
    """sha256 (hex) of a mesh file and of the files it refers to. DataError when it is missing.

    The messages of these errors are part of stored fingerprints (`stages.broken.content`): keep their wording.
    """
    kind = format_of(files.url)
    data = files.own()
    named = references(files, kind, data)
    contents = sorted((name, hashlib.sha256(b).hexdigest() if b is not None else "") for name, b in named.items())
    return objects.digest(hashlib.sha256(data).hexdigest(), contents)


class _Named(trimesh.resolvers.Resolver):
    """Gives trimesh the files that were read for it, and nothing else."""

    def __init__(self, files: dict[str, bytes | None]):
        self._files = files

    def get(self, key: str) -> bytes:
        content = self._files.get(key.strip())
        if content is None:
            raise FileNotFoundError(key)
        return content

    def keys(self) -> list[str]:
        return [name for name, content in self._files.items() if content is not None]

    def write(self, name: str, data: bytes) -> None:
        raise NotImplementedError("meshes are only read")

    def namespaced(self, namespace: str) -> _Named:
        raise NotImplementedError("names are as the file writes them")


def _parse(kind: str, data: bytes, named: dict[str, bytes | None]) -> Mesh:
    if not data:
        raise DataError(f"the {kind.upper()} file is empty")
    for name, content in named.items():
        if content is not None and name.lower().endswith(_PICTURES):
            _open_picture(name, content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scene = trimesh.load_scene(io.BytesIO(data), file_type=kind, resolver=_Named(named), process=False)
            return _convert(scene, linear=kind in ("glb", "gltf"))
    except (CaptionlessError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise DataError(f"the {kind.upper()} file refers to {error}, which does not exist") from error
    except Exception as error:  # trimesh raises, and hands over, whatever a damaged file makes it stumble over
        reason = " ".join(str(error).split())[:160] or "its content is damaged"
        raise DataError(f"cannot read the {kind.upper()} file: {type(error).__name__}: {reason}") from error


def _open_picture(name: str, content: bytes) -> None:
    """DataError for a file that is not a picture: trimesh would silently drop the texture."""
    try:
        Image.open(io.BytesIO(content)).close()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"cannot read the texture {name} as a picture") from error


def _convert(scene: trimesh.Scene, linear: bool) -> Mesh:
    placed = [scene.graph[node] for node in scene.graph.nodes_geometry]
    shown = [(m, scene.geometry[g]) for m, g in placed if isinstance(scene.geometry[g], trimesh.Trimesh)]
    faces = sum(len(g.faces) for _, g in shown)
    if faces > MAX_FACES:
        raise DataError(f"has {faces} faces; at most {MAX_FACES} are supported: simplify the mesh")
    return Mesh(tuple(_part(g, matrix, linear) for matrix, g in shown if len(g.faces)))


def _part(geometry: trimesh.Trimesh, matrix: NDArray[np.float64], linear: bool) -> MeshPart:
    with np.errstate(invalid="ignore"):  # `triangles` reports what is not finite
        vertices = np.asarray(geometry.vertices, np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
    faces = np.asarray(geometry.faces, np.int32)
    look: dict[str, Any] = {}
    visual = geometry.visual
    if isinstance(visual, TextureVisuals):
        color, picture = _material(visual.material, linear)
        look["color"] = color
        uv = visual.uv
        if picture is not None and uv is not None and len(uv) == len(vertices):
            tint = color if isinstance(visual.material, PBRMaterial) else (255, 255, 255)
            look["uv"] = np.nan_to_num(np.asarray(uv, np.float32))
            look["texture"] = _texture(picture, tint)
    elif isinstance(visual, ColorVisuals) and visual.kind == "face":
        look["face_colors"] = np.ascontiguousarray(visual.face_colors[:, :3])
    elif isinstance(visual, ColorVisuals) and visual.kind == "vertex":
        colors = np.asarray(visual.vertex_colors)[:, :3]
        mean = np.asarray(_srgb(colors) if linear else colors, np.float64)[faces].mean(axis=1)
        look["face_colors"] = np.rint(mean).astype(np.uint8)
    return MeshPart(vertices.astype(np.float32), faces, **look)


def _material(material: Any, linear: bool) -> tuple[tuple[int, int, int], Image.Image | None]:
    """A material's colour and picture. glTF multiplies the two; MTL's colour only counts without a picture."""
    if isinstance(material, PBRMaterial):
        factor = material.baseColorFactor
        rgb = np.full(3, 255) if factor is None else np.asarray(factor)[:3]
        picture = material.baseColorTexture
        if linear:
            rgb = _srgb(rgb)
    else:
        rgb, picture = np.asarray(material.diffuse)[:3], getattr(material, "image", None)
    red, green, blue = (int(c) for c in rgb)
    return (red, green, blue), picture


def _srgb(linear: NDArray[Any]) -> NDArray[np.uint8]:
    """0..255 of linear light -> 0..255 of sRGB (IEC 61966-2-1)."""
    x = np.asarray(linear, np.float64) / 255
    encoded = np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.power(x, 1 / 2.4) - 0.055)
    levels: NDArray[np.uint8] = np.rint(np.clip(encoded, 0, 1) * 255).astype(np.uint8)
    return levels


def _texture(picture: Image.Image, tint: tuple[int, int, int]) -> NDArray[np.uint8]:
    try:
        rgb = picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"a texture is truncated or damaged: {error}") from error
    shrink = -(-max(rgb.size) // MAX_TEXTURE)
    texels: NDArray[np.uint8] = np.asarray(rgb.reduce(shrink) if shrink > 1 else rgb)
    if tint == (255, 255, 255):
        return texels
    tinted: NDArray[np.uint8] = ((texels.astype(np.uint16) * np.array(tint, np.uint16) + 127) // 255).astype(np.uint8)
    return tinted
