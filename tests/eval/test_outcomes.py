from __future__ import annotations

import json

import numpy as np
import pytest

from captionless.errors import DataError
from captionless.eval import measurement, outcomes
from captionless.eval.outcomes import Outcomes
from captionless.eval.protocol import Settings, TestSplit
from captionless.eval.trees import leaves
from tests.eval.test_results import shapes, world


@pytest.mark.parametrize("views", ["one", "all"])
def test_figures_follow_from_the_ranks(views: str) -> None:
    test = world(n=24, views=4)
    test = TestSplit(
        test.keys, test.classes, test.labels, test.views, test.class_texts, Settings(views=views)  # type: ignore[arg-type]
    )  # fmt: skip
    found = [measurement.evaluate_run(shapes(test, 0, 0.7), test), *measurement.clip_ceiling(test).values()]
    checked = set()
    for tree, kept in found:
        for path in leaves(tree):
            own = outcomes.answers(kept, path)
            if own is None:
                continue
            figure: object = tree
            for step in path:
                figure = figure[step]  # type: ignore[index]
            assert own.figure == pytest.approx(figure, abs=1e-6), path  # classes of eight: their mean is the mean
            checked.add("/".join(path[:1] + path[-1:]))
    assert checked == {
        "zero_shot/top1", "zero_shot/top5", "zero_shot/class_mean", "in_batch/top1", "in_batch/top5",
        "gallery/recall@1", "gallery/recall@5", "gallery/recall@10", "gallery/map",
    }  # fmt: skip


def test_in_batch_ranks_are_in_the_order_of_the_objects() -> None:
    test = world(n=24)
    spoilt = shapes(test, 0, 0.1)
    spoilt[5] = -spoilt[5]
    kept = measurement.evaluate_run(spoilt, test).outcomes
    assert kept.ranks["in_batch/image_to_shape"].argmax() == 5
    assert kept.ranks["gallery/image_to_shape"].argmax() == 5


GIVEN = Outcomes(
    np.array([0, 1, 1]),
    {"zero_shot": np.array([[1], [2], [300]]), "gallery/shape_to_image": np.array([[1, 4], [0, 0], [2, 0]])},
    "digest",
    frozenset({"gallery/shape_to_image"}),
)


def same(found: Outcomes) -> bool:
    ranks = {name: rank.tolist() for name, rank in found.ranks.items()}
    wanted = {name: rank.tolist() for name, rank in GIVEN.ranks.items()}
    about = (found.test, found.lists, found.labels.tolist()) == (GIVEN.test, GIVEN.lists, GIVEN.labels.tolist())
    return about and ranks == wanted


def test_what_is_written_reads_back_and_equal_outcomes_are_equal_bytes() -> None:
    data = outcomes.dumps(GIVEN)
    assert same(outcomes.loads(data, "x.npz"))
    assert outcomes.dumps(outcomes.loads(data, "x.npz")) == data
    document = outcomes.to_json(GIVEN)
    assert document["ranks"] == {"gallery/shape_to_image": "1 4, , 2", "zero_shot": "1, 2, 300"}
    assert same(outcomes.from_json(json.loads(json.dumps(document)), "x.json"))


@pytest.mark.parametrize(
    "changed",
    [{"labels": "0, x, 1"}, {"labels": "0, 1"}, {"ranks": {"zero_shot": "1, -2, 3"}}, {"lists": None}],
    ids=["label", "number-of-labels", "negative-rank", "lists"],
)
def test_other_documents_are_refused(changed: dict[str, object]) -> None:
    with pytest.raises(DataError):
        outcomes.from_json(outcomes.to_json(GIVEN) | changed, "x.json")


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b'{"ranks": 1}'], ids=["empty", "torn-zip", "json"])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(DataError, match=r"^x\.npz: [^\n]+$"):
        outcomes.loads(data, "x.npz")


@pytest.mark.parametrize(
    "ranks",
    [np.ones((2, 1), int), np.zeros((3, 1), int), np.ones(3, int), np.ones((3, 0), int), -np.ones((3, 1), int)],
    ids=["number-of-objects", "all-zero", "one-axis", "no-rank", "negative"],
)
def test_invalid_ranks_are_rejected(ranks: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"zero_shot: .*\b3 objects"):
        Outcomes(np.zeros(3, int), {"zero_shot": ranks})
