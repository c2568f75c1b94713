"""The structure benchmark: its distances, ranking, triplets and scores against plain references."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.similarity import structure
from benchmarks.similarity.distances import chamfer, earth_movers
from benchmarks.similarity.likeness import METRICS, cast, clouds, rank_correlation, scores, triplet_accuracy
from captionless import demo_world
from captionless.demo_world import WorldObject
from captionless.errors import DataError
from tests.embedded import unit


def some_points(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 3))


def plain_chamfer(a: np.ndarray, b: np.ndarray) -> float:
    there = sum(min(math.dist(p, q) ** 2 for q in b) for p in a) / len(a)
    back = sum(min(math.dist(p, q) ** 2 for p in a) for q in b) / len(b)
    return there + back


def plain_earth_movers(a: np.ndarray, b: np.ndarray) -> float:
    orders = itertools.permutations(range(len(b)))
    return min(sum(math.dist(p, b[j]) for p, j in zip(a, order, strict=True)) for order in orders) / len(a)


def test_chamfer_is_the_mean_squared_distance_there_and_back() -> None:
    assert chamfer(np.zeros((1, 3)), np.array([[1.0, 0, 0], [0, 2, 0]])) == pytest.approx(1 + (1 + 4) / 2)
    a, b = some_points(5, 0), some_points(7, 1)
    assert chamfer(a, b) == pytest.approx(plain_chamfer(a, b))
    assert chamfer(a, b) == pytest.approx(chamfer(b, a))


def test_earth_movers_distance_is_that_of_the_best_of_all_assignments() -> None:
    a, b = some_points(6, 2), some_points(6, 3)
    assert earth_movers(a, b) == pytest.approx(plain_earth_movers(a, b))
    assert earth_movers(a, a[::-1]) == 0
    # What is nearest is not always taken: one of the points must go far.
    line = np.array([[0.0, 0, 0], [1, 0, 0]])
    assert earth_movers(line, line + np.array([0.9, 0, 0])) == pytest.approx(0.9)
    with pytest.raises(DataError, match="6 points to 5"):
        earth_movers(a, b[:5])


def mean_ranks(values: list[float]) -> np.ndarray:
    """Ranks from 1; equal values share the mean of theirs."""
    return np.array([1 + sum(v < x for v in values) + (sum(v == x for v in values) - 1) / 2 for x in values])


def test_rank_correlation_is_positive_where_the_farther_are_less_alike() -> None:
    apart = [1, 2, 3, 5]
    assert rank_correlation(apart, [0.9, 0.8, 0.79, 0.1]) == pytest.approx(1)
    assert rank_correlation(apart, [0.1, 0.79, 0.8, 0.9]) == pytest.approx(-1)
    tied, alike = [1.0, 1, 2, 3, 3, 4], [0.5, 0.9, 0.7, 0.7, 0.1, 0.2]
    expected = np.corrcoef(mean_ranks(tied), mean_ranks([-v for v in alike]))[0, 1]
    assert rank_correlation(tied, alike) == pytest.approx(expected)


def test_triplet_accuracy_counts_ties_half() -> None:
    positive = np.array([[0.9, 0.5, 0.5, 0.2], [1.0, 1.0, 1.0, 1.0]])
    negative = np.array([[0.1, 0.5, 0.6, 0.1], [0.0, 0.0, 0.0, 2.0]])
    assert triplet_accuracy(positive, negative).tolist() == [2.5 / 4, 3 / 4]


def looks(item: WorldObject) -> set[tuple[object, ...]]:
    return {(p.color, None if p.texture is None else p.texture.texels.tobytes()) for p in item.mesh.parts}


@pytest.mark.parametrize("category", ["table", "mug"])
def test_triplets_change_appearance_or_structure_and_not_both(category: str) -> None:
    actors = cast(category, 4, 6)
    assert [tuple(t[:1]) for t in actors.triplets.tolist()] == [(0,), (2,), (4,)]
    for row in actors.triplets:
        anchor, positive, near, far = (actors.items[i] for i in row)
        assert anchor.attributes == positive.attributes
        assert anchor.mesh.vertices.tobytes() == positive.mesh.vertices.tobytes()
        assert not looks(anchor) & looks(positive)
        assert demo_world.attribute_distance(anchor.attributes, near.attributes) == 1
        assert far.attributes not in (anchor.attributes, near.attributes)
        for negative in (near, far):
            shared = looks(anchor) & looks(negative)
            assert len(shared) >= min(len(looks(anchor)), len(looks(negative))) - 1
            assert anchor.mesh.vertices.tobytes() != negative.mesh.vertices.tobytes()


def test_an_anchor_and_its_positive_are_sampled_apart() -> None:
    actors = cast("stool", 0, 2)
    points = clouds(actors, 0)
    (anchor, positive, near, _), *_ = actors.triplets
    assert not {p.tobytes() for p in points[anchor]} & {p.tobytes() for p in points[positive]}
    assert 0 < chamfer(points[anchor], points[positive]) < chamfer(points[anchor], points[near])


def test_scores_are_each_metrics_likeness_of_the_pairs() -> None:
    random = np.random.default_rng(5)
    views = unit(random.standard_normal((3, 2, 8))).astype(np.float32)
    landmarks = unit(random.standard_normal((4, 8))).astype(np.float32)
    points = random.standard_normal((3, 6, 3))
    pairs = np.array([[2, 0], [0, 1]])
    found = dict(zip(METRICS, scores(views, landmarks, points, pairs), strict=True))
    for n, (i, j) in enumerate(pairs):
        by_image = (np.mean([views[i, r] @ views[j, r] for r in range(2)]) + 1) / 2
        apart = [np.linalg.norm(landmarks @ views[i, r] - landmarks @ views[j, r]) for r in range(2)]
        by_text = 1 / (1 + np.mean(apart))
        assert found["I2I"][n] == pytest.approx(by_image, abs=1e-6)
        assert found["(I2L)²"][n] == pytest.approx(by_text, abs=1e-6)
        assert found["mean of both"][n] == pytest.approx((by_image + by_text) / 2, abs=1e-6)
        assert found["Chamfer"][n] == pytest.approx(-plain_chamfer(points[i], points[j]))
        assert found["EMD"][n] == pytest.approx(-plain_earth_movers(points[i], points[j]))


def test_real_objects_are_answered_for() -> None:
    # in a process of its own, whose numbers of objects and views are smaller
    code = (
        "from benchmarks.similarity import likeness; likeness.OBJECTS, likeness.VIEWS = 4, 3; "
        "print(likeness.answers('stool', 0).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ranking, near, far = json.loads(done.stdout)
    assert all(-1 <= r <= 1 for r in ranking)
    assert set(near) <= {0, 0.5, 1}
    assert far[METRICS.index("Chamfer")] == far[METRICS.index("EMD")] == 1


def test_the_report_shows_means_and_deviations_and_who_is_ahead() -> None:
    figures = np.zeros((3, len(demo_world.CLASSES), 3, len(METRICS)))
    figures[:, 0, 0, METRICS.index("I2I")] = 0.3, 0.5, 0.7
    figures[:, 1, 0, METRICS.index("(I2L)²")] = 0.2
    figures[:, 1, 0, METRICS.index("EMD")] = 0.3  # so (I2L)² is ahead of Chamfer alone
    text = structure.report(figures)
    assert (
        f"| {demo_world.CLASSES[0]} | 0.50 ± 0.20 | 0.00 ± 0.00 | 0.00 ± 0.00 | 0.00 ± 0.00 | 0.00 ± 0.00 |\n" in text
    )
    assert "| **mean** | 0.03 ± 0.01 | 0.01 ± 0.00 | 0.00 ± 0.00 | 0.00 ± 0.00 | 0.02 ± 0.00 |\n" in text
    assert "I2I in 1, (I2L)² in 0, mean of both in 0" in " ".join(text.split())
    assert max(len(line) for line in text.splitlines()) <= 120
