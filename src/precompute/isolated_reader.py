"""Reading objects in a child process, so that whatever is wrong with one is that object's failure.

Meshes in the wild make libraries crash, loop, recurse and ask for all memory. The files of an object are read, parsed
and converted in an `ExpendableProcess`; only the finished arrays come back. If the process dies, the object is read
once more in a new one, since what killed it may be what an earlier object left behind; if that dies too, the object is
broken. Failures of the storage are no object's: they are raised as they are.
"""

from __future__ import annotations

import contextlib
from typing import Self

from captionless.errors import CaptionlessError, Retryable, SpecError
from captionless.precompute import losses
from captionless.precompute.object_files import BrokenObject, MeshFile, broken_by
from captionless.precompute.sources.base import Loaded, Loader, MeshLoader, ObjectRef
from captionless.runtime import memory
from captionless.runtime.expendable_process import Ended, ExpendableProcess, Limits
from captionless.runtime.redaction import redacted
from captionless.spec.data import ReadingLimits
from captionless.spec.quantities import whole_bytes
from captionless.telemetry import catalog, registry

_PATIENCE = 1800.0
"""Seconds beside; a storage that does not answer gives up long before."""


class IsolatedReader:
    """Loads the objects of a source, mesh files in a child process that is started when it is first needed.

    limits: of one object. strict: the losses that make an object broken.
    """

    def __init__(
        self,
        source: Loader,
        limits: ReadingLimits = ReadingLimits(),
        strict: losses.Strict = "none",
    ) -> None:
        self._source, self._limits, self._strict = source, limits, strict
        most = min(whole_bytes(limits.memory), memory.available() // 2)
        self._process = ExpendableProcess(
            "captionless.precompute.mesh_worker:read", Limits(most, limits.seconds, _PATIENCE + limits.seconds)
        )
        self._begun: MeshFile | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the child."""
        self._process.close()

    def ahead(self, ref: ObjectRef) -> None:
        """Begins to read the object that will be loaded next, while the caller is busy with another."""
        if self._begun is None and isinstance(self._source, MeshLoader):
            self._begin(self._source.mesh_file(ref))

    def load(self, ref: ObjectRef) -> Loaded:
        """The object. BrokenObject, with the reason and the files that were read, when it cannot be read, whatever the
        reason; Retryable or SpecError when the storage or the spec is at fault."""
        if not isinstance(self._source, MeshLoader):
            return _load(self._source, ref)
        loaded = self._load_mesh(self._source.mesh_file(ref))
        if reason := losses.refused(loaded.losses, self._strict):
            raise BrokenObject(redacted(reason), loaded.files)
        return loaded

    def _load_mesh(self, mesh: MeshFile) -> Loaded:
        if self._begun is not None and self._begun != mesh:
            with contextlib.suppress(Ended, CaptionlessError):  # nobody asks for it any more
                self._result()
        while True:
            if self._begun is None:
                self._begin(mesh)
            first = self._process.is_fresh
            try:
                return self._result()
            except Ended as ended:
                if first or not ended.by_itself:
                    seen = [file for files, _ in ended.notes for file in files]
                    raise BrokenObject(f"{ended} while reading", seen) from None

    def _begin(self, mesh: MeshFile) -> None:
        self._begun = mesh
        self._process.begin(mesh, self._limits)

    def _result(self) -> Loaded:
        self._begun = None
        loaded: Loaded
        loaded, size = self._process.result()
        registry.add(catalog.STAGE_READ_BYTES, size)
        return loaded


def _load(source: Loader, ref: ObjectRef) -> Loaded:
    """An object without a mesh file, in this process."""
    try:
        return source.load(ref)
    except (Retryable, SpecError):
        raise
    except Exception as error:
        raise broken_by(error) from error
