from __future__ import annotations

import numpy as np
import pytest

from captionless.errors import DataError
from captionless.eval import classification, zero_shot

from . import reference


def loop(shapes: np.ndarray, texts: np.ndarray, labels: np.ndarray, ks: tuple[int, ...]) -> dict:
    """Scores one by one, ranks by sorting, classes averaged by hand."""
    if texts.ndim == 3:
        texts = np.stack([reference.unit(t).mean(axis=0) for t in texts])
    hits = {k: [] for k in ks}
    per_class: dict[int, list[int]] = {}
    for shape, label in zip(reference.unit(shapes), labels, strict=True):
        order = reference.ranked([float(shape @ text) for text in reference.unit(texts)], {int(label)})
        for k in ks:
            hits[k].append(int(label) in order[:k])
        per_class.setdefault(int(label), []).append(order[0] == label)
    figures = {f"top{k}": float(np.mean(h)) for k, h in hits.items()}
    means = {c: float(np.mean(h)) for c, h in per_class.items()}
    return figures | {"class_mean": float(np.mean(list(means.values()))), "means": means}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("templates", [None, 3])
def test_equals_plain_loop(dtype: type, templates: int | None) -> None:
    rng = np.random.default_rng(1)
    texts = rng.normal(size=(9, 16) if templates is None else (9, templates, 16))
    labels = rng.integers(0, 7, size=80)  # classes 7 and 8 have no sample
    means = texts if templates is None else texts.mean(axis=1)
    shapes = (0.4 * means[labels] + rng.normal(size=(80, 16))).astype(dtype)
    found = zero_shot.evaluate(shapes, texts, labels, ks=(1, 2, 5))
    wanted = loop(shapes, texts, labels, (1, 2, 5))
    for key in ("top1", "top2", "top5", "class_mean"):
        assert found[key] == pytest.approx(wanted[key], abs=1e-12)
    assert 0.2 < found["top1"] < found["top2"] < found["top5"] < 1  # the case is neither trivial nor lost
    for c in range(9):
        assert found["per_class"][c] == pytest.approx(wanted["means"].get(c, np.nan), nan_ok=True)
    assert found["confusion"].sum(axis=1).tolist() == np.bincount(labels, minlength=9).tolist()
    assert np.trace(found["confusion"]) / 80 == pytest.approx(found["top1"])
    assert np.array_equal(found["support"], found["confusion"].sum(axis=1))


def test_rows_need_not_be_normalised_and_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    shapes, texts, labels = rng.normal(size=(50, 8)), rng.normal(size=(5, 8)), rng.integers(0, 5, 50)
    whole = zero_shot.evaluate(shapes, texts, labels)
    monkeypatch.setattr(zero_shot, "_ROWS", 7)
    scaled = zero_shot.evaluate(shapes * rng.uniform(0.1, 9, size=(50, 1)), texts * 3, labels)
    assert scaled["confusion"].tolist() == whole["confusion"].tolist()
    assert scaled["top5"] == whole["top5"] == 1


def test_ties_go_against_the_method() -> None:
    texts = np.eye(3)[[0, 0, 1, 2]]  # classes 0 and 1 share one text
    found = zero_shot.evaluate(np.eye(3)[[0, 0, 1]], texts, [0, 1, 2], ks=(1, 2))
    assert found["top1"] == pytest.approx(1 / 3)
    assert found["top2"] == 1
    assert found["confusion"].tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_a_collapsed_encoder_scores_nothing() -> None:
    found = zero_shot.evaluate(np.ones((6, 4)), np.ones((3, 4)), [0, 1, 2, 0, 1, 2])
    assert found["top1"] == 0
    assert found["class_mean"] == 0
    assert found["top5"] == 1


def test_templates_are_normalised_before_they_are_averaged() -> None:
    texts = np.array([[[100.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]])
    assert zero_shot.class_vectors(texts)[0] == pytest.approx([0.5**0.5, 0.5**0.5])


def test_one_class() -> None:
    found = zero_shot.evaluate([[1.0, 2.0]], [[3.0, 4.0]], [0])
    assert found["top1"] == found["top5"] == found["class_mean"] == 1


def test_chance() -> None:
    assert classification.chance(16) == {"top1": 1 / 16, "top5": 5 / 16, "class_mean": 1 / 16}
    assert classification.chance(3)["top5"] == 1


ONES = np.ones((2, 3))


@pytest.mark.parametrize(
    ("embeddings", "texts", "labels", "named"),
    [
        ([[1, 1, 1], [1, np.nan, 1]], ONES, [0, 1], "embeddings: row 1 .*NaN"),
        (ONES, [[1, np.inf, 1]], [0, 0], "class_texts: row 0 .*inf"),
        (ONES, np.zeros((2, 3)), [0, 1], "class_texts: row 0 .*zeros"),
        (ONES, np.ones((2, 4)), [0, 1], r"embeddings and class_texts: .*\b3\b.*\b4\b"),
        (ONES, ONES, [0], r"labels: expected 2\b"),
        (ONES, ONES, [0, 2], r"labels: row 1 is 2\b.*\b0 to 1\b"),
        (ONES, ONES, [0.0, 1.0], r"labels: expected 2\b"),
        (np.ones((0, 3)), ONES, [], "embeddings: .*empty"),
        (np.ones(3), ONES, [0], "embeddings: .*2 dimensions"),
        (np.array([["a"]]), ONES, [0], "embeddings: "),
        (ONES, [[[1, 0, 0], [-1, 0, 0]]], [0, 0], "templates: row 0 .*zeros"),
    ],
    ids=[
        "nan",
        "infinite-text",
        "zero-text",
        "dimensions",
        "number-of-labels",
        "label-range",
        "float-labels",
        "empty",
        "one-axis",
        "strings",
        "templates-cancel",
    ],
)
def test_bad_input_is_reported(embeddings: object, texts: object, labels: object, named: str) -> None:
    with pytest.raises(DataError, match=named) as caught:
        zero_shot.evaluate(embeddings, texts, labels)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_ks_are_checked() -> None:
    with pytest.raises(DataError, match="ks: "):
        zero_shot.evaluate(ONES, ONES, [0, 1], ks=(0,))
