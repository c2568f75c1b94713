"""Stored similarity on S3: what opening and looking up ask for, and that memory stays within its limit."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest

from captionless.store.similarity_store import open_similarity
from tests.matrices import store_all
from tests.store.faulty_s3 import FaultyS3, reached_by_environment
from tests.store.test_similarity_store import keys_of, matrix

BUCKET = "captionless-similarity"
URL = f"s3://{BUCKET}/run/similarity/i2i"
SIZES = {"chair": 80, "mug": 20}


@pytest.fixture(scope="module")
def s3() -> Iterator[FaultyS3]:
    """A server that holds a store of 10 + 1 tiles of 20 objects a side."""
    with reached_by_environment(BUCKET) as server:
        store_all(URL, {c: (keys_of(c, n), matrix(n, n)) for c, n in SIZES.items()}, side=20)
        yield server


def gets(s3: FaultyS3, ending: str = "") -> list[str]:
    return [path for method, path in s3.requests if method == "GET" and path.partition("?")[0].endswith(ending)]


def test_a_store_that_fits_is_read_once(s3: FaultyS3) -> None:
    s3.requests.clear()
    store = open_similarity(URL)
    assert len(gets(s3)) == 4  # the manifest, two tables, and a listing
    keys = [key for category in store.categories for key in store.keys(category)]
    s3.requests.clear()
    sim = store.lookup(keys)
    assert len(gets(s3, ".sim")) == 10 + 1
    assert store.tiles.memory == store.size
    s3.requests.clear()
    np.testing.assert_array_equal(store.lookup(keys), sim)
    assert not s3.requests
    assert store.category_mean().keys() == {"chair", "mug"}
    assert not s3.requests


def test_one_that_does_not_is_read_by_rows(s3: FaultyS3) -> None:
    whole, store = open_similarity(URL), open_similarity(URL, memory=3000)
    drawn, keys = random.Random(0), [*keys_of("chair", 80), *keys_of("mug", 20)]
    for _ in range(3):
        some = drawn.choices(keys, k=30)
        np.testing.assert_array_equal(store.lookup(some), whole.lookup(some))
        assert store.tiles.memory <= 3000
    s3.requests.clear()
    before = store.tiles.rows_read
    some = drawn.sample(keys_of("chair", 80), 3)
    np.testing.assert_array_equal(store.lookup(some), whole.lookup(some))
    assert store.tiles.rows_read - before <= 3
    assert len(gets(s3, ".sim")) <= 3
