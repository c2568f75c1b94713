"""What similarity costs at any size: the planner's tiles times what tiles cost, measured, and checked on others.

The cost model is that of `precompute.partition`: so much for a pair and so much for an object of either side of a tile.
Both are fitted to a few tiles and then have to foretell tiles of other shapes.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import table
from benchmarks.similarity.kernels import landmarks
from benchmarks.similarity.shapenet import SHAPENET
from captionless.precompute.growth import Growth
from captionless.precompute.pair_similarity import i2i, i2l
from captionless.precompute.partition import COST_OF_AN_OBJECT, plan_tiles
from captionless.store.embeddings import Embeddings, open_embeddings
from captionless.store.tiles import Metric, TileBlock, write_tile

WORKERS = (1, 8, 64)


def objaverse() -> dict[str, int]:
    """876,000 objects in 1,156 categories of zipf's sizes, none above 50,000."""
    shares = 1 / np.arange(1, 1157)
    sizes = 876_000 * shares / shares.sum()
    for _ in range(50):  # what is above the bound goes to the others
        full = sizes >= 50_000
        sizes[full] = 50_000
        sizes[~full] *= (876_000 - sizes[full].sum()) / sizes[~full].sum()
    return {f"{i:04d}": int(n) for i, n in enumerate(sizes)}


DATASETS = {
    "ShapeNetCore, 52 k": SHAPENET,
    "Objaverse's size, 876 k": objaverse(),
    "10 M in categories of 50 k": {f"{i:03d}": 50_000 for i in range(200)},
}


ADVICE = """
Recommendations for each size:

- **52 k objects.** Use one machine with one worker per core, as `captionless run` does. Both metrics take less than
  0.4 GB: training reads them from local disk, or from S3 once.
- **876 k objects.** Use a few dozen workers, for some minutes. Both metrics take 23 GB, more than the memory of some
  nodes, so give training a local copy (tiles are memory-mapped, and only what batches use is read) rather than S3,
  of which a quarter of `resources.dataMemory` is cached and the rest is read row by row.
- **10 M objects in categories of 50 k.** The computation still takes less than an hour with 64 workers, but a metric
  takes half a terabyte, nearly all of which no batch will ever use. Use finer categories: ten times as many need a
  tenth of the time and storage, and a category of 50,000 has sub-categories worth distinguishing. Compute one metric
  first: I2I.
"""


def tile_seconds(data: Embeddings, metric: Metric, height: int, width: int, folder: Path) -> float:
    """Core seconds of one tile as a worker makes it: reading, computing, writing."""
    texts = landmarks()
    began = time.process_time()
    rows = data.views(range(height))
    columns = data.views(range(height, height + width)) if width else None
    sim: NDArray[np.float32] = i2i(rows, columns) if metric == "i2i" else i2l(rows, texts, columns)
    beside = (height, height + width) if width else (0, height)
    write_tile(str(folder), TileBlock("x", (0, height), beside), sim, metric, "0" * 64)
    return time.process_time() - began


def measured(data: Embeddings, metric: Metric, folder: Path) -> tuple[float, float, str]:
    """Seconds of a pair and of an object, and how well they foretell tiles that they were not fitted to."""

    def cost(height: int, width: int) -> tuple[int, int]:
        return (height * width, height + width) if width else (height * (height - 1) // 2, height)

    def seconds(shape: tuple[int, int]) -> float:
        return float(np.median([tile_seconds(data, metric, *shape, folder) for _ in range(5)]))

    fitted = [(512, 512), (2048, 2048), (1024, 2048), (2048, 0)]
    others = [(300, 300), (1024, 1024), (512, 2048), (1500, 0)]
    tile_seconds(data, metric, 64, 64, folder)  # compiles
    known = np.array([seconds(shape) for shape in fitted])
    terms = np.array([cost(*shape) for shape in fitted], dtype=float)
    pair, per_object = np.linalg.lstsq(terms / known[:, None], np.ones(len(known)), rcond=None)[0]
    off = []
    for shape in others:
        pairs, objects = cost(*shape)
        off.append((pairs * pair + objects * per_object) / seconds(shape))
    predicted = ", ".join(
        f"{h} x {w or h}{'' if w else ' on the diagonal'}: {o:.2f}" for (h, w), o in zip(others, off, strict=True)
    )
    return float(pair), float(per_object), predicted


def _span(seconds: float) -> str:
    """Seconds, minutes or hours."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.1f} s"


def scale_table(data_url: str, folder: Path) -> str:
    """Tiles, bytes, core time and balance of every data set and metric."""
    data = open_embeddings(data_url, "train")
    metrics: tuple[Metric, ...] = ("i2i", "i2l")
    text, rows = "", []
    for metric in metrics:
        pair, per_object, predicted = measured(data, metric, folder)
        text += (
            f"- {metric}: {pair * 1e9:.0f} ns of core time per pair and {per_object * 1e6:.0f} µs per object, so an "
            f"object costs as much as {per_object / pair:.0f} pairs (the planner assumes {COST_OF_AN_OBJECT[metric]}). "
            f"Predicted over measured time of other tiles: {predicted}.\n"
        )
        for name, sizes in DATASETS.items():
            for workers in WORKERS:
                plan = plan_tiles({c: Growth.from_scratch(n) for c, n in sizes.items()}, workers, metric)
                tiles = plan.tiles
                pairs = sum(tile.pairs for tile in tiles)
                objects = sum(tile.objects for tile in tiles)
                hours = (pairs * pair + objects * per_object) / 3600
                rows.append(
                    [
                        name,
                        metric,
                        workers,
                        f"{pairs:.3g}",
                        f"{len(tiles):,}",
                        f"{2 * pairs / 1e9:,.2f} GB",
                        f"{objects * 30 * 512 * 2 / 1e9:,.1f} GB",
                        _span(3600 * hours),
                        f"{plan.balance:.3f}",
                        _span(3600 * hours * plan.balance / workers),
                    ]
                )
    headings = ["", "", "workers", "pairs", "tiles", "stored", "read", "core time", "max/mean", "wall, one core each"]
    return text + "\n" + table(headings, rows) + ADVICE
