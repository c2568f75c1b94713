"""What the child process of an `IsolatedReader` does: reads the files of an object and makes a mesh of them."""

from __future__ import annotations

from collections.abc import Callable

from captionless.errors import Retryable, SpecError
from captionless.precompute.meshfile import read_mesh
from captionless.precompute.object_files import FileSeen, MeshFile, broken_by
from captionless.precompute.sources.base import Loaded

Note = tuple[tuple[FileSeen, ...], int]


def read(note: Callable[[Note], None], mesh: MeshFile) -> tuple[Loaded, int]:
    """The object, and the bytes that were read for it.

    `note` gets the files, and their bytes, before they are parsed. BrokenObject for whatever is wrong with the object;
    Retryable or SpecError for what is wrong with the storage or the spec.
    """
    files = mesh.open()
    try:
        found = read_mesh(files, mesh.up, lambda: note((tuple(files.seen), files.size)))
    except (Retryable, SpecError, MemoryError):
        raise
    except Exception as error:
        raise broken_by(error, files.seen) from error
    return Loaded(mesh=found, files=tuple(files.seen)), files.size
