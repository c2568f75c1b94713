"""Views of a mesh: a turntable in front of one camera, off screen, by VTK in software or on a GPU.

One window serves all objects of a process. A mesh is uploaded as triangles of their
own corners, so that normals may break at creases and colours at faces, once for all
of its views. Lighting is two-sided and nothing is culled, since winding cannot be
trusted in real meshes. Edges are anti-aliased by rendering at a multiple of the size: a
pixel's alpha is the covered part of its samples (2 x 2, unless told otherwise) and its
colour the mean of the covered ones alone, so that a view can be put on any background.
(Multisampling by Mesa's software rasteriser takes twenty times as long.)

The window is VTK's EGL one, or OSMesa's where only that is installed: both need no
display. A `Renderer` belongs to the process and thread that made it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from vtkmodules.util import vtkConstants
from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
from vtkmodules.vtkCommonCore import vtkLogger, vtkObject, vtkPoints, vtkUnsignedCharArray
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkImageData, vtkPolyData
from vtkmodules.vtkRenderingCore import (
    vtkActor,
    vtkCamera,
    vtkLight,
    vtkPolyDataMapper,
    vtkRenderer,
    vtkRenderWindow,
    vtkTexture,
)
from vtkmodules.vtkRenderingOpenGL2 import vtkEGLRenderWindow, vtkOSOpenGLRenderWindow

from captionless.errors import SpecError
from captionless.mesh import Mesh, MeshPart
from captionless.precompute.camera import (
    AMBIENT,
    DIFFUSE,
    DISTANCE,
    FIELD_OF_VIEW,
    SHININESS,
    SPECULAR,
    STUDIO,
    Light,
    axes,
)
from captionless.precompute.shading import corner_normals
from captionless.precompute.surface import bounds, face_colors, triangles
from captionless.runtime import library_order


class Renderer:
    """Renders meshes to RGBA views of `size` x `size` pixels.

    `views` equally spaced azimuths, seen from `elevation` degrees above the horizon, with
    `supersampling` samples per pixel along each axis. SpecError, with what to install, when
    OpenGL is not available.
    """

    def __init__(self, views: int = 30, size: int = 224, elevation: float = 20.0, supersampling: int = 2) -> None:
        self.views = views
        self.size = size
        self.elevation = elevation
        self._width = supersampling * size
        self._window = _open_window(self._width)
        self._scene = vtkRenderer()
        self._scene.SetBackground(1.0, 1.0, 1.0)
        self._scene.SetBackgroundAlpha(0.0)
        self._scene.SetAutomaticLightCreation(False)
        self._window.AddRenderer(self._scene)
        self._camera = vtkCamera()
        self._camera.SetViewAngle(FIELD_OF_VIEW)
        self._camera.SetClippingRange(DISTANCE - 1.05, DISTANCE + 1.05)
        self._scene.SetActiveCamera(self._camera)
        self._rig: tuple[Light, ...] = ()
        self._pixels = vtkUnsignedCharArray()

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
        actors = _actors(mesh)
        try:
            for actor in actors:
                self._scene.AddActor(actor)
            for view, azimuth, elevation, rig in zip(views, azimuths, elevations, rigs, strict=True):
                self._aim(azimuth, elevation)
                self._illuminate(rig)
                self._window.Render()
                _resolve(self._read(), view)
        finally:
            for actor in actors:
                self._scene.RemoveActor(actor)
                actor.ReleaseGraphicsResources(self._window)
        return views

    def _aim(self, azimuth: float, elevation: float) -> None:
        _, up, backward = axes(azimuth, elevation)
        self._camera.SetPosition(*(DISTANCE * backward).tolist())
        self._camera.SetFocalPoint(0.0, 0.0, 0.0)
        self._camera.SetViewUp(*up.tolist())

    def _illuminate(self, rig: Sequence[Light]) -> None:
        if tuple(rig) == self._rig:  # new lights make VTK look through its shaders again
            return
        self._scene.RemoveAllLights()
        for light in rig:
            lamp = vtkLight()
            lamp.SetLightTypeToCameraLight()
            lamp.SetPosition(*light.towards)
            lamp.SetFocalPoint(0.0, 0.0, 0.0)
            lamp.SetIntensity(light.intensity)
            self._scene.AddLight(lamp)
        self._rig = tuple(rig)

    def _read(self) -> NDArray[np.uint8]:
        width = self._width
        self._window.GetRGBACharPixelData(0, 0, width - 1, width - 1, 0, self._pixels)  # type: ignore[call-overload]
        samples: NDArray[np.uint8] = vtk_to_numpy(self._pixels).reshape(width, width, 4)  # type: ignore[no-untyped-call]
        return samples


@numba.njit(cache=True)
def _resolve(samples: NDArray[np.uint8], view: NDArray[np.uint8]) -> None:
    """Fill (S, S, 4) `view`, top row first, from (nS, nS, 4) `samples`, bottom row first, each covered or not."""
    size = view.shape[0]
    n = samples.shape[0] // size
    for i in range(size):
        for j in range(size):
            red = green = blue = covered = 0
            for y in range(n * (size - 1 - i), n * (size - i)):
                for x in range(n * j, n * j + n):
                    if samples[y, x, 3] > 127:
                        red += samples[y, x, 0]
                        green += samples[y, x, 1]
                        blue += samples[y, x, 2]
                        covered += 1
            if covered == 0:
                view[i, j, 0], view[i, j, 1], view[i, j, 2], view[i, j, 3] = 255, 255, 255, 0
            else:
                half = covered // 2
                view[i, j, 0] = (red + half) // covered
                view[i, j, 1] = (green + half) // covered
                view[i, j, 2] = (blue + half) // covered
                view[i, j, 3] = (255 * covered + n * n // 2) // (n * n)


def _actors(mesh: Mesh) -> list[vtkActor]:
    """The mesh in the unit sphere: one actor for all plain parts, one for each textured part."""
    corners = triangles(mesh)
    centre, radius = bounds(corners)
    corners = (corners - centre) / radius
    normals = corner_normals(corners)
    plain: list[tuple[slice, MeshPart]] = []
    actors = []
    start = 0
    for part in mesh.parts:
        span = slice(start, start + len(part.faces))
        start = span.stop
        if len(part.faces) == 0:
            continue
        if part.texture is None or part.uv is None:
            plain.append((span, part))
        else:
            surface = _soup(corners[span], normals[span])
            surface.GetPointData().SetTCoords(_array(part.uv[part.faces].reshape(-1, 2).astype(np.float32)))
            actor = _actor(surface)
            actor.SetTexture(_texture(part.texture))
            actors.append(actor)
    if plain:
        surface = _soup(
            np.concatenate([corners[span] for span, _ in plain]), np.concatenate([normals[span] for span, _ in plain])
        )
        colors = np.concatenate([face_colors(part) for _, part in plain])
        surface.GetPointData().SetScalars(_array(np.repeat(colors, 3, axis=0)))
        actors.append(_actor(surface))
    return actors


def _soup(corners: NDArray[np.float64], normals: NDArray[np.float32]) -> vtkPolyData:
    points = vtkPoints()
    points.SetData(_array(corners.reshape(-1, 3).astype(np.float32)))
    cells = vtkCellArray()
    cells.SetData(3, _array(np.arange(3 * len(corners), dtype=np.int64), vtkConstants.VTK_ID_TYPE))
    surface = vtkPolyData()
    surface.SetPoints(points)
    surface.SetPolys(cells)
    surface.GetPointData().SetNormals(_array(normals.reshape(-1, 3)))
    return surface


def _array(values: NDArray[Any], kind: int | None = None) -> Any:
    return numpy_to_vtk(np.ascontiguousarray(values), deep=True, array_type=kind)  # type: ignore[no-untyped-call]


def _actor(surface: vtkPolyData) -> vtkActor:
    mapper = vtkPolyDataMapper()
    mapper.SetInputData(surface)
    mapper.StaticOn()
    actor = vtkActor()
    actor.SetMapper(mapper)
    look = actor.GetProperty()
    look.SetInterpolationToPhong()
    look.SetColor(1.0, 1.0, 1.0)
    look.SetAmbient(AMBIENT)
    look.SetDiffuse(DIFFUSE)
    look.SetSpecular(SPECULAR)
    look.SetSpecularPower(SHININESS)
    actor.ForceOpaqueOn()
    return actor


def _texture(picture: NDArray[np.uint8]) -> vtkTexture:
    height, width = picture.shape[:2]
    image = vtkImageData()
    image.SetDimensions(width, height, 1)
    image.GetPointData().SetScalars(_array(picture[::-1].reshape(-1, 3)))
    texture = vtkTexture()
    texture.SetInputData(image)
    texture.InterpolateOn()
    texture.MipmapOn()
    texture.RepeatOn()
    texture.SetMaximumAnisotropicFiltering(1.0)  # costs software rasterisers most of their time
    return texture


def _open_window(width: int) -> vtkRenderWindow:
    vtkObject.GlobalWarningDisplayOff()
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)
    library_order.load_before_mesa()
    for library, kind in _WINDOWS:
        if not _is_loadable(library):  # VTK crashes where the library of its window is missing
            continue
        window: vtkRenderWindow = kind()
        window.SetOffScreenRendering(True)
        window.SetSize(width, width)
        window.SetAlphaBitPlanes(True)
        window.SetMultiSamples(0)
        window.SetSwapBuffers(False)  # nothing shows it
        window.Initialize()
        if window.SupportsOpenGL():
            return window
    raise SpecError(
        "rendering needs OpenGL, which could not be initialised; for software rendering: "
        "apt-get install libegl1 libgl1-mesa-dri"
    )


# GPU or software; software alone.
_WINDOWS = (
    ("libEGL.so.1", vtkEGLRenderWindow),
    ("libOSMesa.so.8", vtkOSOpenGLRenderWindow),
)


def _is_loadable(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
