"""The search for nearest neighbours behind hard-negative batches, beside one matrix product of its size and faiss.

All three take turns, a block of rows after the other, so that each sees the same machine.
"""

from __future__ import annotations

import time

import faiss
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.measure import most_beside, table
from captionless.trainer.hard_negatives import _COMPARED_TOGETHER as ROWS
from captionless.trainer.hard_negatives import comparing

WIDTH, K, CLASSES = 512, 31, 1156
_COLUMNS = 1 << 16
_CHECKED = 64
_IN_FULL, _SOME_ROWS, _COLUMNS_OF_SOME = 100_000, 20_000, 876_000


class _Names:
    """Keys that are needed for errors only."""

    def __getitem__(self, place: int) -> str:
        return str(place)


def embeddings(n: int) -> NDArray[np.float32]:
    """(n, D): clusters, as a trained encoder makes of classes, and some exact copies."""
    rng = np.random.default_rng(0)
    found = np.empty((n, WIDTH), np.float32)
    centres = rng.standard_normal((CLASSES, WIDTH), dtype=np.float32)
    for first in range(0, n, _COLUMNS):
        part = found[first : first + _COLUMNS]
        part[:] = rng.standard_normal(part.shape, dtype=np.float32)
        part += centres[rng.integers(CLASSES, size=len(part))]
    found[1::1000] = found[::1000][: len(found[1::1000])]
    return found


def product(rows: NDArray[np.float32], every: NDArray[np.float32], into: NDArray[np.float32]) -> None:
    """One product of that size, a few columns at a time into the same memory."""
    for first in range(0, len(every), into.shape[1]):
        part = every[first : first + into.shape[1]]
        np.matmul(rows, part.T, out=into[: len(rows), : len(part)])


def wrong(every: NDArray[np.float32], places: NDArray[np.int64], found: NDArray[np.int32]) -> int:
    """How many of some rows' neighbours are not those of a full sort in float64, by their cosines."""
    own = every[places].astype(np.float64)
    cosines = np.concatenate(
        [_unit(own) @ _unit(every[first : first + _COLUMNS].astype(np.float64)).T
         for first in range(0, len(every), _COLUMNS)], axis=1,
    )  # fmt: skip
    cosines[np.arange(len(places)), places] = -np.inf
    best = -np.sort(-cosines, axis=1)[:, : found.shape[1]]
    return int((np.abs(np.take_along_axis(cosines, found.astype(np.int64), 1) - best) > 1e-14).sum())


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def row(count: int, columns: int) -> list[str]:
    """What the search of the first `count` of so many objects takes."""
    every = embeddings(columns)
    units = faiss.IndexFlatIP(WIDTH)
    unit = every / np.linalg.norm(every, axis=1, keepdims=True)
    units.add(unit)
    del unit
    compare = comparing(every, K, _Names())  # type: ignore[arg-type]
    into = np.empty((ROWS, 1024), np.float32)
    compare(np.arange(8)), product(every[:8], every, into)  # compiles, and starts the threads
    seconds = dict.fromkeys(("product", "ours", "faiss"), 0.0)
    off, checked = 0, 0
    for start in range(0, count, ROWS):
        places = np.arange(start, min(start + ROWS, count))
        rows = every[places]
        began = time.perf_counter()
        product(rows, every, into)
        product_done = time.perf_counter()
        found = compare(places)
        ours_done = time.perf_counter()
        units.search(rows, K + 1)
        seconds["product"] += product_done - began
        seconds["ours"] += ours_done - product_done
        seconds["faiss"] += time.perf_counter() - ours_done
        some = places[:: max(1, len(places) * (count // ROWS + 1) // _CHECKED)]
        off += wrong(every, some, found[some - start])
        checked += len(some)
    beside = most_beside(lambda: compare(np.arange(ROWS)))
    times = [f"{seconds[name]:.0f} s" for name in ("product", "ours", "faiss")]
    ratios = [f"{seconds[name] / seconds['product']:.2f}" for name in ("ours", "faiss")]
    return [f"{count:,} of {columns:,}", *times, *ratios, f"{beside / 1e6:.0f} MB", f"{off} of {checked * K:,}"]


def search_table(full: int = _IN_FULL, some: int = _SOME_ROWS, columns: int = _COLUMNS_OF_SOME) -> str:
    """A table of a search in full, and of a part of a large one."""
    torch.set_num_threads(2)
    faiss.omp_set_num_threads(2)
    rows = [row(full, full), row(some, columns)]
    head = ["objects, among", "one product", "ours", "faiss IndexFlatIP", "ours over the product", "faiss over it",
            "memory", "wrong"]  # fmt: skip
    seconds = float(rows[1][2].split()[0])
    return (
        f"The {K} nearest by cosine, width {WIDTH}, 2 threads, {ROWS:,} objects at a time; the product is numpy's, in "
        "float32, into the same memory. Memory: beside the embeddings, of a block. Wrong: of neighbours of some rows, "
        "those with another cosine than a full sort in float64 has in their places; copies and nearly equal ones are "
        "among them.\n\n" + table(head, rows) + f"\nAll {columns:,} would take {seconds * columns / some / 1800:.1f} "
        f"core-hours (extrapolated from {some:,}).\n"
    )
