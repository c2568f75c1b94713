"""The figures beside scikit-learn's, on scores without ties; and where there are ties, what ours say and why.

With ties scikit-learn takes whichever class comes first, or shares a place: the plain loops of `reference` rank the
right answer last, and `test_zero_shot` and `test_retrieval` hold the figures to them.
"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from captionless.eval import retrieval, zero_shot

from . import reference


@pytest.mark.filterwarnings("ignore:A single label was found")
@pytest.mark.parametrize("templates", [1, 5])
@pytest.mark.parametrize("classes", [1, 2, 15])
def test_zero_shot(classes: int, templates: int) -> None:
    rng = np.random.default_rng(classes)
    texts = rng.normal(size=(classes, templates, 32)).astype(np.float32)
    labels = rng.integers(0, max(1, classes - 2), size=300)  # two classes have no object
    shapes = 2.5 * reference.unit(texts.mean(axis=1))[labels] + rng.normal(size=(300, 32))
    shapes = shapes.astype(np.float32)
    found = zero_shot.evaluate(shapes, texts, labels, ks=(1, 5))
    means = reference.unit(reference.unit(texts).mean(axis=1))
    scores = reference.unit(shapes) @ means.T
    predicted = scores.argmax(axis=1)
    every = list(range(classes))
    assert found["top1"] == pytest.approx(metrics.accuracy_score(labels, predicted), abs=1e-12)
    assert found["confusion"].tolist() == metrics.confusion_matrix(labels, predicted, labels=every).tolist()
    present = sorted(set(labels.tolist()))
    recall = metrics.recall_score(labels, predicted, labels=every, average=None, zero_division=np.nan)
    np.testing.assert_allclose(found["per_class"], recall, atol=1e-12)
    recalled = metrics.recall_score(labels, predicted, labels=present, average="macro")
    assert found["class_mean"] == pytest.approx(recalled, abs=1e-12)
    if classes > 5:
        top5 = metrics.top_k_accuracy_score(labels, scores, k=5, labels=every)
        assert found["top5"] == pytest.approx(top5, abs=1e-12)
        assert found["top1"] < found["top5"] < 1
    else:
        assert found["top5"] == 1


def test_retrieval() -> None:
    rng = np.random.default_rng(4)
    items, queries = rng.normal(size=(90, 16)), rng.normal(size=(70, 16))
    relevant = rng.random((70, 90)) < 0.05
    relevant[0] = False  # has no answer and is left out
    relevant[1:, 0] |= ~relevant[1:].any(axis=1)
    found = retrieval.gallery(queries, items, relevant)
    scores = reference.unit(queries) @ reference.unit(items).T
    average = [metrics.average_precision_score(r, s) for r, s in zip(relevant[1:], scores[1:], strict=True)]
    assert found["map"] == pytest.approx(np.mean(average), abs=1e-12)
    assert found["queries"] == 69
    own = rng.integers(0, 90, size=70)
    found = retrieval.gallery(queries, items, own)
    for k in (1, 5, 10):
        expected = metrics.top_k_accuracy_score(own, scores, k=k, labels=np.arange(90))
        assert found[f"recall@{k}"] == pytest.approx(expected, abs=1e-12)
    reciprocal = metrics.label_ranking_average_precision_score(np.eye(90, dtype=bool)[own], scores)
    assert found["map"] == pytest.approx(reciprocal, abs=1e-12)


def test_duplicates_are_where_we_part() -> None:
    """Of two equal classes scikit-learn takes one; ours finds neither."""
    texts = np.eye(4)[[0, 0, 1, 2]]
    shapes, labels = np.eye(4)[[0, 0, 1, 2]], [0, 1, 2, 3]
    scores = shapes @ texts.T
    assert metrics.accuracy_score(labels, scores.argmax(axis=1)) == 0.75
    assert zero_shot.evaluate(shapes, texts, labels)["top1"] == 0.5
