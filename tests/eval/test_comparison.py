"""Runs side by side: what is tested how, what may not stand together, and what is said of it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from captionless.errors import DataError, SpecError
from captionless.eval import bootstrap, comparison, comparison_text, papers
from captionless.eval.comparison import ComparedRow, Setting
from captionless.eval.outcomes import Outcomes, answers

TOP1, TOP5 = comparison.chosen(["zero_shot/top1", "zero_shot/top5"])
MAP = comparison.chosen(["gallery/image_to_shape/map"])[0]
PROTOCOLS = {"zero_shot": {"prompt": "a {}"}, "gallery": {"choice of views": "one"}}
LIKE = Setting("digest", "some.npz", ["a", "b"], 60, ("demo", ""), "clip", ["a {}"], PROTOCOLS)
LABELS = np.arange(60) % 2


def row(name: str, *found: list[int], setting: Setting = LIKE, **changes: Any) -> ComparedRow:
    """A row of runs whose ranks, in zero-shot and retrieval, are `found`."""
    ranks = [np.resize(of, 60)[:, None] for of in found]
    kept = [Outcomes(LABELS, {"zero_shot": r, "gallery/image_to_shape": r}, "digest") for r in ranks]
    figures = {}
    for column in (TOP1, TOP5, MAP):
        values = [a.values.mean() / a.unit for one in kept if (a := answers(one, column.path))]
        std = float(np.std(values, ddof=1)) if len(values) > 1 else None
        figures[column.path] = {"mean": float(np.mean(values)), "std": std, "n": len(values)}
    return replace(ComparedRow(name, setting, figures, list(range(len(found))), kept), **changes)


def cell(found: dict[str, Any], table: int, name: str, path: str) -> dict[str, Any]:
    (line,) = [line for line in found["tables"][table]["rows"] if line["name"] == name]
    return line["cells"][path]  # type: ignore[no-any-return]


def test_mcnemar_by_hand_and_by_the_binomial_sum() -> None:
    mine = np.array([1] * 9 + [0] * 1 + [1] * 20)
    theirs = np.array([0] * 9 + [1] * 1 + [1] * 20)
    found = comparison.mcnemar(mine, theirs)
    assert (found["only_this"], found["only_baseline"]) == (9, 1)
    assert found["p"] == pytest.approx(2 * (1 + 10) / 2**10)  # of ten, one or none
    for here, there in ((0, 5), (12, 4), (7, 7)):
        values = np.array([[1, 0]] * here + [[0, 1]] * there + [[1, 1]] * 3)
        wanted = min(1.0, 2 * stats.binom.cdf(min(here, there), here + there, 0.5))
        assert comparison.mcnemar(values[:, 0], values[:, 1])["p"] == pytest.approx(wanted)
    assert comparison.mcnemar(mine, mine)["p"] == 1


def test_holm_by_hand() -> None:
    assert comparison.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert comparison.holm([0.5, 0.9, 0.6]) == [1, 1, 1]
    assert comparison.holm([0.02]) == [0.02]
    assert comparison.holm([]) == []


def test_single_runs_are_told_apart_by_mcnemar_and_means_by_the_paired_bootstrap() -> None:
    rng = np.random.default_rng(0)
    good, poor = rng.integers(1, 3, 60).tolist(), rng.integers(1, 6, 60).tolist()
    other = rng.integers(1, 6, 60).tolist()
    found = comparison.compare([row("base", poor), row("one", good), row("two", good, other)], [TOP1, MAP])
    one = cell(found, 0, "one", "zero_shot/top1")["difference"]
    hits = [np.array(ranks) == 1 for ranks in (good, poor)]
    assert one["test"] == "McNemar, exact"
    assert one["p"] == pytest.approx(comparison.mcnemar(*hits)["p"], abs=1e-6)
    assert one["mean"] == pytest.approx(hits[0].mean() - hits[1].mean(), abs=1e-6)
    counts = np.concatenate(list(bootstrap.counts(60, 0)))
    gap = counts @ (hits[0].astype(int) - hits[1]) / 60
    assert (one["low"], one["high"]) == pytest.approx(bootstrap.interval(gap), abs=1e-6)
    two = cell(found, 0, "two", "zero_shot/top1")["difference"]
    both = counts @ ((hits[0].astype(float) + (np.array(other) == 1)) / 2 - hits[1]) / 60
    assert two["test"] == "paired bootstrap"
    assert two["p"] == pytest.approx(bootstrap.p_value(both), abs=1e-6)
    reciprocal = cell(found, 1, "one", "gallery/image_to_shape/map")["difference"]
    assert reciprocal["test"] == "paired bootstrap"
    tested = [
        cell(found, table, name, path)["difference"]
        for table, path in enumerate(("zero_shot/top1", "gallery/image_to_shape/map"))
        for name in ("one", "two")
    ]
    assert found["tests"] == 4  # one family, whatever table they are in
    assert [t["p_holm"] for t in tested] == pytest.approx(comparison.holm([t["p"] for t in tested]), abs=1e-5)
    assert "difference" not in cell(found, 0, "base", "zero_shot/top1")


def test_what_is_significant_is_said_and_what_is_not() -> None:
    same, worse = [1] * 58 + [2] * 2, [1] * 20 + [2] * 40
    found = comparison.compare([row("good", same), row("bad", worse), row("alike", same)], [TOP1])
    assert found["significant"] == 1
    said = comparison_text.conclusions(found)
    assert re.match(r"1 of 2 .*0\.05.*Holm", said[0])
    assert [s for s in said if s.startswith("zero-shot top-1: bad −63.3 ") and s.endswith("good, p < 0.001.")]
    assert said[1].startswith("The others are too small")
    assert "one seed" in said[-1]
    table = comparison_text.markdown(found)
    assert "| good (baseline) | 1 | 96.7 |" in table
    assert "<br>−63.3 [−75.0, −51.7] p < 0.001 * |" in table
    assert "<br>+0.0 [+0.0, +0.0] p 1.00 |" in table
    none = comparison_text.conclusions(comparison.compare([row("a", same), row("b", same)], [TOP1]))
    assert none[0].startswith("None of 1 ")


def test_a_difference_that_seeds_alone_would_make_is_called_so() -> None:
    wide = [[1] * 60, [1] * 20 + [2] * 40]
    found = comparison.compare([row("base", [2] * 60, [2] * 60), row("wide", *wide)], [TOP1])
    (said,) = [text for text in comparison_text.conclusions(found) if text.startswith("zero-shot top-1: wide")]
    assert "seeds alone" in said
    assert "±" in comparison_text.conclusions(found)[-1]


def test_only_like_stands_beside_like() -> None:
    rows = [
        row("mine", [1, 2]),
        row("prompt", [1, 2], setting=replace(LIKE, protocols=PROTOCOLS | {"zero_shot": {"prompt": "b {}"}})),
        row("data", [1, 2], setting=replace(LIKE, test="another")),
        row("model", [1, 2], setting=replace(LIKE, clip_digest="another")),
        row("views", [1, 2], setting=replace(LIKE, protocols=PROTOCOLS | {"gallery": {"choice of views": "all"}})),
        row("elsewhere", [1, 2], setting=replace(LIKE, dataset="a/copy.npz")),
    ]
    found = comparison.compare(rows, [TOP1, MAP])
    members = [[line["name"] for line in table["rows"]] for table in found["tables"]]
    assert members == [
        ["mine", "views", "elsewhere"], ["prompt"], ["data"], ["model"],
        ["mine", "prompt", "elsewhere"], ["data"], ["model"], ["views"],
    ]  # fmt: skip
    assert [re.match(r"(.+): .* for (.+): different (.+)", note).groups() for note in found["notes"]] == [
        ("zero-shot", "prompt", "prompt"),
        ("zero-shot", "data", "test set"),
        ("zero-shot", "model", "CLIP model"),
        ("image → shape", "data", "test set"),
        ("image → shape", "model", "CLIP model"),
        ("image → shape", "views", "choice of views"),
    ]
    assert found["tests"] == 4


def test_references_stand_once_and_are_not_tested() -> None:
    chance = row("chance", [1, 2], kind="reference", outcomes=[])
    found = comparison.compare([chance, row("a", [1, 2]), chance, row("b", [2, 1])], [TOP1])
    assert [line["name"] for line in found["tables"][0]["rows"]] == ["chance", "a", "b"]
    assert found["tests"] == 1
    assert found["tables"][0]["baseline"] == "a"


def test_without_ranks_nothing_is_tested_and_that_is_reported() -> None:
    found = comparison.compare([row("a", [1, 2]), row("b", [2, 1, 1], outcomes=[])], [TOP1])
    assert cell(found, 0, "b", "zero_shot/top1")["difference"] == {"mean": pytest.approx(1 / 6, abs=1e-6)}
    assert len(found["notes"]) == 1
    assert found["notes"][0].endswith(": b")
    assert comparison_text.conclusions(found) == ["No difference was tested."]
    assert "+16.7 (not tested)" in comparison_text.markdown(found)


def test_another_baseline() -> None:
    rows = [row("a", [1, 2]), row("b", [2, 1, 1]), row("c", [1], setting=replace(LIKE, test="another"))]
    found = comparison.compare(rows, [TOP1], baseline="b")
    assert cell(found, 0, "a", "zero_shot/top1")["difference"]["mean"] < 0
    assert [n for n in found["notes"] if re.match(r"zero-shot: b .*\bc$", n)]
    with pytest.raises(SpecError, match=r'baseline bb: .*a, b, c.*"b"'):
        comparison.compare(rows, [TOP1], baseline="bb")


def test_bad_rows_are_reported() -> None:
    with pytest.raises(SpecError, match=r"^a: "):
        comparison.compare([row("a", [1]), row("a", [1])], [TOP1])
    with pytest.raises(DataError, match="no run"):
        comparison.compare([row("a", [1], kind="reference")], [TOP1])
    with pytest.raises(SpecError, match=r"figure zero_shot/top2: .*zero_shot/top1, "):
        comparison.chosen(["zero_shot/top2"])
    other = Outcomes(1 - LABELS, {"zero_shot": np.ones((60, 1), int)}, "digest")
    with pytest.raises(DataError, match=r"^b: .*\ba$"):
        comparison.compare([row("a", [1]), row("b", [1], outcomes=[other])], [TOP1])


CLASSES = sorted(papers._MODELNET40_CLASSES.split())
THEIRS = Setting("d", "m.npz", CLASSES, 2468, papers.CLIP, "clip", papers.TEMPLATES, PROTOCOLS)


def test_the_papers_figures_stand_beside_their_like_alone() -> None:
    mine = ComparedRow("mine", THEIRS, {TOP1.path: {"mean": 0.6, "std": None, "n": 1}}, [0])
    found = comparison.compare([mine], [TOP1, TOP5], beside_papers=True)
    lines = found["tables"][0]["rows"][1:]
    assert [(line["name"], line["kind"]) for line in lines] == [("I2I", "paper"), ("(I2L)²", "paper"), ("AVG", "paper")]
    assert cell(found, 0, "AVG", "zero_shot/top1") == {"mean": 0.659, "std": None, "n": 1}
    assert cell(found, 0, "AVG", "zero_shot/top5")["mean"] == 0.87
    assert "| AVG (Sbrolli & Matteucci, arXiv 2406.02202) |  | 65.9 | 87.0 |" in comparison_text.markdown(found)
    assert not found["notes"][1:]
    for changed, reason in (
        (replace(THEIRS, templates=["a {}"]), '"a point cloud of a {}"'),
        (replace(THEIRS, clip=("captionless-demo", "")), "captionless-demo"),
        (replace(THEIRS, clip=("ViT-B-32", "openai")), "ViT-B-32/openai"),
        (replace(THEIRS, objects=9843), "2,468 test objects of ModelNet40, these for 9,843"),
        (replace(THEIRS, classes=CLASSES[1:]), "39 classes"),
        (replace(THEIRS, classes=papers._SCANOBJECTNN_CLASSES.split()), "ScanObjectNN"),
    ):
        found = comparison.compare([replace(mine, setting=changed)], [TOP1], beside_papers=True)
        assert [line["kind"] for line in found["tables"][0]["rows"]] == ["run"]
        assert any(note.startswith("papers: none shown beside mine: ") and reason in note for note in found["notes"])
