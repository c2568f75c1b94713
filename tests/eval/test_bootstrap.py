"""Intervals over test objects, against plain loops over the same resamples and against a truth that is known."""

from __future__ import annotations

from fractions import Fraction
from statistics import mean

import numpy as np
import pytest

from captionless.errors import DataError
from captionless.eval import bootstrap
from captionless.eval.outcomes import Answers, Outcomes, answers, grouped


def drawn(objects: int, seed: int, resamples: int) -> np.ndarray:
    return np.concatenate(list(bootstrap.counts(objects, seed, resamples)))


def test_every_resample_draws_as_many_objects_as_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = drawn(30, 0, 50)
    assert whole.shape == (50, 30)
    assert (whole.sum(axis=1) == 30).all()
    monkeypatch.setattr(bootstrap, "_DRAWS", 7 * 30)  # blocks do not matter
    assert np.array_equal(drawn(30, 0, 50), whole)
    assert not np.array_equal(drawn(30, 1, 50), whole)


def test_draws_are_the_same_on_every_machine_and_uniform() -> None:
    assert drawn(6, 0, 3).tolist() == [[1, 0, 0, 3, 0, 2], [1, 4, 1, 0, 0, 0], [3, 0, 0, 0, 2, 1]]
    counts = drawn(10, 3, 20_000).sum(axis=0)
    assert np.abs(counts / 20_000 - 1).max() < 0.03  # four standard deviations are 0.027


def test_figures_equal_a_plain_loop_over_the_same_resamples() -> None:
    rng = np.random.default_rng(0)
    labels = np.array([0, 2, 2, 1, 0, 2, 4, 2, 1, 0, 4, 2])  # class 3 has no object, and a resample may miss others
    ranks = rng.integers(1, 7, size=(12, 3))  # three views of each object
    kept = Outcomes(labels, {"zero_shot": ranks, "gallery/a": ranks})
    paths = [("zero_shot", "top1"), ("zero_shot", "top5"), ("zero_shot", "class_mean"), ("gallery", "a", "map")]
    found = bootstrap.figures([a for p in paths if (a := answers(kept, p))], labels, seed=5, resamples=40)
    for resample, count in enumerate(drawn(12, 5, 40)):
        chosen = [i for i, times in enumerate(count) for _ in range(times)]
        assert found[resample, 0] == pytest.approx(mean(float(r == 1) for i in chosen for r in ranks[i]), abs=1e-12)
        assert found[resample, 1] == pytest.approx(mean(float(r <= 5) for i in chosen for r in ranks[i]), abs=1e-12)
        by_class = [[float(r == 1) for i in chosen if labels[i] == c for r in ranks[i]] for c in range(5)]
        assert found[resample, 2] == pytest.approx(mean(mean(hits) for hits in by_class if hits), abs=1e-12)
        assert found[resample, 3] == pytest.approx(mean(1 / r for i in chosen for r in ranks[i]), abs=1e-7)
    missed = [len({labels[i] for i in np.flatnonzero(count)}) < 4 for count in drawn(12, 5, 40)]
    assert any(missed)


def test_objects_with_unequal_numbers_of_pictures() -> None:
    """The figure of a resample is over all pictures of its objects, however many each has; some have none."""
    of = np.array([0, 0, 0, 1, 3, 3, 4, 4, 4, 4])
    ranks = np.array([1, 2, 1, 3, 1, 1, 9, 1, 1, 2])
    listed = np.array([[1, 4, 0], [2, 0, 0], [0, 0, 0], [1, 2, 3], [5, 0, 0]])
    kept = Outcomes(
        np.array([0, 0, 1, 1, 1]),
        {"gallery/a": grouped(ranks, of, 5), "gallery/b": listed},
        lists=frozenset({"gallery/b"}),
    )
    paths = [("gallery", way, name) for way in "ab" for name in ("recall@1", "map")]
    found = bootstrap.figures([a for p in paths if (a := answers(kept, p))], kept.labels, seed=1, resamples=60)
    average = {0: (1 + 2 / 4) / 2, 1: 1 / 2, 3: 1.0, 4: 1 / 5}
    for figures, count in zip(found, drawn(5, 1, 60), strict=True):
        queries = [int(r) for i, times in enumerate(count) for _ in range(times) for r in ranks[of == i]]
        asked = [i for i, times in enumerate(count) for _ in range(times) if i in average]
        wanted = [
            mean(float(r == 1) for r in queries), mean(1 / r for r in queries),
            mean(float(listed[i, 0] == 1) for i in asked), mean(average[i] for i in asked),
        ] if queries else [0] * 4  # fmt: skip
        assert figures == pytest.approx(wanted, abs=1e-7)


def test_sums_are_exact() -> None:
    """Reciprocal ranks too are whole numbers, so that the order of summation changes nothing."""
    rng = np.random.default_rng(1)
    kept = Outcomes(np.zeros(500, int), {"gallery/a": rng.integers(1, 500, size=(500, 1))})
    own = answers(kept, ("gallery", "a", "map"))
    assert own is not None
    found = bootstrap.figures([own], kept.labels, seed=0, resamples=20)[:, 0]
    for figure, count in zip(found, drawn(500, 0, 20), strict=True):
        exact = Fraction(sum(int(c) * int(v) for c, v in zip(count, own.values, strict=True)), 500 * own.unit)
        assert figure == float(exact)


def test_the_interval_is_made_of_ranked_figures() -> None:
    figures = np.random.default_rng(2).permutation(np.arange(1, 10_000))  # 1 .. 9999
    assert bootstrap.interval(figures) == (250, 9750)
    with pytest.raises(DataError, match=r"bootstrap: .*\b10\b"):
        bootstrap.interval(np.zeros(10))


@pytest.mark.parametrize("views", [1, 4])
def test_the_truth_is_in_95_of_100_intervals(views: int) -> None:
    """Objects of which some are found more easily; an object's views go together, so they count as one."""
    rng = np.random.default_rng(7)
    ease = rng.beta(2, 1, size=(200, 120, 1))  # 200 test sets of 120 objects; the true share is 2/3
    hits = (rng.random((200, 120, views)) < ease).sum(axis=2)
    if views == 4:
        hits = np.where(rng.random((200, 120)) < 0.5, 4 * (hits > 2), hits)  # views that agree
    truth = float(hits.mean() / views) if views == 4 else 2 / 3
    inside = 0
    for test_set in hits:
        figures = bootstrap.figures([Answers(test_set, np.full(120, views))], np.zeros(120, int), seed=1, resamples=999)
        low, high = bootstrap.interval(figures[:, 0])
        inside += low <= truth <= high
    assert 182 <= inside <= 198  # 190 expected, standard deviation 3.1


def test_views_of_an_object_are_no_objects_of_their_own() -> None:
    """Ten views that always agree tell no more than one."""
    hits = (np.random.default_rng(3).random(100) < 0.6).astype(int)
    one, ten = (
        bootstrap.interval(bootstrap.figures([Answers(hits * views, np.full(100, views))], np.zeros(100, int), 0)[:, 0])
        for views in (1, 10)
    )
    assert one == ten


def test_p_is_two_sided_and_agrees_with_the_interval() -> None:
    assert bootstrap.p_value(np.full(9999, 0.1)) == 2 / 10_000
    assert bootstrap.p_value(np.zeros(9999)) == 1
    assert bootstrap.p_value(np.full(9999, 1e-17)) == 1  # what two orders of summation leave is no difference
    for count in (100, 249, 250, 400):  # resamples at or below 0
        differences = np.concatenate([np.full(count, -1.0), np.full(9999 - count, 1.0)])
        assert bootstrap.p_value(differences) == 2 * (count + 1) / 10_000
        assert (bootstrap.p_value(differences) <= 0.05) == (bootstrap.interval(differences)[0] > 0)


def test_unlike_answers_are_refused() -> None:
    with pytest.raises(DataError, match=r"bootstrap: .*\b3 objects.*\b2\b"):
        bootstrap.figures([Answers(np.ones(2, int), np.ones(2, int))], np.zeros(3, int), 0)
    with pytest.raises(DataError, match=r"bootstrap: \d+ objects"):
        bootstrap.figures([Answers(np.full(3, 1 << 52), np.ones(3, int))], np.zeros(3, int), 0)
