from __future__ import annotations

import numpy as np
import pytest

from captionless.errors import DataError
from captionless.eval import classification


def plain(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float, list[float]]:
    """Overall accuracy, class mean and accuracy by class, of scores without ties."""
    found = np.argmax(scores, axis=1) == labels
    per_class = [found[labels == c].mean() if (labels == c).any() else np.nan for c in range(scores.shape[1])]
    return float(found.mean()), float(np.nanmean(per_class)), per_class


def test_accuracies_equal_plain_numpy() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(6, size=200, p=[0.5, 0.2, 0.1, 0.1, 0.1, 0.0])  # unequal, and class 5 has no object
    scores = rng.normal(size=(200, 6)).astype(np.float32)
    scores[np.arange(200), labels] += 1.0
    given = scores.copy()
    tree = classification.split_figures(scores, labels, list("abcdef"))
    overall, mean, per_class = plain(scores, labels)
    assert tree["overall_accuracy"] == pytest.approx(overall)
    assert tree["class_mean_accuracy"] == pytest.approx(mean)
    assert abs(overall - mean) > 0.005  # the case tells them apart
    assert list(tree["per_class"].values())[:5] == pytest.approx(per_class[:5])
    assert tree["per_class"]["f"] is None
    assert list(tree["objects_per_class"].values()) == np.bincount(labels, minlength=6).tolist()
    best = np.argsort(-scores, axis=1)[:, :5]
    assert tree["top5"] == pytest.approx(np.mean([label in row for label, row in zip(labels, best, strict=True)]))
    confusion = np.array(tree["confusion"])
    assert confusion.trace() == round(200 * overall)
    assert all(confusion[t, p] == ((labels == t) & (scores.argmax(1) == p)).sum() for t in range(6) for p in range(6))
    np.testing.assert_array_equal(scores, given)


def test_a_tie_is_a_miss() -> None:
    tree = classification.split_figures(np.zeros((4, 3)), [0, 1, 2, 0], ["a", "b", "c"])
    assert tree["overall_accuracy"] == 0
    assert np.trace(tree["confusion"]) == 0


@pytest.mark.parametrize(
    ("scores", "labels", "named"),
    [
        ([[1, 2], [np.nan, 1]], [0, 1], r"scores: row 1 .*NaN"),
        ([[1, 2], [np.inf, 1]], [0, 1], r"scores: row 1 .*infinity"),
        ([[1, 2], [2, 1]], [0, 2], r"labels: row 1 is 2\b.*\b0 to 1\b"),
        ([[1, 2], [2, 1]], [0], r"labels: expected 2\b"),
        (np.zeros((0, 2)), [], "scores: .*empty"),
    ],
    ids=["nan", "infinite", "label-range", "number-of-labels", "empty"],
)
def test_bad_input_is_reported(scores: object, labels: object, named: str) -> None:
    with pytest.raises(DataError, match=named):
        classification.evaluate(scores, labels)  # type: ignore[arg-type]


def test_the_table_shows_chance_the_splits_and_every_class() -> None:
    tree = classification.split_figures([[2, 1], [2, 1], [1, 2]], [0, 1, 1], ["bed", "sofa"])
    none = classification.split_figures([[2, 1]], [0], ["bed", "sofa"])
    sizes = {"training": 9, "validation": 3, "test": 1}
    found = classification.figures(["bed", "sofa"], sizes, {"validation": tree, "test": none})
    assert classification.table(found).splitlines() == [
        "| split | clouds | overall accuracy | class-mean accuracy | top-5 |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| chance |  | 50.0 | 50.0 | 100.0 |",
        "| validation | 3 | 66.7 | 75.0 | 100.0 |",
        "| test | 1 | 100.0 | 100.0 | 100.0 |",
        "",
        "| class | clouds | validation | clouds | test |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| bed | 1 | 100.0 | 1 | 100.0 |",
        "| sofa | 2 | 50.0 | 0 | – |",
    ]
    assert classification.percentages(found)["validation/overall_accuracy"] == 66.7
