"""What the child process of an `IsolatedReader` does: reads the files of an object and makes a mesh of them."""

from __future__ import annotations

from collections.abc import Callable

from captionless.errors import Retryable, SpecError
from captionless.precompute.formats import file_type
from captionless.precompute.meshfile import compile_reader, read_object
from captionless.precompute.object_files import FileSeen, MeshFile, broken_by
from captionless.precompute.sources.base import Loaded
from captionless.spec.data import ReadingLimits

Note = tuple[tuple[FileSeen, ...], int]

_compiled: set[str] = set()


def prepare(mesh: MeshFile, limits: ReadingLimits) -> None:
    """Compiles the reader of the object's format, which may take longer than an object may: numba compiles what is
    called for the first time, and keeps it in its cache."""
    kind = file_type(mesh.url)
    if kind is not None and kind not in _compiled:
        _compiled.add(kind)
        compile_reader(kind)


def read(note: Callable[[Note], None], mesh: MeshFile, limits: ReadingLimits) -> tuple[Loaded, int]:
    """The object, and the bytes that were read for it.

    `note` gets each of the files once it is read, and the bytes of all so far. BrokenObject for whatever is wrong with
    the object; Retryable or SpecError for what is wrong with the storage or the spec.
    """
    files = mesh.open()
    try:
        found = read_object(files, mesh.up, lambda: note((tuple(files.seen[-1:]), files.size)), limits)
    except (Retryable, SpecError, MemoryError):
        raise
    except Exception as error:
        raise broken_by(error, files.seen) from error
    return Loaded(mesh=found.mesh, files=tuple(files.seen), losses=found.losses, beyond=files.beyond), files.size
