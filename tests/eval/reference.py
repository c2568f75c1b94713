"""Plain float64 loops that the figures are held against; ties rank the relevant item last."""

from __future__ import annotations

from math import comb

import numpy as np


def unit(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, dtype=np.float64)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def ranked(scores: list[float], relevant: set[int], tie: float = 1e-9) -> list[int]:
    """Items in rank order: a relevant item stands behind everything irrelevant that scores as much."""
    order = sorted(set(range(len(scores))) - relevant, key=lambda j: -scores[j])
    for j in sorted(relevant, key=lambda j: -scores[j]):
        place = 0
        for position, other in enumerate(order):
            if other in relevant or scores[other] >= scores[j] - tie:
                place = position + 1
        order.insert(place, j)
    return order


def gallery(queries: np.ndarray, items: np.ndarray, relevant: list[set[int]], ks: tuple[int, ...]) -> dict:
    first, average = [], []
    for query, wanted in zip(unit(queries), relevant, strict=True):
        if not wanted:
            continue
        order = ranked([float(query @ item) for item in unit(items)], wanted)
        places = [place for place, j in enumerate(order, start=1) if j in wanted]
        first.append(places[0])
        average.append(sum((i + 1) / place for i, place in enumerate(places)) / len(places))
    figures = {f"recall@{k}": sum(place <= k for place in first) / len(first) for k in ks}
    return figures | {"map": sum(average) / len(average), "median_rank": float(np.median(first))}


def random_recall(n: int, m: int, k: int) -> float:
    return 1 - comb(n - m, k) / comb(n, k)
