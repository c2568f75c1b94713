"""Mesh files -> `Mesh`: OBJ, PLY, STL, OFF, GLB and glTF from any fsspec URL, each by its format's reader (`meshes`).

What a file is, its content says, and where that says nothing its name. Lights, cameras, animation and all maps but
those of base colour, opacity and emission are not read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from captionless.errors import CaptionlessError, DataError, one_line
from captionless.mesh import Mesh, Up
from captionless.precompute.file_kinds import mesh_kind
from captionless.precompute.formats import axis_of, format_of
from captionless.precompute.meshes import gltf, obj, off, ply, stl
from captionless.precompute.meshes.reading import Reader, Reading
from captionless.precompute.meshes.tetrahedra import tetrahedra
from captionless.precompute.object_files import ObjectFiles
from captionless.precompute.references import references
from captionless.precompute.surface import check
from captionless.precompute.visibility import shown
from captionless.spec.data import ReadingLimits
from captionless.store import objects

_READERS: Mapping[str, Reader] = {
    "glb": gltf.read, "gltf": gltf.read, "obj": obj.read, "ply": ply.read, "stl": stl.read, "off": off.read,
}  # fmt: skip


def load_mesh(url: str, up: Up | None = None) -> Mesh:
    """`read_mesh` of a file that the user names: it may refer to files anywhere."""
    return read_mesh(ObjectFiles(url), up)


def read_mesh(files: ObjectFiles, up: Up | None = None) -> Mesh:
    """The mesh of `read_object`."""
    return read_object(files, up).mesh


def read_object(
    files: ObjectFiles,
    up: Up | None = None,
    opened: Callable[[], None] = lambda: None,
    limits: ReadingLimits = ReadingLimits(),
) -> Reading:
    """The mesh in an object's files, turned to y-up, and what it lacks.

    `up` is the file's own up axis; None takes the format's convention. `opened` is called whenever one of the files has
    been read. DataError, whatever is wrong: there is no up axis, or a file is missing, not to be read, of another
    format, damaged, beyond the `limits`, without faces or area that can be seen, or its coordinates are not finite.
    """
    files.watch(opened, limits.bytes)
    data = files.own()
    kind = mesh_kind(files.url, data)
    axis = axis_of(kind, up)
    try:
        reading = _READERS[kind](data, files, limits)
    except (CaptionlessError, MemoryError):
        raise
    except Exception as error:  # a reader that stumbles costs the object that it stumbled over, and nothing else
        raise DataError(f"cannot read the {kind.upper()} file: {type(error).__name__}: {one_line(error)}") from error
    _check(reading.mesh, limits)
    return Reading(reading.mesh.y_up(axis), reading.losses)


def compile_reader(kind: str) -> None:
    """Reads a tetrahedron of a format: numba compiles what is called for the first time, and keeps it in its cache."""
    limits = ReadingLimits()
    _check(_READERS[kind](tetrahedra()[kind], ObjectFiles(f"tetrahedron.{kind}"), limits).mesh, limits)


def digest(files: ObjectFiles) -> str:
    """sha256 (hex) of a mesh file and of those of its files that `references` finds: what earlier releases recorded.

    DataError when it is missing. The messages of these errors are part of stored fingerprints
    (`stages.broken.content`): keep their wording.
    """
    kind = format_of(files.url)
    data = files.own()
    named = references(files, kind, data)
    contents = sorted((name, hashlib.sha256(b).hexdigest() if b is not None else "") for name, b in named.items())
    return objects.digest(hashlib.sha256(data).hexdigest(), contents)


def _check(mesh: Mesh, limits: ReadingLimits) -> None:
    """DataError for a mesh that nobody can see, or that is too large."""
    if mesh.face_count > limits.faces:
        raise DataError(f"has {mesh.face_count} faces; at most {limits.faces} are read: simplify the mesh")
    vertices = sum(len(part.vertices) for part in mesh.parts)
    if vertices > limits.vertices:
        raise DataError(f"has {vertices} vertices; at most {limits.vertices} are read: simplify the mesh")
    check(shown(mesh))
