"""Evaluation of a large test split, measured in memory and time: `python -m benchmarks.scale.evaluation`.

The objects are made up, the code is not. A few hundred objects' members are written to a shard, and a table like that
of the embed stage says of every object that its members are among these: so disks need not hold 26 GB, and every byte
is read and verified as it would be. The encoder has as many dimensions as ViT-B-32 and hardly any weights, since it is
not what is measured; its embeddings and the ranks of most queries may be left out (`--encoded`, `--ranked`), which take
hours on two cores and no memory of their own.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from captionless.eval import class_tables, measurement, outcomes, ranking, results
from captionless.eval.outcomes import Outcomes
from captionless.eval.results import EvaluatedRun
from captionless.runtime.memory import give_back
from captionless.spec.alignment import AlignmentSpec
from captionless.stages.eval import encode
from captionless.stages.unseen import EmbeddedTexts, TrainingSplit, Unseen
from captionless.store import object_table
from captionless.store.arrays import write_array
from captionless.store.embeddings import Embeddings
from captionless.store.shards import ShardReader, encode_array, write_shard
from captionless.store.table import write_table

_WIDTH, _VIEWS, _POINTS, _USED = 512, 30, 10_000, 1024
_DISTINCT = 500  # objects whose members are written


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale.evaluation", description=__doc__)
    parser.add_argument("--objects", type=int, default=175_000)
    parser.add_argument("--classes", type=int, default=1156)
    parser.add_argument("--runs", type=int, default=6)
    parser.add_argument("--views", choices=("one", "all"), default="one", help="eval.views")
    parser.add_argument("--encoded", type=int, default=0, help="objects that are encoded (default: all)")
    parser.add_argument("--ranked", type=int, default=0, help="queries that are ranked (default: all)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _ranked(arguments.ranked):
        measure(Path(folder), arguments)


def measure(folder: Path, given: argparse.Namespace) -> None:
    """Prints what every step takes, and the process' peak of resident memory after it."""
    with _step("embedded objects opened"):
        data = _data(folder, given.objects, given.classes)
    spec = AlignmentSpec.model_validate(
        {"name": "scale", "output": str(folder), "data": {"source": {"kind": "parametric"}},
         "eval": {"views": given.views}, "train": {"points": _USED}}
    )  # fmt: skip
    unseen = Unseen(spec, data, TrainingSplit(876_000, data.classes, ""))
    with _step("texts of the classes, by ViT-B-32"):
        vars(unseen)["texts"] = EmbeddedTexts(_texts(unseen.classes), {"digest": ""})
        give_back()
    with _step("one run encoded"):
        some = _data(folder / "some", given.encoded, given.classes) if given.encoded else data
        shapes = _encoded(some, given.objects)
        write_array(str(folder / "run.npy"), shapes)
    with _step("one run measured"):
        found = measurement.evaluate_run(shapes, unseen.test)
    del shapes
    with _step("references measured"):
        ceiling = measurement.clip_ceiling(unseen.test)
    runs = [EvaluatedRun("avg", seed, found.figures, _again(found.outcomes, seed)) for seed in range(given.runs)]
    with _step(f"figures of {given.runs} runs, with intervals"):
        figures = results.figures(unseen.test, runs, ceiling)
    with _step("results written"):
        document = results.dumps(results.build(unseen.test, figures, {}))
        tables = class_tables.parquet(figures.tables, unseen.classes) if not figures.inline else {}
        written = {name: write_table(str(folder / name), rows, schema) for name, (schema, rows) in tables.items()}
    kept = len(outcomes.dumps(found.outcomes))
    beside = ", ".join(f"{name} {info.bytes / 1e6:.1f} MB" for name, info in written.items())
    print(f"results.json {len(document) / 1e6:.2f} MB; {beside}; outcomes {kept / 1e6:.1f} MB a run")


@contextmanager
def _step(name: str) -> Iterator[None]:
    began, used = time.monotonic(), time.process_time()
    yield
    gc.collect()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    now = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
    took = f"{time.monotonic() - began:8.1f} s ({time.process_time() - used:.1f} s of processors)"
    print(f"{name:45s} {took}; {now:,.0f} MiB now, {peak:,.0f} MiB at most", flush=True)


@contextmanager
def _ranked(count: int) -> Iterator[None]:
    """Ranks only so many queries of each gallery, all if 0; the others' are made up."""
    whole = ranking.ranks

    def some(queries: Any, items: Any, relevant: NDArray[np.int64], of_queries: str, of_items: str) -> Any:
        found = np.random.default_rng(0).integers(1, len(items) + 1, relevant.shape)
        found[:count] = whole(queries[:count], items, relevant[:count], of_queries, of_items)
        return found

    with mock.patch.object(ranking, "ranks", some if count else whole):
        yield


def _data(folder: Path, count: int, classes: int) -> Embeddings:
    """`count` objects that are in turn one of a few in a shard."""
    rng = np.random.default_rng(0)
    digests: dict[str, list[bytes]] = {"views.npy": [], "points.npy": []}

    def samples() -> Iterator[tuple[str, dict[str, bytes]]]:
        for number in range(_DISTINCT):
            views = rng.normal(size=_WIDTH) + rng.normal(size=(_VIEWS, _WIDTH))
            views /= np.linalg.norm(views, axis=1, keepdims=True)
            points = rng.uniform(-0.5, 0.5, (_POINTS, 6))
            members = {
                "views.npy": encode_array(views.astype(np.float16)),
                "points.npy": encode_array(points.astype(np.float16)),
            }
            for name, member in members.items():
                digests[name].append(hashlib.sha256(member).digest())
            yield f"object{number}", members

    write_shard(str(folder / "test.tar"), samples())
    index = ShardReader(str(folder / "test.tar")).index
    which = np.arange(count) % _DISTINCT
    held = list(index.values())
    columns: dict[str, Any] = {
        "key": pa.array([hashlib.md5(str(i).encode()).hexdigest() for i in range(count)]),
        "category": pa.DictionaryArray.from_arrays(
            pa.array(rng.integers(0, classes, count), pa.int32()), [f"category number {i}" for i in range(classes)]
        ),
        "split": pa.array(["test"] * count),
        "shard": pa.array(["test.tar"] * count),
    }
    for name in ("views", "points"):
        columns[name] = pa.array([digests[f"{name}.npy"][i] for i in which], pa.binary(32))
        for place, kind in enumerate(("offset", "size")):
            columns[f"{name}_{kind}"] = pa.array(np.array([each[f"{name}.npy"][place] for each in held])[which])
    return Embeddings(str(folder), "test", object_table.of_rows(pa.table(columns), "test", str(folder)))


def _texts(classes: list[str]) -> NDArray[np.float32]:
    """By a model of that size with random weights: what is loaded, and dropped again, before anything is measured."""
    import open_clip
    import torch

    model = open_clip.create_model("ViT-B-32").eval()
    tokenize = open_clip.get_tokenizer("ViT-B-32")
    with torch.no_grad():
        rows = [model.encode_text(tokenize(classes[i : i + 64])).numpy() for i in range(0, len(classes), 64)]
    return np.concatenate(rows)[:, None]


def _encoded(some: Embeddings, count: int) -> NDArray[np.float32]:
    """Embeddings of so many objects, of which the first are an encoder's of `some`."""
    from captionless.trainer import encoders

    found = encode(encoders.build("pointnext-s", width=4, nsample=4, embed_dim=_WIDTH), some, _USED, lambda done: None)
    if len(some) == count:
        return found
    shapes = np.random.default_rng(1).standard_normal((count, _WIDTH), np.float32)
    shapes /= np.linalg.norm(shapes, axis=1, keepdims=True)
    shapes[: len(some)] = found
    return shapes


def _again(found: Outcomes, seed: int) -> Outcomes:
    """Outcomes of another run: those of the objects in another order."""
    order = np.random.default_rng(seed).permutation(len(found.labels))
    ranks = {name: rank[order] for name, rank in found.ranks.items()}
    predicted = None if found.predicted is None else found.predicted[order]
    return Outcomes(found.labels, ranks, found.test, found.lists, predicted)


if __name__ == "__main__":
    main()
