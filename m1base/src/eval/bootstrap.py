"""Percentile bootstrap intervals over test objects, single and paired.

A figure is uncertain in two ways, which are reported separately everywhere: the training seed (`std` over runs) and the
choice of test objects, which the intervals here measure, for the given trained encoders.

The resampling unit is the object: a resample draws n of n objects with replacement, and everything measured on an
object (all its views, in all runs that are averaged) goes with it. In retrieval the objects are the queries; the
gallery is fixed, since a resampled one would contain copies of the right answer. Resampling is not stratified by class:
class frequencies were sampled as well, and a class of one object would seem to have no variance. For a test set built
with equal classes this makes the intervals slightly wider, never too narrow.

Percentiles, not BCa: every figure is a mean of bounded numbers over hundreds of objects, where both agree within one
object, except next to 0 or 1, where percentiles are too narrow by a few. They are also defined where all objects agree
(a zero-width interval: resampling knows nothing that no object showed), and single figures and differences use the same
resamples. There are 9,999 of these, so that both bounds of a 95 % interval are resampled figures themselves, the 250th
from either end.

Results are the same on every machine: draws are the raw output of Philox, which numpy guarantees to be stable, and sums
are of integers, exact in any order (below 2^53, also as float64, where a matrix product computes them).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.eval.outcomes import Answers, Ints

RESAMPLES = 9999
LEVEL = 0.95
_DRAWS = 1 << 21  # at a time: 16 MiB
Floats = NDArray[np.float64]


def described(seed: int) -> dict[str, Any]:
    """What an interval is, in plain JSON for the provenance."""
    return {
        "method": "percentile bootstrap",
        "unit": "test object",
        "level": LEVEL,
        "resamples": RESAMPLES,
        "seed": seed,
    }


def counts(objects: int, seed: int, resamples: int = RESAMPLES) -> Iterator[Ints]:
    """How often each object was drawn: blocks of (b, objects) whole numbers, `resamples` rows in all.

    They depend on `objects` and `seed` alone, so everything measured on one test set gets the same resamples.
    """
    key = hashlib.sha256(f"bootstrap:{seed}:{objects}".encode()).digest()[:16]
    generator = np.random.Philox(key=int.from_bytes(key))
    rows = max(1, _DRAWS // objects)
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        raw = generator.random_raw((count, objects)) >> np.uint64(32)
        drawn = (raw * np.uint64(objects) >> np.uint64(32)).astype(np.int64)
        drawn += objects * np.arange(count)[:, None]
        yield np.bincount(drawn.ravel(), minlength=count * objects).reshape(count, objects)


def figures(answers: Sequence[Answers], labels: Ints, seed: int, resamples: int = RESAMPLES) -> Floats:
    """The figures of `answers`, all on the n objects of `labels` (n,), in every resample: (resamples, len(answers)).

    If none of a resample's objects was a query, which happens only with very few objects, the figure is 0.
    """
    n, found = len(labels), np.empty((resamples, len(answers)))
    for one in answers:
        if len(one.values) != n:
            raise DataError(f"bootstrap: expected answers for {n} objects, found {len(one.values)}")
        if int(one.values.max(initial=0)) * n >= 1 << 53:
            raise DataError(f"bootstrap: {n} objects with this many answers each cannot be summed exactly")
    plain = [i for i, one in enumerate(answers) if not one.by_class]
    values = np.array([answers[i].values for i in plain], dtype=np.float64).reshape(len(plain), n)
    even = np.array([float(answers[i].asked[0]) for i in plain])
    uneven = [place for place, i in enumerate(plain) if answers[i].asked.min() < answers[i].asked.max()]
    asked = np.array([answers[plain[place]].asked for place in uneven], dtype=np.float64).reshape(len(uneven), n)
    unit = np.array([answers[i].unit for i in plain], dtype=np.float64)
    order = np.argsort(labels, kind="stable")
    begins = np.flatnonzero(np.diff(labels[order], prepend=-1))
    start = 0
    for block in counts(n, seed, resamples):
        part, drawn = slice(start, start + len(block)), block.astype(np.float64)
        total = np.repeat(n * even[None], len(block), axis=0)
        total[:, uneven] = drawn @ asked.T
        found[part, plain] = _quotient(drawn @ values.T, total) / unit
        if len(plain) < len(answers):
            _class_means(found[part], answers, block[:, order], order, begins)
        start += len(block)
    return found


def interval(resampled: Floats) -> tuple[Floats, Floats]:
    """The lower and the upper bound at `LEVEL` of figures (resamples, ...)."""
    outside = round((len(resampled) + 1) * (1 - LEVEL) / 2)
    if outside < 1:
        raise DataError(f"bootstrap: too few resamples for an interval: {len(resampled)}")
    ranked = np.sort(resampled, axis=0)
    return ranked[outside - 1], ranked[-outside]


def p_value(differences: Floats) -> float:
    """Two-sided, of resampled differences (resamples,): twice the share on the rarer side of 0, 0 counted on both.

    Below 0.05 where the 95 % interval leaves out 0; never below 2 / (resamples + 1).
    """
    rounded = np.round(differences, 12)  # sums of several runs: what is equal may differ in its last bit
    rarer = min(np.count_nonzero(rounded <= 0), np.count_nonzero(rounded >= 0))
    return min(1.0, 2 * (int(rarer) + 1) / (len(differences) + 1))


def _class_means(into: Floats, answers: Sequence[Answers], ordered: Ints, order: Ints, begins: Ints) -> None:
    """Put the figures by class in their columns of `into` (b, len(answers)): means over the classes that were drawn.

    ordered: (b, n), how often each object was drawn, class by class, which is `order`; `begins`: each class's first.
    """
    drawn = np.add.reduceat(ordered, begins, axis=1)
    for i, one in enumerate(answers):
        if one.by_class:
            values, asked = one.values[order], one.asked[order]
            sums = np.add.reduceat(ordered * values, begins, axis=1)
            even = asked.min() == asked.max()
            sizes = drawn * asked[0] if even else np.add.reduceat(ordered * asked, begins, axis=1)
            total = np.zeros(len(ordered))
            for column in _quotient(sums, sizes).T:  # class after class: the same order everywhere
                total += column
            into[:, i] = _quotient(total, np.count_nonzero(sizes, axis=1)) / one.unit


def _quotient(sums: NDArray[Any], sizes: NDArray[Any]) -> Floats:
    """0 where there is nothing to divide by."""
    found: Floats = np.divide(sums, sizes, out=np.zeros(sums.shape), where=sizes > 0)
    return found
