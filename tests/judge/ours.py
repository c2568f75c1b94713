"""The views that captionless takes of an object's files, in plain colours: every surface without light, one sample a
pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from captionless.mesh import Mesh
from captionless.precompute.meshfile import read_object
from captionless.precompute.object_files import ObjectFiles, Scope
from captionless.precompute.render import Renderer

Angles = Sequence[tuple[float, float]]
"""Azimuth and elevation of each view, in degrees."""


def read(files: Mapping[str, bytes], folder: Path) -> Mesh:
    """The mesh of files that are written to a folder, the first of which is the object's own; its axes are left as they
    are. DataError when it cannot be read."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return read_object(ObjectFiles(str(folder / next(iter(files))), Scope((str(folder),))), up="y").mesh


def views(mesh: Mesh, angles: Angles, size: int) -> NDArray[np.uint8]:
    """(k, size, size, 4) RGBA, straight alpha."""
    plain = Mesh(tuple(replace(part, unlit=True) for part in mesh.parts))
    azimuths, elevations = zip(*angles, strict=True)
    return Renderer(size=size, supersampling=1).render_at(plain, azimuths, elevations)
