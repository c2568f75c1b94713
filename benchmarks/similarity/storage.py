"""A store as large as ShapeNet's: its bytes, the error of storing, and how fast batches are looked up in it."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import boto3
import numpy as np
from moto.server import ThreadedMotoServer

from benchmarks.measure import alternately, table
from benchmarks.similarity.shapenet import SHAPENET
from captionless.precompute.growth import Growth
from captionless.precompute.partition import MAX_SIDE, plan_tiles
from captionless.spec.similarity import SimilaritySpec
from captionless.store import objects
from captionless.store.similarity_index import StoredCategory, publish
from captionless.store.similarity_store import open_similarity
from captionless.store.tile_layout import ColumnBlock, tiles_of
from captionless.store.tiles import write_tile

BATCH = 512


APPENDS = 100


def write(url: str, workers: int, appends: int = 0) -> int:
    """A store of made-up values for ShapeNet's categories, cut for so many workers; returns its bytes.

    appends: in how many times the last tenth of the objects was added.
    """
    rng = np.random.default_rng(0)
    first = {name: n - n // 10 if appends else n for name, n in SHAPENET.items()}
    plan = plan_tiles({name: Growth.from_scratch(n) for name, n in first.items()}, workers, "i2i")
    categories = []
    for name, n in SHAPENET.items():
        edges = np.unique(np.linspace(first[name], n, appends + 1).astype(int)).tolist()
        added = [ColumnBlock(start, stop, MAX_SIDE) for start, stop in pairwise(edges)]
        tiles = []
        for block in tiles_of(name, [*plan.blocks[name], *added]):
            tiles.append(write_tile(url, block, rng.random(block.shape, np.float32) * 0.3 + 0.6, "i2i", "0" * 64))
        categories.append(StoredCategory(name, [f"{name}-{i:08d}" for i in range(n)], "made up", tiles))
    publish(url, "i2i", categories, SimilaritySpec().cross_category_sim)
    return sum(tile.bytes for category in categories for tile in category.tiles)


@contextlib.contextmanager
def s3() -> Iterator[str]:
    """A bucket on an S3 of this machine."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
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


def lookups(url: str) -> Callable[[], object]:
    """Looks up another batch of random objects of all categories at every call; every tile has been read before."""
    store, rng = open_similarity(url), np.random.default_rng(0)
    keys = [key for category in store.categories for key in store.keys(category)]
    for category in store.categories:
        store.matrix(category)

    def look() -> None:
        store.lookup([keys[i] for i in rng.choice(len(keys), BATCH, replace=False)])

    return look


def lookup_table(folder: Path, rounds: int) -> str:
    """Time of a lookup, from a local folder and from S3: in stores cut for one worker and for 64, and a grown one."""
    rows, size = [], 0
    with s3() as bucket:
        for what, workers, appends in (("one", 1, 0), ("64", 64, 0), (f"one, and {APPENDS} appends", 1, APPENDS)):
            local = folder / f"store-{workers}-{appends}"
            size = write(str(local), workers, appends)
            for path in sorted(local.iterdir()):
                objects.write_bytes(objects.join(bucket, local.name, path.name), path.read_bytes())
            candidates = {"local": lookups(str(local)), "S3": lookups(objects.join(bucket, local.name))}
            times = alternately(candidates, rounds, "lookup")
            rows.append([f"cut for {what}, {len(list(local.glob('*.sim')))} tiles", *times.values()])
    return (
        f"{sum(SHAPENET.values()):,} objects in {len(SHAPENET)} categories, as many as ShapeNetCore's: "
        f"{size / 1e9:.3f} GB a metric. A lookup of {BATCH} mixed objects, a different batch each time (drawing it is "
        f"included), after every tile has been read once; medians of {rounds}.\n\n" + table(["", "local", "S3"], rows)
    )
