"""Views of a mesh: a turntable in front of one camera, by a rasteriser of our own: no OpenGL, and no GPU.

What is nearest at every sample is found first (`rasterizer`), and only that is shaded (`sample_shading`): OpenGL in
software shades every sample of every triangle that was not yet hidden when it came, and takes two to three times as
long. Lighting is two-sided and nothing is culled, since winding cannot be trusted in real meshes; normals may break at
creases and colours at faces (`shading`). What is cut out and what is seen through is decided at every sample
(`translucency`). Edges are anti-aliased by samples: a pixel's alpha is the covered part of them (2 x 2, unless told
otherwise) and its colour the mean of the covered ones alone, so that a view can be put on any background.

Pictures depend on the mesh alone, to the byte: not on the machine, nor on the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from captionless.mesh import Mesh, MeshPart, Picture
from captionless.precompute import rasterizer, sample_shading, translucency
from captionless.precompute.camera import STUDIO, Light, axes
from captionless.precompute.materials import ALPHA, TEXTURE, materials
from captionless.precompute.sample_shading import Surfaces
from captionless.precompute.shading import corner_normals
from captionless.precompute.surface import bounds, face_colors, triangles
from captionless.precompute.visibility import shown

_TURNS = 1e5  # how often a texture may repeat over a face
_TURN = {"repeat": 1.0, "mirror": 2.0, "clamp": 0.0}  # after how much of a side it is the same again
_WHOLE = np.zeros((0, 0), np.int32)  # no weights: all is seen whole


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
        sums = np.empty((self.size * self.size, 4), np.int32)
        layers = translucency.Layers(self._width) if scene.opaque < len(scene.faces) else None
        for view, shot in zip(views, shots, strict=True):
            rasterizer.project(scene.vertices, shot.camera, self._width, place, inverse)
            rasterizer.cover(scene.faces[: scene.opaque], place, inverse, nearest, owner)
            seen = [(owner, _WHOLE)]
            if layers is not None:
                seen = layers.fill(scene.faces, scene.opaque, place, inverse, scene.surfaces, nearest, owner)
            sums[:] = 0
            for faces, weight in seen:
                sample_shading.shade(
                    faces, weight, scene.faces, place, inverse, scene.surfaces,
                    shot.camera.astype(np.float32), shot.lamps, self.size, sums,
                )  # fmt: skip
            sample_shading.resolve(sums, (self._width // self.size) ** 2, view)


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
    """The mesh in the unit sphere, as the kernels take it: the first `opaque` of the faces are opaque."""

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    opaque: int
    surfaces: Surfaces


def _scene(mesh: Mesh) -> _Scene:
    mesh = shown(mesh)
    corners = triangles(mesh)
    centre, radius = bounds(corners)
    corners = (corners - centre) / radius
    parts = [part for part in mesh.parts if len(part.faces)]
    table = materials(parts)
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    faces = np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=False)])
    of_face = np.repeat(np.arange(len(parts), dtype=np.int32), [len(part.faces) for part in parts])
    # Opaque faces come first, then masks, then what is blended. Among each, plain ones come last: where two faces are
    # equally near, the later is seen, which for a texture would be a guess.
    rank, is_plain = table.kinds[of_face, ALPHA], table.kinds[of_face, TEXTURE] < 0
    order = np.lexsort((is_plain, rank))
    has_colors = any(part.vertex_colors is not None for part in parts)
    has_glow = any(part.glow is not None and part.glow.picture is not None for part in parts)
    return _Scene(
        vertices=np.concatenate([_in_sphere(part.vertices, centre, radius) for part in parts]),
        faces=faces[order].astype(np.int32),
        opaque=int((rank == 0).sum()),
        surfaces=Surfaces(
            normals=corner_normals(corners)[order],
            colors=np.concatenate([face_colors(part) for part in parts])[order],
            material=of_face[order],
            uv=np.concatenate([_places(part.faces, part.uv, part.texture) for part in parts])[order],
            vertex_colors=np.concatenate([_corner_colors(part) for part in parts])[order]
            if has_colors
            else np.zeros((0, 3, 4), np.float32),
            glow_uv=np.concatenate([_glow_places(part) for part in parts])[order]
            if has_glow
            else np.zeros((0, 3, 2), np.float32),
            table=table,
        ),
    )


def _in_sphere(vertices: NDArray[np.float64], centre: NDArray[np.float64], radius: float) -> NDArray[np.float32]:
    """A part's vertices in the unit sphere. One that no face uses may lie anywhere, and is seen by nobody."""
    with np.errstate(invalid="ignore"):
        moved = (vertices - centre) / radius
    return np.clip(np.nan_to_num(moved), -1.0, 1.0).astype(np.float32)


def _corner_colors(part: MeshPart) -> NDArray[np.float32]:
    """(F, 3, 4) the vertex colours of a part's corners, in linear light."""
    if part.vertex_colors is None:
        return np.ones((len(part.faces), 3, 4), np.float32)
    return part.vertex_colors[part.faces].astype(np.float32)


def _glow_places(part: MeshPart) -> NDArray[np.float32]:
    glow = part.glow
    return _places(part.faces, glow.uv if glow else None, glow.picture if glow else None)


def _places(faces: NDArray[np.int32], uv: NDArray[np.float64] | None, picture: Picture | None) -> NDArray[np.float32]:
    """(F, 3, 2) where faces' corners are on a texture: where it repeats, moved by whole turns for each face, to where
    they are exact."""
    if uv is None or picture is None:
        return np.zeros((len(faces), 3, 2), np.float32)
    corners = np.nan_to_num(uv[faces].astype(np.float64), posinf=0.0, neginf=0.0)
    turn = np.array([_TURN[wrap] for wrap in picture.wrap])
    whole = np.where(turn > 0, turn * np.floor(corners.min(axis=1, keepdims=True) / np.maximum(turn, 1.0)), 0.0)
    near_zero: NDArray[np.float64] = np.clip(corners - whole, -_TURNS, _TURNS)
    return near_zero.astype(np.float32)
