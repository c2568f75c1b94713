"""Where views are seen from and by which light: what renderers have in common.

Every object is centred on its bounding box and scaled so that the sphere about it fills the frame, whatever its units;
then it turns in front of a fixed camera and fixed lights. Seen from the object (y up, front towards +z), the camera of
view r stands at azimuth 360 r / R degrees: azimuth 0 looks at the +z side, azimuth 90 at the +x side. Since poses are
the same for all objects, views of two objects correspond by their number (docs/method.md, eq. 2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FIELD_OF_VIEW = 20.0
"""Degrees: some perspective, little distortion."""

DISTANCE = 1.02 / math.sin(math.radians(FIELD_OF_VIEW / 2))
"""Of the camera from the centre of the unit sphere, which it sees with a small margin."""

AMBIENT, DIFFUSE, SPECULAR, SHININESS = 0.45, 0.65, 0.06, 12.0
"""The look of every surface, after Phong."""


@dataclass(frozen=True)
class Light:
    """A distant light. `towards`: direction to it in camera axes (right, up, back to the viewer), any length."""

    towards: tuple[float, float, float]
    intensity: float


STUDIO: tuple[Light, ...] = (
    Light((-0.6, 0.9, 0.9), 0.75),  # key
    Light((0.9, 0.1, 0.6), 0.25),  # fill
    Light((0.0, 0.0, 1.0), 0.25),  # head: no face that the camera sees is left dark
)


def axes(azimuth: float, elevation: float) -> NDArray[np.float64]:
    """The camera's right, up and backward directions, rows of (3, 3), for angles in degrees; defined at the poles."""
    a, e = math.radians(azimuth), math.radians(elevation)
    backward = (math.sin(a) * math.cos(e), math.sin(e), math.cos(a) * math.cos(e))
    up = (-math.sin(a) * math.sin(e), math.cos(e), -math.cos(a) * math.sin(e))  # its derivative by the elevation
    return np.array([np.cross(up, backward), up, backward])
