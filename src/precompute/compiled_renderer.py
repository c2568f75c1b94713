"""Views of a mesh as `render` makes them, by a rasteriser of our own: no OpenGL, and any thread may do it.

The camera, the lights, the samples and what is made of them are the same; pictures differ from OpenGL's by about a
level of 255 here and there, where arithmetic or the sampling of textures does. Mesa, OpenGL in software, shades every
sample of every triangle that was not yet hidden when it came, four by four samples at least; here only what is seen is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from captionless.mesh import Mesh
from captionless.precompute import rasterizer, sample_shading
from captionless.precompute.camera import STUDIO, Light, axes
from captionless.precompute.shading import corner_normals
from captionless.precompute.surface import bounds, face_colors, triangles
from captionless.precompute.textures import Atlas, atlas

_TURNS = 1e5  # how often a texture may repeat over a face


class CompiledRenderer:
    """Renders meshes to RGBA views of `size` x `size` pixels; see `render.Renderer`."""

    def __init__(self, views: int = 30, size: int = 224, elevation: float = 20.0, supersampling: int = 2) -> None:
        self.views = views
        self.size = size
        self.elevation = elevation
        self._width = supersampling * size

    def render(self, mesh: Mesh) -> NDArray[np.uint8]:
        """(views, size, size, 4) uint8 RGBA, straight alpha; what is not covered is white with alpha 0.

        DataError when the mesh has no face, no extent or coordinates that are not finite.
        """
        azimuths = [360.0 * r / self.views for r in range(self.views)]
        return self.render_at(mesh, azimuths, [self.elevation] * self.views)

    def render_at(
        self,
        mesh: Mesh,
        azimuths: Sequence[float],
        elevations: Sequence[float],
        lights: Sequence[Sequence[Light]] | None = None,
    ) -> NDArray[np.uint8]:
        """(k, size, size, 4) views like `render`'s from k cameras of given azimuth and elevation in degrees.

        `lights`: each view's lights, k sequences, in place of `STUDIO`.
        """
        rigs = [STUDIO] * len(azimuths) if lights is None else lights
        views = np.empty((len(azimuths), self.size, self.size, 4), np.uint8)
        scene = _scene(mesh)
        place = np.empty((len(scene.vertices), 2), np.int32)
        inverse = np.empty(len(scene.vertices), np.float32)
        nearest = np.empty((self._width, self._width), np.float32)
        owner = np.empty((self._width, self._width), np.int32)
        for view, azimuth, elevation, rig in zip(views, azimuths, elevations, rigs, strict=True):
            camera = axes(azimuth, elevation)
            rasterizer.project(scene.vertices, camera, self._width, place, inverse)
            rasterizer.cover(scene.faces, place, inverse, nearest, owner)
            sample_shading.shade(
                owner, scene.faces, place, inverse, scene.normals, scene.colors, scene.texture, scene.uv,
                scene.atlas.texels, scene.atlas.levels, camera.astype(np.float32), _lamps(rig, camera), view,
            )  # fmt: skip
        return views


@dataclass(frozen=True)
class _Scene:
    """The mesh in the unit sphere, as `sample_shading.shade` takes it."""

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    normals: NDArray[np.float32]
    colors: NDArray[np.uint8]
    texture: NDArray[np.int32]
    uv: NDArray[np.float32]
    atlas: Atlas


def _scene(mesh: Mesh) -> _Scene:
    corners = triangles(mesh)
    centre, radius = bounds(corners)
    corners = (corners - centre) / radius
    parts = [part for part in mesh.parts if len(part.faces)]
    textured = [part.texture is not None and part.uv is not None for part in parts]
    pictures = [part.texture for part in parts if part.texture is not None and part.uv is not None]
    numbers = np.where(textured, np.cumsum(textured) - 1, -1)
    counts = [len(part.faces) for part in parts]
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    uv = np.zeros((len(corners), 3, 2), np.float32)
    first = 0
    for part in parts:
        if part.texture is not None and part.uv is not None:
            uv[first : first + len(part.faces)] = _near_zero(part.uv[part.faces].astype(np.float64))
        first += len(part.faces)
    # Plain parts come last, as `render` draws them: where two faces are equally near, the later is seen.
    order = np.argsort(np.repeat(numbers < 0, counts), kind="stable")
    return _Scene(
        ((np.concatenate([part.vertices for part in parts]).astype(np.float64) - centre) / radius).astype(np.float32),
        np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=False)])[order].astype(
            np.int32
        ),
        corner_normals(corners)[order],
        np.concatenate([face_colors(part) for part in parts])[order],
        np.repeat(numbers, counts)[order].astype(np.int32),
        uv[order],
        atlas(pictures),
    )


def _near_zero(uv: NDArray[np.float64]) -> NDArray[np.float64]:
    """(F, 3, 2) places on textures, which repeat, moved by whole turns for each face, to where they are exact."""
    return np.minimum(uv - np.floor(uv.min(axis=1, keepdims=True)), _TURNS)


def _lamps(rig: Sequence[Light], camera: NDArray[np.float64]) -> NDArray[np.float32]:
    """(L, 4): directions towards the lights in the object's axes, of length 1, and their intensities."""
    towards = np.array([light.towards for light in rig]).reshape(-1, 3)
    towards = towards / np.linalg.norm(towards, axis=1, keepdims=True)
    return np.column_stack([towards @ camera, [light.intensity for light in rig]]).astype(np.float32)
