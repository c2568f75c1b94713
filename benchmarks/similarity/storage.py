"""A store as large as ShapeNet's: its bytes, the error of storing, and how fast batches are looked up in it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import boto3
import numpy as np
from moto.server import ThreadedMotoServer

from benchmarks.measure import Timing, alternately, table
from benchmarks.similarity.scale import SHAPENET
from captionless.precompute.dealing import deal
from captionless.store.similarity import Category, SimilarityStore, blocks, open_similarity, publish
from captionless.store.tiles import write_tile

BATCH = 512


def write(url: str, workers: int) -> int:
    """A store of made-up values for ShapeNet's categories, cut for so many workers; returns its bytes."""
    rng = np.random.default_rng(0)
    sides = deal(SHAPENET, workers, "i2i").sides
    categories = []
    for name, n in SHAPENET.items():
        tiles = []
        for block in blocks(name, n, sides[name]):
            tiles.append(write_tile(url, block, rng.random(block.shape, np.float32) * 0.3 + 0.6, "i2i", "made up"))
        categories.append(Category(name, [f"{name}-{i:08d}" for i in range(n)], "made up", sides[name], tiles))
    publish(url, "i2i", categories)
    return sum(tile.bytes for category in categories for tile in category.tiles)


@contextlib.contextmanager
def s3() -> Iterator[str]:
    """A bucket on an S3 of this machine."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    variables = {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    os.environ.update(variables)
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="bench")
    yield "s3://bench"
    for name in variables:
        os.environ.pop(name)
    server.stop()


def batches(store: SimilarityStore, count: int, seed: int = 0) -> list[list[str]]:
    """Random objects of all categories."""
    rng = np.random.default_rng(seed)
    keys = [key for category in store.categories for key in store.keys(category)]
    return [[keys[i] for i in rng.choice(len(keys), BATCH, replace=False)] for _ in range(count)]


def lookup_table(folder: Path, rounds: int) -> str:
    """Time of a lookup, from a local folder and from S3, in a store cut for one worker and for 64."""
    rows, size = [], 0
    for workers in (1, 64):
        local = f"{folder}/store-{workers}"
        size = write(local, workers)
        with s3() as bucket:
            remote = f"{bucket}/store-{workers}"
            for path in sorted(Path(local).iterdir()):
                boto3.client("s3", region_name="us-east-1").upload_file(str(path), "bench", f"store-{workers}/{path.name}")
            stores = {"local": open_similarity(local), "S3": open_similarity(remote)}
            asked = {name: iter(batches(store, rounds + 1)) for name, store in stores.items()}
            warm: dict[str, Timing] = {}
            for name, store in stores.items():  # every tile once
                warm |= alternately({name: store.category_mean}, 0, f"reading from {name}") or {}
            times = alternately(
                {name: lambda name=name: stores[name].lookup(next(asked[name])) for name in stores}, rounds, "lookup"
            )
        rows.append([f"cut for {workers}, {len(list(Path(local).glob('*.sim')))} tiles", *times.values()])
    return (
        f"{sum(SHAPENET.values()):,} objects in {len(SHAPENET)} categories, as many as ShapeNetCore's: "
        f"{size / 1e9:.3f} GB a metric. A lookup of {BATCH} mixed objects, another batch every time, every tile read "
        f"once before; medians of {rounds}.\n\n" + table(["", "local", "S3"], rows)
    )
