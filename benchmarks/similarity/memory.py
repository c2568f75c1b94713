"""The memory for computing a whole matrix, without its input and result; `... memory i2i 20000` measures one.

In a separate process, since the system reports only the peak of a process's memory.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import most_beside, table
from captionless.precompute.pair_similarity import i2i, i2l

BUDGET = 1 << 30
"""Bytes beside input and result, whatever the number of objects."""

_VIEWS, _WIDTH, _LANDMARKS = 30, 512, 128


def _unit(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    rows = rng.standard_normal(shape, dtype=np.float32) + 1
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True))


def beside(metric: str, n: int) -> int:
    """Peak bytes of this process while it computed the similarity of n objects, without their views and the result."""
    rng = np.random.default_rng(0)
    texts = _unit(rng, _LANDMARKS, _WIDTH)
    compute = (lambda views: i2i(views)) if metric == "i2i" else (lambda views: i2l(views, texts))
    compute(_unit(rng, 600, _VIEWS, _WIDTH).astype(np.float16))  # libraries are loaded and functions compiled
    views = np.empty((n, _VIEWS, _WIDTH), np.float16)
    for start in range(0, n, 500):
        views[start : start + 500] = _unit(rng, min(500, n - start), _VIEWS, _WIDTH)
    return most_beside(lambda: compute(views)) - 4 * n * n


def memory_table(sizes: tuple[int, ...]) -> str:
    """Of both functions and several numbers of objects."""
    rows = []
    for metric in ("i2i", "i2l"):
        for n in sizes:
            command = [sys.executable, "-m", __name__, metric, str(n)]
            used = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            within = "yes" if used <= BUDGET else "**no**"
            rows.append([metric, f"{n:,}", f"{4 * n * n / 2**20:,.0f} MiB", f"{used / 2**20:,.0f} MiB", within])
    return "Peak resident memory of the function, without its input (float16) and its result.\n\n" + table(
        ["", "objects", "result", "beside it", f"within {BUDGET >> 20} MiB"], rows
    )


if __name__ == "__main__":
    print(beside(sys.argv[1], int(sys.argv[2])))
