"""Several runs' figures on the same resampled test objects: the basis of intervals of means and differences."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Generic, TypeVar

from captionless.eval import bootstrap
from captionless.eval.bootstrap import Floats
from captionless.eval.outcomes import Outcomes, Path, answers

Key = TypeVar("Key", bound=Hashable)


class Resampled(Generic[Key]):
    """The figures at `paths` of `runs`, all evaluated on the same objects, in every resample of these objects.

    A path is left out if its figure is not a mean over objects, or if a run has no ranks for it.
    """

    def __init__(self, runs: Mapping[Key, Outcomes], paths: Iterable[Path], seed: int) -> None:
        found = {(key, path): answers(run, path) for path in paths for key, run in runs.items()}
        known = {place: one for place, one in found.items() if one is not None}
        self._column = {place: column for column, place in enumerate(known)}
        labels = next(run.labels for run in runs.values())
        self._figures = bootstrap.figures(list(known.values()), labels, seed)

    def mean(self, keys: Iterable[Key], path: Path) -> Floats | None:
        """The mean over some runs of the figure at `path`, in every resample: (resamples,)."""
        columns = [self._column.get((key, path)) for key in keys]
        total, count = None, 0
        for column in columns:
            if column is None:
                return None
            total = self._figures[:, column] if total is None else total + self._figures[:, column]
            count += 1
        return None if total is None else total / count
