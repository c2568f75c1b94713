"""Looking up keys in a column: what a dict finds, whatever the keys are."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest

from captionless.store.key_index import KeyIndex


def keys_of(n: int, seed: int = 0) -> list[str]:
    drawn = random.Random(seed)
    return sorted({"".join(drawn.choices("ab/é椅-0", k=drawn.randint(0, 12))) for _ in range(n)})


@pytest.mark.parametrize("n", [0, 1, 5, 20_000])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_it_finds_what_a_dict_finds(n: int, kind: pa.DataType) -> None:
    keys = keys_of(n)
    index, places = KeyIndex(pa.array(keys, kind)), {key: place for place, key in enumerate(keys)}
    wanted = [*random.Random(1).sample(keys, len(keys)), *keys_of(500, seed=2), "\udcff", "", "a" * 1000]
    expected = [places.get(key, -1) for key in wanted]
    assert index.places(wanted).tolist() == expected
    asked = pa.array(w for w in wanted if w != "\udcff")  # which is no text
    assert index.places(asked).tolist() == [places.get(key, -1) for key in asked.to_pylist()]
    assert index.repeated is None


def test_of_a_slice_and_of_chunks() -> None:
    keys = keys_of(1000)
    part = pa.array(keys).slice(100, 50)
    assert KeyIndex(part).places(keys).tolist() == [*[-1] * 100, *range(50), *[-1] * (len(keys) - 150)]
    chunks = pa.chunked_array([keys[:10], [], keys[10:]])
    np.testing.assert_array_equal(KeyIndex(chunks).places(chunks), np.arange(len(keys)))


def test_a_key_that_is_there_twice_is_named() -> None:
    assert KeyIndex(pa.array(["a", "bb", "c", "bb", "d"])).repeated == "bb"
    assert KeyIndex(pa.array(["a", "bb", "bb"])).places(["bb"]).tolist() == [1]


def test_nulls_are_no_keys() -> None:
    with pytest.raises(ValueError, match="null"):
        KeyIndex(pa.array(["a", None]))
