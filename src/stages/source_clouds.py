"""Clouds read directly from a source, in the format of packed ones, without packing.

Evaluation and training on labels alone (zero-shot classification of clouds, classifiers) need neither views nor a run:
they read the source, normalise each cloud and put it in farthest-point order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from captionless.errors import CaptionlessError, DataError
from captionless.precompute import losses
from captionless.precompute.isolated_reader import IsolatedReader
from captionless.precompute.object_files import broken_by
from captionless.precompute.sources import Loaded, Loader, ObjectRef
from captionless.spec.data import ReadingLimits
from captionless.stages import broken
from captionless.telemetry.progress import Progress, say

_AT_ONCE = 256

Cloud = NDArray[np.float16]
"""(P, 6): see `precompute.pointcloud.cloud`."""


class SourceClouds:
    """The clouds of a source's objects, each with at least `count` points; `wants` names what requires them.

    Meshes are sampled with `points` points, or `count` if that is more. Broken objects are skipped and listed in
    `skipped` by `key` and `reason`; `strict` says which losses make one broken,
    `reading` how much reading one may take. After the last object: DataError if
    more than `limit` are broken, or all are; and a line on what the others lack.
    """

    def __init__(
        self,
        source: Loader,
        refs: Sequence[ObjectRef],
        count: int,
        wants: str,
        points: int,
        limit: int | broken.Limit,
        strict: losses.Strict = "none",
        reading: ReadingLimits = ReadingLimits(),
    ) -> None:
        self.skipped: list[dict[str, str]] = []
        self._lossy, self._lost, self._strict = 0, Counter[str](), strict
        self._reading = reading
        self._source, self._refs, self._count, self._wants = source, refs, count, wants
        self._points, self._limit = max(points, count), limit

    def __iter__(self) -> Iterator[tuple[ObjectRef, Cloud]]:
        return self._clouds(None)

    def blocks(self) -> Iterator[tuple[list[ObjectRef], NDArray[np.float16]]]:
        """Batches of a few hundred objects, with the first `count` points of each: (n, count, 6)."""
        refs: list[ObjectRef] = []
        clouds: list[Cloud] = []
        for ref, cloud in self._clouds(self._count):
            refs.append(ref)
            clouds.append(cloud)
            if len(refs) == _AT_ONCE:
                yield refs, np.stack(clouds)
                refs, clouds = [], []
        if refs:
            yield refs, np.stack(clouds)

    def _clouds(self, first: int | None) -> Iterator[tuple[ObjectRef, Cloud]]:
        """Each object with the `first` points of its cloud, all of them by default."""
        with (
            Progress("clouds", len(self._refs)) as progress,
            IsolatedReader(self._source, self._reading, self._strict) as reader,
        ):
            for ref, after in zip_longest(self._refs, self._refs[1:]):
                try:
                    cloud = self._cloud(reader, ref, after, first)
                except DataError as error:
                    self.skipped.append({"key": ref.key, "reason": str(error)})
                else:
                    yield ref, cloud
                progress.advance()
        broken.refuse(self.skipped, self._limit, len(self._refs))
        if len(self.skipped) == len(self._refs):
            raise DataError(f"the data: all {len(self._refs)} objects are broken")
        if self._lossy:
            say(f"{self._lossy:,} objects lack something that their files have: {losses.summary(self._lost)}")

    def _cloud(self, reader: IsolatedReader, ref: ObjectRef, after: ObjectRef | None, first: int | None) -> Cloud:
        loaded = reader.load(ref)
        self._lossy += bool(loaded.losses)
        self._lost += losses.by_kind([loaded.losses])
        if after is not None:
            reader.ahead(after)
        try:
            return stored_cloud(loaded, ref.key, self._count, self._points, self._wants, first)
        except CaptionlessError:
            raise
        except Exception as error:  # whatever it is about this object: it costs no other
            raise broken_by(error) from error


def stored_cloud(loaded: Loaded, key: str, count: int, sampled: int, wants: str, first: int | None = None) -> Cloud:
    """The first points, all by default, of a loaded object's cloud in the form of packed ones; a mesh is `sampled`.

    key: seeds the sampling of a mesh. wants: who requires at least `count` points. DataError when there are fewer.
    """
    from captionless.precompute.pointcloud import cloud, ordered  # compiled: only where there is work

    if loaded.points is None:
        assert loaded.mesh is not None
        return cloud(loaded.mesh, sampled, key, first)
    if len(loaded.points) < count:
        raise DataError(f"has {len(loaded.points)} points, but {wants} requires {count}")
    xyz = loaded.points[:, :3]
    return ordered(xyz, np.zeros((len(xyz), 3), np.uint8), first)


def of_split(refs: Sequence[ObjectRef], split: str) -> list[ObjectRef]:
    """The objects of the split "train" or "test", or "all"; DataError if there are none."""
    found = [r for r in refs if split in ("all", r.split)]
    if not found:
        raise DataError(f"data.source: the {split} split is empty; try --split all")
    return found
