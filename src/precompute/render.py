"""Views of a mesh: a turntable in front of one camera, by a rasteriser of our own: no OpenGL, and no GPU.

What is nearest at every sample is found first (`rasterizer`), and only that is shaded (`sample_shading`): OpenGL in
software shades every sample of every triangle that was not yet hidden when it came, and takes two to three times as
long. Lighting is two-sided and nothing is culled, since winding cannot be trusted in real meshes; normals may break at
creases and colours at faces (`shading`). Edges are anti-aliased by samples: a pixel's alpha is the covered part of
them (2 x 2, unless told otherwise) and its colour the mean of the covered ones alone, so that a view can be put on any
background.

Pictures depend on the mesh alone, to the byte: not on the machine, nor on the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from captionless.mesh import Mesh, MeshPart
from captionless.precompute import rasterizer, sample_shading
from captionless.precompute.camera import STUDIO, Light, axes
from captionless.precompute.shading import corner_normals
from captionless.precompute.surface import bounds, face_colors, triangles
from captionless.precompute.textures import Atlas, atlas

_TURNS = 1e5  # how often a texture may repeat over a face


class Renderer:
    """Renders meshes to RGBA views of `size` x `size` pixels, with as many threads as numba may use.

    `views` equally spaced azimuths, seen from `elevation` degrees above the horizon, with
    `supersampling` samples per pixel along each axis.
    """

    def __init__(self, views: int = 30, size: int = 224, elevation: float = 20.0, supersampling: int = 2) -> None:
        self.views = views
        self.size = size
        self.elevation = elevation
        self._width = supersampling * size
        self._threads: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]

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
        shots = [
            _Shot(axes(azimuth, elevation), rig)
            for azimuth, elevation, rig in zip(azimuths, elevations, rigs, strict=True)
        ]
        views = np.empty((len(shots), self.size, self.size, 4), np.uint8)
        scene = _scene(mesh)
        share = max(1, min(self._threads, len(shots)))
        with ThreadPoolExecutor(share) as pool:
            for done in [pool.submit(self._take, scene, shots[i::share], views[i::share]) for i in range(share)]:
                done.result()
        return views

    def _take(self, scene: _Scene, shots: Sequence[_Shot], views: NDArray[np.uint8]) -> None:
        """Fill `views` with one shot after another."""
        place = np.empty((len(scene.vertices), 2), np.int32)
        inverse = np.empty(len(scene.vertices), np.float32)
        nearest = np.empty((self._width, self._width), np.float32)
        owner = np.empty((self._width, self._width), np.int32)
        for view, shot in zip(views, shots, strict=True):
            rasterizer.project(scene.vertices, shot.camera, self._width, place, inverse)
            rasterizer.cover(scene.faces, place, inverse, nearest, owner)
            sample_shading.shade(
                owner, scene.faces, place, inverse, scene.normals, scene.colors, scene.texture, scene.uv,
                scene.atlas.texels, scene.atlas.levels, shot.camera.astype(np.float32), shot.lamps, view,
            )  # fmt: skip


@dataclass(frozen=True)
class _Shot:
    """A view to be taken: the camera's axes, and the lights about it."""

    camera: NDArray[np.float64]
    rig: Sequence[Light]

    @property
    def lamps(self) -> NDArray[np.float32]:
        """(L, 4): directions towards the lights in the object's axes, of length 1, and their intensities."""
        towards = np.array([light.towards for light in self.rig]).reshape(-1, 3)
        towards = towards / np.linalg.norm(towards, axis=1, keepdims=True)
        return np.column_stack([towards @ self.camera, [light.intensity for light in self.rig]]).astype(np.float32)


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
    numbers, pictures = _textures(parts)
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    faces = np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=False)])
    of_face = np.repeat(numbers, [len(part.faces) for part in parts])
    # Plain parts come last: where two faces are equally near, the later is seen, which for a texture would be a guess.
    order = np.argsort(of_face < 0, kind="stable")
    return _Scene(
        vertices=np.concatenate([_in_sphere(part.vertices, centre, radius) for part in parts]),
        faces=faces[order].astype(np.int32),
        normals=corner_normals(corners)[order],
        colors=np.concatenate([face_colors(part) for part in parts])[order],
        texture=of_face[order].astype(np.int32),
        uv=np.concatenate([_places(part) for part in parts])[order],
        atlas=atlas(pictures),
    )


def _textures(parts: Sequence[MeshPart]) -> tuple[list[int], list[NDArray[np.uint8]]]:
    """Each part's texture as a number, -1 if it has none, and the pictures by number; parts may share one."""
    pictures: dict[int, NDArray[np.uint8]] = {}
    numbers: dict[int, int] = {}
    found = []
    for part in parts:
        if part.texture is None or part.uv is None:
            found.append(-1)
        else:
            found.append(numbers.setdefault(id(part.texture), len(numbers)))
            pictures[id(part.texture)] = part.texture
    return found, list(pictures.values())


def _in_sphere(vertices: NDArray[np.float32], centre: NDArray[np.float64], radius: float) -> NDArray[np.float32]:
    """A part's vertices in the unit sphere. One that no face uses may lie anywhere, and is seen by nobody."""
    moved = (vertices.astype(np.float64) - centre) / radius
    return np.clip(np.nan_to_num(moved), -1.0, 1.0).astype(np.float32)


def _places(part: MeshPart) -> NDArray[np.float32]:
    """(F, 3, 2) where a part's corners are on its texture, which repeats: moved by whole turns for each face, to where
    they are exact."""
    if part.texture is None or part.uv is None:
        return np.zeros((len(part.faces), 3, 2), np.float32)
    uv = np.nan_to_num(part.uv[part.faces].astype(np.float64), posinf=0.0, neginf=0.0)
    near_zero: NDArray[np.float64] = np.minimum(uv - np.floor(uv.min(axis=1, keepdims=True)), _TURNS)
    return near_zero.astype(np.float32)
