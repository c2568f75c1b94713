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
    values, asked = (
        np.array([getattr(answers[i], name) for i in plain], dtype=np.float64).reshape(len(plain), n)
        for name in ("values", "asked")
    )
    uneven = np.flatnonzero(asked.min(axis=1) < asked.max(axis=1))
    unit = np.array([answers[i].unit for i in plain], dtype=np.float64)
    order = np.argsort(labels, kind="stable")
    begins = np.flatnonzero(np.diff(labels[order], prepend=-1))
    start = 0
    for block in counts(n, seed, resamples):
        part = slice(start, start + len(block))
        total = np.repeat(n * asked[:, 0][None], len(block), axis=0)
        total[:, uneven] = block @ asked[uneven].T
        found[part, plain] = _quotient(block @ values.T, total) / unit
        ordered = block[:, order] if len(plain) < len(answers) else block
        for i, one in enumerate(answers):
            if one.by_class:
                found[part, i] = _class_mean(ordered, one.values[order], one.asked[order], begins) / one.unit
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


def _class_mean(ordered: Ints, values: Ints, asked: Ints, begins: Ints) -> Floats:
    """Mean over the classes drawn of what their drawn objects reach; objects in the order of classes, (b, n)."""
    sums, sizes = (np.add.reduceat(ordered * each, begins, axis=1) for each in (values, asked))
    total = np.zeros(len(ordered))
    for column in _quotient(sums, sizes).T:  # class after class: the same order everywhere
        total += column
    return _quotient(total, np.count_nonzero(sizes, axis=1))


def _quotient(sums: NDArray[Any], sizes: NDArray[Any]) -> Floats:
    """0 where there is nothing to divide by."""
    found: Floats = np.divide(sums, sizes, out=np.zeros(sums.shape), where=sizes > 0)
    return found
