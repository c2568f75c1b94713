"""Whole samples of 154 KB: 30 x 512 view embeddings and 10,000 x 6 points, float16, into the arrays of a batch.

Ours reads objects in a random order that is another one every time, the others theirs, which is the order of the files:
what their shuffling costs is not in their time.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import litdata
import numpy as np
import webdataset

from benchmarks.measure import Timing, alternately, table
from benchmarks.reader.s3 import BUCKET, link, s3, upload
from captionless.store.disk_cache import DiskCache
from captionless.store.embeddings import Embeddings, open_embeddings
from captionless.trainer.data.batches import WindowedOrder
from captionless.trainer.data.samples import Samples
from captionless.trainer.data.shards_ahead import ShardsAhead
from tests.embedded import write_embedded

VIEWS, FEATURES, POINTS = 30, 512, 10_000
BYTES = 2 * (VIEWS * FEATURES + POINTS * 6)
BATCH, IN_SHARD = 64, 128

OURS = "**captionless**"
FIRST = "captionless, each for the first time (sha256, norms)"
RAW = "reading the tars, nothing else"
WEBDATASET = "webdataset, decoded"
LITDATA = "litdata StreamingDataset"


def dataset(folder: Path, n: int) -> Path:
    """The embedded data set, made once, and litdata's of the same samples beside it."""
    if not (folder / "embed" / "manifest.json").exists():
        write_embedded(str(folder / "embed"), {"all": n}, n // IN_SHARD, 0, VIEWS, FEATURES, POINTS)
        data = open_embeddings(str(folder / "embed"), "train")
        shutil.rmtree(folder / "litdata", ignore_errors=True)
        writer = litdata.streaming.writer.BinaryWriter(str(folder / "litdata"), chunk_bytes=IN_SHARD * BYTES)
        for i in range(n):
            writer[i] = {"views": data.views([i])[0], "points": data.points([i])[0]}
        writer.done()
        writer.merge(1)
    return folder


def tars(folder: Path) -> list[Path]:
    """The shards of a data set."""
    return sorted((folder / "embed" / "train").glob("*.tar"))


class Ours:
    """Reads all objects of a data set in batches, another order every time, into the same arrays."""

    def __init__(self, url: str) -> None:
        self.data: Embeddings = open_embeddings(url, "train")
        self._rng = np.random.default_rng(0)
        layouts = (self.data.views_layout, self.data.points_layout)
        self._views, self._points = (np.empty((BATCH, *layout.shape), layout.dtype) for layout in layouts)

    def epoch(self) -> None:
        order = self._rng.permutation(len(self.data))
        for start in range(0, len(order), BATCH):
            own = order[start : start + BATCH]
            self.data.read(own, self._views[: len(own)], self._points[: len(own)])


class Windowed:
    """Reads all objects of a data set in batches, in the order of a windowed shuffle, by way of copies on the disk."""

    def __init__(self, url: str, folder: Path) -> None:
        self._disk = DiskCache(str(folder), 1 << 40)
        self.data: Embeddings = open_embeddings(url, "train")
        self.data.copy_to(self._disk)
        self._order = WindowedOrder(self.data.shards.codes, len(self.data) // 4, 0)
        self._steps = -(-len(self.data) // BATCH)
        layouts = (self.data.views_layout, self.data.points_layout)
        self._views, self._points = (np.empty((BATCH, *layout.shape), layout.dtype) for layout in layouts)

    def epoch(self) -> None:
        ahead = ShardsAhead(self.data, lambda step: (0, self._batch(step)), self._steps, BATCH, len(self.data) // 4)
        for step in range(self._steps):
            own = self._batch(step)
            ahead.ready(step)
            self.data.read(own, self._views[: len(own)], self._points[: len(own)])
        ahead.close()

    def _batch(self, step: int) -> np.ndarray:
        return self._order.of(0)[step * BATCH : (step + 1) * BATCH].astype(np.int64)


def raw(folder: Path) -> None:
    """Every byte of every shard, one after the other, into memory as large as a batch of ours."""
    memory = memoryview(bytearray(BATCH * BYTES))
    for path in tars(folder):
        with open(path, "rb", buffering=0) as file:
            while file.readinto(memory):
                pass


def by_webdataset(urls: list[str]) -> None:
    """As its documentation reads numpy arrays; copied into a batch as ours are."""
    samples = webdataset.WebDataset(urls, shardshuffle=False, empty_check=False).decode()
    fill((sample["views.npy"], sample["points.npy"]) for sample in samples)


def by_litdata(url: str) -> None:
    """Without workers, in the order of the chunks."""
    dataset = litdata.StreamingDataset(url, shuffle=False, drop_last=False)
    fill((sample["views"], sample["points"]) for sample in dataset)


def fill(samples: Iterator[tuple[np.ndarray, np.ndarray]]) -> None:
    """Samples into the arrays of batches."""
    views = np.empty((BATCH, VIEWS, FEATURES), np.float16)
    points = np.empty((BATCH, POINTS, 6), np.float16)
    count = -1
    for count, (of_views, of_points) in enumerate(samples):
        views[count % BATCH], points[count % BATCH] = of_views, of_points
    if count < 0:
        raise RuntimeError("no samples")


def figures(times: dict[str, Timing], n: int) -> str:
    """A table of rates and ratios."""
    ours = times[OURS].median
    rows = [
        [
            name,
            timing,
            f"{n / timing.median:,.0f}",
            f"{n * BYTES / timing.median / 1e9:.2f}",
            f"{timing.median / ours:.2f}",
        ]
        for name, timing in times.items()
    ]
    return table(["", "an epoch (range)", "samples/s", "GB/s", "time over ours"], rows)


def local_table(folder: Path, n: int, rounds: int) -> str:
    """From a warm page cache."""
    dataset(folder, n)
    url, paths = str(folder / "embed"), [str(path) for path in tars(folder)]
    ours = Ours(url)
    ours.epoch()
    candidates: dict[str, Callable[[], object]] = {
        OURS: ours.epoch,
        RAW: lambda: raw(folder),
        FIRST: lambda: Ours(url).epoch(),
        WEBDATASET: lambda: by_webdataset(paths),
        LITDATA: lambda: by_litdata(str(folder / "litdata")),
    }
    times = alternately(candidates, rounds, "local")
    over = {name: timing.median / times[OURS].median for name, timing in times.items()}
    return (
        f"{n:,} samples of {BYTES / 1e3:.0f} KB in {len(paths)} shards, in this process, the page cache warm; medians "
        f"of {rounds} alternating rounds. Ours reads in batches of {BATCH} in random order; the others in order."
        f"\n\n{figures(times, n)}\n"
        f"Ours is {over[WEBDATASET]:.1f} times as fast as webdataset, {over[RAW]:.2f} times as fast as reading alone "
        f"and {over[LITDATA]:.1f} times as fast as litdata.\n"
    )


def s3_table(folder: Path, n: int, rounds: int) -> str:
    """The same from a server of this machine."""
    dataset(folder, n)
    with s3():
        url = upload(folder / "embed")
        names = [f"embed/train/{path.name}" for path in tars(folder)]
        client = boto3.client("s3")

        def whole() -> None:
            for name in names:
                client.get_object(Bucket=BUCKET, Key=name)["Body"].read()

        def kept() -> Samples:
            found = Samples(open_embeddings(url, "train"), memory=2 * n * BYTES)
            found.read(np.arange(n), np.zeros(n, np.int64))
            return found

        ours, samples, rng = Ours(url), kept(), np.random.default_rng(0)
        ours.epoch()

        def again() -> None:
            for own in np.array_split(rng.permutation(n), -(-n // BATCH)):
                samples.read(own, rng.integers(VIEWS, size=len(own)))

        copies = tempfile.TemporaryDirectory()
        second = Windowed(url, Path(copies.name))
        second.epoch()

        def first() -> None:
            with tempfile.TemporaryDirectory() as empty:
                Windowed(url, Path(empty)).epoch()

        candidates: dict[str, Callable[[], object]] = {
            OURS: ours.epoch,
            "captionless, `shuffle: windowed` and `dataDisk`, the first epoch": first,
            "captionless, the same, the next epochs": second.epoch,
            "captionless, the next epochs of what `dataMemory` has room for": again,
            "the tars one after the other, boto3, nothing else": whole,
            "webdataset by its pipe:curl, decoded": lambda: by_webdataset(
                [f"pipe:curl -s -f '{link(name)}'" for name in names]
            ),
        }
        times = alternately(candidates, rounds, "S3")
        copies.cleanup()
    return (
        f"{n:,} samples in {len(names)} shards on an S3 server (versitygw, in a separate process on this machine). "
        "Ours requests one object at a time, in random order, as a global shuffle requires; the others request whole "
        "shards, in order. What is cached, one view and the points of each object, is requested once. The windowed "
        "shuffle mixes a quarter of the objects; its first epoch includes opening the data set, sha256 and norms.\n\n"
        + figures(times, n)
    )
