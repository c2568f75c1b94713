"""Tables of the classes: the same figures within the results and beside them, and small results of many classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from captionless.errors import DataError
from captionless.eval import class_tables, classification, measurement, report, results
from captionless.eval.outcomes import Outcomes
from captionless.eval.protocol import TestSplit
from captionless.store.table import TableReader, write_table
from tests.eval.evaluated import build, figures
from tests.eval.test_results import shapes, world


def measured(seed: int = 0, mode: str = "avg") -> results.EvaluatedRun:
    test = world()
    return results.EvaluatedRun(mode, seed, *measurement.evaluate_run(shapes(test, seed, 0.5), test))


def test_a_table_says_what_classification_does() -> None:
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 4, 60), rng.integers(0, 5, (60, 3)).astype(np.uint8)
    found = classification.summary(predicted + 1, predicted, labels, 6, (1,))
    table = class_tables.of_outcomes(Outcomes(labels, {"zero_shot": predicted + 1}, predicted=predicted), 6)
    assert table.confusion().tolist() == found["confusion"].tolist()
    assert table.support.tolist() == found["support"].tolist() == [*(3 * np.bincount(labels, minlength=6))]
    np.testing.assert_array_equal(table.accuracy, found["per_class"])
    for true in range(6):
        wrong = {other: count for other, count in enumerate(found["confusion"][true].tolist()) if other != true}
        expected = sorted(((o, c) for o, c in wrong.items() if c), key=lambda one: (-one[1], one[0]))
        assert table.errors_of(true) == expected
    again = class_tables.of_tree({"zero_shot": table.inline("abcdef")})
    assert again is not None
    assert again.cells.tolist() == table.cells.tolist()
    with pytest.raises(DataError, match="rerun eval"):
        class_tables.of_outcomes(Outcomes(labels, {"zero_shot": predicted + 1}), 6)


def test_large_tables_leave_the_figures_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    test, runs = world(), [measured(0), measured(1), measured(0, "uniform")]
    whole = figures(test, runs)
    assert whole.inline
    monkeypatch.setattr(class_tables, "INLINE", 4 * 4 * 5 - 1)
    beside = figures(test, runs)
    assert not beside.inline
    assert set(beside.tables) == {"clip_mean", "clip_single", "avg-seed0", "avg-seed1", "uniform-seed0"}

    def without(tree: object) -> object:
        if isinstance(tree, dict):
            left_out = ("per_class", "support", "confusion")
            return {key: without(value) for key, value in tree.items() if key not in left_out}
        return [without(item) for item in tree] if isinstance(tree, list) else tree

    assert beside.tree == without(whole.tree)
    for name, table in beside.tables.items():
        mode, _, seed = name.partition("-seed")
        tree = whole.tree["runs"][mode][seed] if seed else whole.tree[name]
        assert class_tables.of_tree(tree).cells.tolist() == table.cells.tolist()  # type: ignore[union-attr]
        assert tree["zero_shot"]["support"] == table.support.tolist()
    shown = report.ReportContext(chosen=("avg", 1), tables=beside.tables)
    pages = [report.render_report(results.build(test, found, {}), shown) for found in (whole, beside)]
    assert pages[0] == pages[1]


def test_tables_beside_the_results_are_read_with_their_names(tmp_path: Path) -> None:
    test, runs = world(), [measured(0), measured(1)]
    found = figures(test, runs)
    written = {}
    for name, (schema, rows) in class_tables.parquet(found.tables, test.classes).items():
        write_table(str(tmp_path / name), rows, schema)
        written[name] = TableReader(str(tmp_path / name)).read().to_pylist()
    assert tuple(written) == class_tables.NAMES
    assert len(written["per_class"]) == 4 * len(test.classes)
    for run, table in found.tables.items():
        rows = [row for row in written["per_class"] if row["run"] == run]
        assert [row["class"] for row in rows] == list(test.classes)
        assert [row["objects"] for row in rows] == table.support.tolist()
        assert rows[3]["accuracy"] is None
        assert [row["accuracy"] for row in rows[:3]] == table.accuracy[:3].tolist()
        matrix = np.zeros((4, 4), int)
        for row in written["confusion"]:
            if row["run"] == run:
                matrix[test.classes.index(row["true"]), test.classes.index(row["predicted"])] = row["count"]
        assert matrix.tolist() == table.confusion().tolist()


def test_results_of_many_classes_and_runs_are_small() -> None:
    """As many classes as the largest data set has, most of whose objects are taken for others."""
    rng, classes = np.random.default_rng(0), [f"category number {i}" for i in range(1156)]
    labels = rng.integers(0, 1150, 2500)
    views, texts = rng.normal(size=(2500, 2, 8)), rng.normal(size=(1156, 8))
    test = TestSplit([f"{i:032x}" for i in range(2500)], classes, labels, views, texts)
    runs = [
        results.EvaluatedRun(mode, seed, *measurement.evaluate_run(rng.normal(size=(2500, 8)), test))
        for mode in ("uniform", "avg")
        for seed in range(3)
    ]
    built = build(test, runs, {})
    assert len(results.dumps(built)) < 300_000
    assert len(built["figures"]["classes"]) == 1156
    assert set(classes[1150:]) <= set(built["figures"]["without_objects"])
