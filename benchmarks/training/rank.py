"""What a rank of a training on 876,000 objects holds, when it is ready, and what a step's bookkeeping costs.

The data set's rows are made up, and real in their number, keys, categories, digests and offsets; its shards are one of
128 objects under many names. Each rank is a process of its own, measured from inside.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import table

IN_SHARD, VIEWS, FEATURES, POINTS = 128, 30, 512, 1024
CATEGORIES, IN_PART = 1156, 1 << 16
BATCH, RANKS, STEPS = 512, 8, 50


def dataset(folder: Path, objects: int) -> str:
    """The embed stage's folder of so many objects, made once."""
    from captionless.store.ledger import Ledger
    from captionless.store.packed import embedded_rows
    from captionless.store.shards import encode_array, write_shard
    from tests.embedded import publish, unit

    url = folder / "embed"
    if (url / "manifest.json").exists():
        return str(url)
    rng = np.random.default_rng(0)
    members = []
    for _ in range(IN_SHARD):
        views = unit(rng.standard_normal((VIEWS, FEATURES))).astype(np.float16)
        points = rng.uniform(-0.5, 0.5, (POINTS, 6)).astype(np.float16)
        members.append({"views.npy": encode_array(views), "points.npy": encode_array(points)})
    first = url / "train" / "00000.tar"
    info = write_shard(str(first), ((f"{i:032x}", each) for i, each in enumerate(members)))
    entries = list(info.index.values())
    digests = [{name: hashlib.sha256(data).hexdigest() for name, data in each.items()} for each in members]
    categories = rng.integers(CATEGORIES, size=objects)
    for start in range(0, objects, IN_PART):
        rows: dict[str, list[Any]] = {name: [] for name in ("key", "category", "split", "shard", "views", "points")}
        rows |= {f"{m}_{kind}": [] for m in ("views", "points") for kind in ("offset", "size")}
        for i in range(start, min(start + IN_PART, objects)):
            shard, place = divmod(i, IN_SHARD)
            name = f"train/{shard:05d}.tar"
            if place == 0 and shard:
                (url / name).symlink_to(first.name)
            rows["key"].append(hashlib.md5(str(i).encode()).hexdigest())
            rows["category"].append(f"class {categories[i]:04d}")
            rows["split"].append("train")
            rows["shard"].append(name)
            for member in ("views", "points"):
                rows[member].append(digests[place][f"{member}.npy"])
                offset, size = entries[place][f"{member}.npy"]
                rows[f"{member}_offset"].append(offset)
                rows[f"{member}_size"].append(size)
        Ledger(str(url)).commit(f"train-{start:08d}", str(start), {}, {"split": "train"}, rows)
    publish(str(url), embedded_rows)
    return str(url)


def private() -> int:
    """Bytes of memory that this process shares with no other."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines if line.endswith("kB")}
    return sizes["Private_Clean"] + sizes["Private_Dirty"]


def measured(url: str, shuffle: str, folder: str) -> dict[str, float]:
    """A rank, in this process: from its modules on, which every one imports."""
    from captionless.spec.train import TrainSpec
    from captionless.trainer.data.node_cache import NodeCache
    from captionless.trainer.data.training_data import TrainingData

    train = {"batchSize": BATCH, "points": POINTS, "steps": 10_000, "batches": {"shuffle": shuffle}}
    spec = TrainSpec.model_validate({**train, "validation": {"share": 0.05}})
    before, began = private(), time.perf_counter()
    data = TrainingData(url, spec, 0, 0, node=NodeCache(folder=folder))
    data.indices(0)
    ready, held = time.perf_counter() - began, private() - before
    began = time.perf_counter()
    identity = data.digest
    digest = time.perf_counter() - began
    data.samples.read = lambda *batch: None  # type: ignore[method-assign,assignment,return-value]  # only bookkeeping
    spent = []
    for step in range(STEPS):
        began = time.perf_counter()
        data.read(step, step % RANKS, RANKS)
        spent.append(time.perf_counter() - began)
    return {
        "ready": ready, "memory": held, "digest": digest, "steps": statistics.median(spent),
        "worst": max(spent), "checked": len(identity),
    }  # fmt: skip


def rank_table(folder: Path, objects: int) -> str:
    """A table of both shuffles."""
    url = dataset(folder, objects)
    rows = []
    for shuffle in ("global", "windowed"):
        with tempfile.TemporaryDirectory() as shared:
            for which in ("first", "next"):
                command = [sys.executable, "-m", "benchmarks.training.rank", url, shuffle, shared]
                found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=os.environ).stdout)
                milliseconds = [f"{1e3 * found[name]:.2f} ms" for name in ("steps", "worst")]
                seconds = [f"{found[name]:.1f} s" for name in ("ready", "digest")]
                own = f"{found['memory'] / 1e6:.0f} MB"
                rows.append([f"{shuffle}, the {which} of a node", own, *seconds, *milliseconds])
    head = ["shuffle, rank", "memory", "ready", "identity of the data", "bookkeeping a step", "the worst"]
    return (
        f"A rank of {RANKS} on {objects:,} objects in {-(-objects // IN_SHARD):,} shards and {CATEGORIES:,} "
        f"categories, 5 % of them for validation; global batches of {BATCH}. Memory: what the process holds for itself "
        "beyond its modules, the split and the order of an epoch; the table of keys, categories, offsets and digests "
        "is mapped by all ranks of a node, and made by the first. Ready: opened, split, and the first order drawn. "
        "Bookkeeping: which objects of a batch are whose, their keys, categories and generators, ahead of the step; "
        f"the median of {STEPS} steps.\n\n" + table(head, rows)
    )


if __name__ == "__main__":
    print(json.dumps(measured(*sys.argv[1:])))
