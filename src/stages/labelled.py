"""The clouds of any source's objects, in the form in which packed ones are stored, without packing them.

What measures or trains on labelled objects alone (zero-shot classification of clouds, classifiers) needs no views and
no run: it reads the source, normalises each cloud and puts it in farthest-point order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.precompute.sources import ObjectRef, Source
from captionless.progress import Progress
from captionless.spec import DataSpec
from captionless.stages import broken

_AT_ONCE = 256

Cloud = NDArray[np.float16]
"""(P, 6): see `precompute.pointcloud.cloud`."""


class LabelledClouds:
    """The clouds of a source's objects, each with at least `count` points; `wants` says who asks for so many.

    Broken objects are left out and noted in `skipped`, `key` and `reason`. When the last has been read, DataError if
    they are more than `data.maxSkipped`, or if no object is whole.
    """

    def __init__(self, data: DataSpec, source: Source, refs: Sequence[ObjectRef], count: int, wants: str) -> None:
        self.skipped: list[dict[str, str]] = []
        self._data, self._source, self._refs, self._count, self._wants = data, source, refs, count, wants

    def __iter__(self) -> Iterator[tuple[ObjectRef, Cloud]]:
        with Progress("clouds", len(self._refs)) as progress:
            for ref in self._refs:
                try:
                    cloud = self._cloud(ref)
                except DataError as error:
                    self.skipped.append({"key": ref.key, "reason": str(error)})
                else:
                    yield ref, cloud
                progress.advance()
        broken.refuse(self.skipped, self._data.max_skipped)
        if len(self.skipped) == len(self._refs):
            raise DataError(f"data.source: none of its {len(self._refs)} objects here is whole")

    def blocks(self) -> Iterator[tuple[list[ObjectRef], NDArray[np.float16]]]:
        """Some hundred objects at a time with the first `count` points of each, (n, count, 6)."""
        refs: list[ObjectRef] = []
        clouds: list[Cloud] = []
        for ref, cloud in self:
            refs.append(ref)
            clouds.append(cloud[: self._count])
            if len(refs) == _AT_ONCE:
                yield refs, np.stack(clouds)
                refs, clouds = [], []
        if refs:
            yield refs, np.stack(clouds)

    def _cloud(self, ref: ObjectRef) -> Cloud:
        from captionless.precompute.pointcloud import cloud, ordered  # compiled: only where there is work

        loaded = self._source.load(ref)
        if loaded.points is None:
            assert loaded.mesh is not None
            return cloud(loaded.mesh, max(self._count, self._data.points), ref.key)
        if len(loaded.points) < self._count:
            raise DataError(f"has {len(loaded.points)} points, {self._wants} wants {self._count}")
        xyz = loaded.points[:, :3]
        return ordered(xyz, np.zeros((len(xyz), 3), np.uint8))


def of_split(refs: Sequence[ObjectRef], split: str) -> list[ObjectRef]:
    """Those of the split "train" or "test", or of "all"; DataError when there are none."""
    found = [r for r in refs if split in ("all", r.split)]
    if not found:
        raise DataError(f"data.source: no objects in its {split} split; try --split all")
    return found
