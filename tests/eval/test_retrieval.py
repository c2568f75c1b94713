from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from captionless.errors import DataError
from captionless.eval import ranking, retrieval

from . import reference

KS = (1, 3, 5, 10)
COMPARED = (*(f"recall@{k}" for k in KS), "map", "median_rank")


def check(queries: np.ndarray, items: np.ndarray, relevant: np.ndarray) -> dict[str, float]:
    found = retrieval.gallery(queries, items, relevant, ks=KS)
    sets = [set(np.flatnonzero(row)) for row in relevant] if relevant.ndim == 2 else [{int(j)} for j in relevant]
    wanted = reference.gallery(queries, items, sets, KS)
    for key in COMPARED:
        assert found[key] == pytest.approx(wanted[key], abs=1e-12), key
    return found


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_one_relevant_item_equals_plain_loop(dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "_ITEMS", 17)  # several blocks, a short last one
    monkeypatch.setattr(ranking, "_QUERIES", 11)
    monkeypatch.setattr(ranking, "_HELD", 23)
    rng = np.random.default_rng(1)
    items = rng.normal(size=(60, 24)).astype(dtype)
    relevant = rng.integers(0, 60, size=45)
    found = check((items[relevant] + 1.5 * rng.normal(size=(45, 24))).astype(dtype), items, relevant)
    assert 0.1 < found["recall@1"] < found["recall@10"] < 1
    assert (found["queries"], found["gallery"]) == (45, 60)


def test_many_relevant_items_equal_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "_ITEMS", 16)
    rng = np.random.default_rng(2)
    queries, items = rng.normal(size=(40, 6)), rng.normal(size=(50, 6))
    relevant = rng.random((40, 50)) < 0.15
    relevant[3] = False  # a query without an answer is left out
    assert check(queries, items, relevant)["queries"] == 39


def test_ties_and_duplicates_equal_plain_loop() -> None:
    rng = np.random.default_rng(3)
    items = rng.integers(-1, 2, size=(40, 3)).astype(np.float32) + 0.25  # few directions, so many duplicates
    items = np.concatenate([items, 2 * items[:20]])
    queries = items[rng.permutation(60)[:30]]
    found = check(queries, items, rng.integers(0, 60, size=30))
    assert found["recall@1"] < 0.2
    check(queries, items, rng.random((30, 60)) < 0.2)


def test_what_float32_cannot_tell_apart_is_ranked_exactly() -> None:
    """Cosines 1e-8 apart collapse in float32; the order must be float64's."""
    angles = 0.8 + np.arange(30) * 1.5e-8
    items = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    for j in (0, 7, 29):
        found = retrieval.gallery([[1.0, 0.0]], items, [j], ks=(1,))
        assert found["median_rank"] == j + 1


def test_a_collapsed_encoder_finds_nothing() -> None:
    found = retrieval.gallery(np.ones((8, 512)), np.ones((8, 512)), np.arange(8))
    assert found["recall@1"] == found["recall@5"] == 0
    assert found["map"] == 1 / 8
    assert found["median_rank"] == 8


def test_perfect() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(30, 8))
    found = retrieval.gallery(x, x, np.arange(30))
    assert found["recall@1"] == found["map"] == found["median_rank"] == 1


def test_average_precision_by_hand() -> None:
    angles = np.arange(5) / 10  # rank order 0, 1, 2, 3, 4
    items = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = retrieval.gallery([[1.0, 0.0]], items, np.array([[False, True, False, True, True]]))
    assert found["map"] == pytest.approx((1 / 2 + 2 / 4 + 3 / 5) / 3)
    assert found["median_rank"] == 2
    assert found["recall@1"] == 0
    assert found["recall@5"] == 1


@pytest.mark.parametrize(("n", "m"), [(5, 1), (5, 2), (6, 3), (4, 4), (1, 1)])
def test_chance_is_the_mean_over_all_rankings(n: int, m: int) -> None:
    relevant = np.arange(n) < m
    rankings = [np.flatnonzero(np.array(order)) + 1 for order in permutations(relevant)]
    found = retrieval.chance(relevant[None], n, ks=(1, 2, 5))
    for k in (1, 2, 5):
        assert found[f"recall@{k}"] == pytest.approx(np.mean([places[0] <= k for places in rankings]))
    precision = [np.mean(np.arange(1, m + 1) / places) for places in rankings]
    assert found["map"] == pytest.approx(np.mean(precision))


def test_chance_of_index_arrays_and_mixed_counts() -> None:
    one = retrieval.chance(np.arange(240), 240)
    assert one["recall@1"] == pytest.approx(1 / 240)
    assert one["recall@5"] == pytest.approx(5 / 240)
    assert one["map"] == pytest.approx(np.mean(1 / np.arange(1, 241)))
    mixed = np.zeros((3, 8), dtype=bool)
    mixed[0, :2] = mixed[1, :3] = True  # the third query has no answer
    wanted = (reference.random_recall(8, 2, 5) + reference.random_recall(8, 3, 5)) / 2
    assert retrieval.chance(mixed, 8)["recall@5"] == pytest.approx(wanted)


def test_in_batch_equals_plain_loop() -> None:
    rng = np.random.default_rng(5)
    keys = rng.normal(size=(75, 10))
    keys[:20] = keys[20:40]  # another photo of the same shape is a miss
    queries = keys + rng.normal(size=(75, 10))
    found = retrieval.in_batch(queries, keys, batch=32, seed=7)
    order = np.random.default_rng(7).permutation(75)
    hits = {1: 0, 5: 0}
    for chosen in (order[:32], order[32:64], order[64:]):
        for i in chosen:
            scores = [float(reference.unit(queries[i]) @ reference.unit(keys[j])) for j in chosen]
            ranking = reference.ranked(scores, {list(chosen).index(i)})
            for k in hits:
                hits[k] += list(chosen).index(i) in ranking[:k]
    assert found == {"top1": hits[1] / 75, "top5": hits[5] / 75, "pairs": 75}
    assert found["top1"] != retrieval.in_batch(queries, keys, batch=32, seed=8)["top1"]


def test_in_batch_chance_counts_the_short_batch() -> None:
    found = retrieval.in_batch_chance(131, batch=128)
    assert found["top1"] == pytest.approx(2 / 131)
    assert found["top5"] == pytest.approx((5 + 3) / 131)
    rng = np.random.default_rng(6)
    pairs = rng.normal(size=(2, 4000, 16))
    assert retrieval.in_batch(*pairs, batch=16)["top5"] == pytest.approx(5 / 16, abs=0.03)


TWO = np.eye(2)


@pytest.mark.parametrize(
    ("queries", "items", "relevant", "named"),
    [
        ([[np.nan, 1.0]], TWO, [0], "queries: row 0 .*NaN"),
        (TWO, [[1.0, 0.0], [1.0, np.nan]], [0, 1], "gallery: row 1 .*NaN"),
        (TWO, [[1.0, 0.0], [0.0, 0.0]], [0, 1], "gallery: row 1 .*zeros"),
        (TWO, np.eye(3), [0, 1], r"queries and gallery: .*\b2\b.*\b3\b"),
        (TWO, TWO, [0, 2], r"relevant: query 1 .*row 2\b.*\b0 to 1\b"),
        (TWO, TWO, [0, -1], r"relevant: query 1 .*row -1\b"),
        (TWO, TWO, [0], r"relevant: .*\(2,\).*\(2, 2\)"),
        (TWO, TWO, [0.0, 1.0], r"relevant: .*\(2,\) of float64"),
        (TWO, TWO, np.zeros((2, 2), dtype=bool), "relevant: "),
    ],
    ids=[
        "nan-query",
        "nan-item",
        "zero-item",
        "dimensions",
        "row-range",
        "negative-row",
        "number-of-rows",
        "type",
        "nothing-relevant",
    ],
)
def test_bad_input_is_reported(queries: object, items: object, relevant: object, named: str) -> None:
    with pytest.raises(DataError, match=named) as caught:
        retrieval.gallery(queries, items, relevant)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_in_batch_rejects_unequal_numbers_of_queries_and_keys() -> None:
    with pytest.raises(DataError, match=r"queries and keys: .*\b2\b.*\b3\b"):
        retrieval.in_batch(TWO, np.ones((3, 2)))
    with pytest.raises(DataError, match="batch: "):
        retrieval.in_batch(TWO, TWO, batch=0)
