from __future__ import annotations

import json
from statistics import mean, stdev

import numpy as np
import pytest

from captionless.errors import DataError
from captionless.eval import bootstrap, class_tables, measurement, outcomes, results, retrieval, tables, zero_shot
from captionless.eval.protocol import Settings, TestSplit
from tests.eval.evaluated import build, figures

CLASSES = ("chair", "mug", "lamp", "sofa")


def world(seed: int = 0, n: int = 36, views: int = 6, **protocol: object) -> TestSplit:
    """Objects scattered about their class's text, views about their object; "sofa" has no object."""
    rng = np.random.default_rng(seed)
    texts = rng.normal(size=(4, 2, 16))
    labels = np.arange(n) % 3
    objects = texts.mean(axis=1)[labels] + 0.8 * rng.normal(size=(n, 16))
    seen = (objects[:, None] + 0.7 * rng.normal(size=(n, views, 16))).astype(np.float32)
    keys = [f"test/{i:03d}" for i in range(n)]
    return TestSplit(keys, CLASSES, labels, seen, texts, Settings(**protocol))  # type: ignore[arg-type]


def shapes(test: TestSplit, seed: int, noise: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return test.views.mean(axis=1) + noise * rng.normal(size=test.views[:, 0].shape)


@pytest.fixture(scope="module")
def test() -> TestSplit:
    return world()


@pytest.fixture(scope="module")
def runs(test: TestSplit) -> list[results.EvaluatedRun]:
    noise = {"avg": 0.5, "uniform": 0.6}
    return [
        results.EvaluatedRun(mode, seed, *measurement.evaluate_run(shapes(test, seed, noise[mode]), test))
        for mode in noise
        for seed in (2, 0, 1)
    ]


def test_a_run_is_measured_by_the_public_functions(test: TestSplit) -> None:
    embedded = shapes(test, 0, 0.6)
    tree, kept = measurement.evaluate_run(embedded, test)
    plain = zero_shot.evaluate(embedded, test.class_texts, test.labels)
    for key in ("top1", "top5", "class_mean"):
        assert tree["zero_shot"][key] == round(plain[key], 6)
    table = class_tables.of_outcomes(kept, 4)
    assert table.accuracy == pytest.approx(plain["per_class"], nan_ok=True)
    assert np.isnan(table.accuracy[3])
    assert table.confusion().tolist() == plain["confusion"].tolist()
    (chosen,) = test.choices
    images = np.stack([test.views[i, view] for i, view in enumerate(chosen)])
    there = retrieval.gallery(images, embedded, np.arange(36))
    back = retrieval.gallery(embedded, images, np.arange(36))
    for key in ("recall@1", "recall@5", "recall@10", "map", "median_rank"):
        assert tree["gallery"]["image_to_shape"][key] == round(there[key], 6)
        assert tree["gallery"]["shape_to_image"][key] == round(back[key], 6)
    assert there["recall@1"] != back["recall@1"]
    assert tree["in_batch"]["image_to_shape"]["top1"] == round(retrieval.in_batch(images, embedded)["top1"], 6)


def test_the_chosen_view_depends_on_key_and_seed_only(test: TestSplit) -> None:
    (chosen,) = test.choices
    assert set(chosen.tolist()) == set(range(6))
    half = TestSplit(test.keys[18:], CLASSES, test.labels[18:], test.views[18:], test.class_texts)
    assert half.choices[0].tolist() == chosen[18:].tolist()
    assert world(seed=0, n=36).choices[0].tolist() == chosen.tolist()
    other = TestSplit(test.keys, CLASSES, test.labels, test.views, test.class_texts, Settings(seed=1))
    assert other.choices[0].tolist() != chosen.tolist()


def test_all_views_are_a_mean_over_the_poses() -> None:
    test = world(n=20, views=3)
    every = TestSplit(test.keys, CLASSES, test.labels, test.views, test.class_texts, Settings(views="all"))
    embedded = shapes(test, 0, 0.6)
    found = measurement.evaluate_run(embedded, every).figures["gallery"]["image_to_shape"]
    one_by_one = [retrieval.gallery(test.views[:, pose], embedded, np.arange(20)) for pose in range(3)]
    for key in ("recall@1", "map"):
        assert found[key] == pytest.approx(mean(figures[key] for figures in one_by_one), abs=1e-6)


def test_ceiling_never_meets_its_own_query() -> None:
    """Views that share nothing but noise: a gallery that held the query itself would score 1."""
    rng = np.random.default_rng(3)
    n = 60
    views = rng.normal(size=(n, 4, 64))
    test = TestSplit([str(i) for i in range(n)], CLASSES, np.arange(n) % 4, views, rng.normal(size=(4, 64)))
    ceiling = {name: found.figures for name, found in measurement.clip_ceiling(test).items()}
    for row in ("clip_mean", "clip_single"):
        for direction in ("image_to_shape", "shape_to_image"):
            assert ceiling[row]["gallery"][direction]["recall@1"] < 0.15
        assert ceiling[row]["zero_shot"]["top1"] < 0.6


def test_ceiling_of_good_views_is_high_and_the_mean_helps(test: TestSplit) -> None:
    measured = measurement.clip_ceiling(test)
    ceiling = {name: found.figures for name, found in measured.items()}
    mean_views, single = ceiling["clip_mean"], ceiling["clip_single"]
    assert mean_views["zero_shot"]["top1"] > single["zero_shot"]["top1"] > 0.5
    assert mean_views["gallery"]["image_to_shape"]["recall@1"] > single["gallery"]["image_to_shape"]["recall@1"]
    support = class_tables.of_outcomes(measured["clip_single"].outcomes, 4).support
    assert support.tolist() == [72, 72, 72, 0]


def test_chance_is_that_of_the_parts(test: TestSplit) -> None:
    found = measurement.chance(test)
    assert found["zero_shot"]["top1"] == 0.25
    assert found["gallery"]["shape_to_image"]["recall@5"] == round(5 / 36, 6)
    assert found["in_batch"]["image_to_shape"]["top1"] == round(1 / 36, 6)


def test_rows_and_differences(test: TestSplit, runs: list[results.EvaluatedRun]) -> None:
    found = figures(test, runs).tree
    assert [row["name"] for row in found["rows"]] == ["chance", "clip_mean", "clip_single", "uniform", "avg"]
    by_seed = {
        mode: [r.figures["gallery"]["image_to_shape"]["map"] for r in runs if r.mode == mode]
        for mode in ("uniform", "avg")
    }
    row = found["rows"][3]
    assert row["seeds"] == [0, 1, 2]
    spread = row["figures"]["gallery"]["image_to_shape"]["map"]
    assert spread["mean"] == pytest.approx(mean(by_seed["uniform"]), abs=1e-6)
    assert spread["std"] == pytest.approx(stdev(by_seed["uniform"]), abs=1e-6)
    assert spread["n"] == 3
    assert found["rows"][0]["figures"]["zero_shot"]["top1"] == {"mean": 0.25, "std": None, "n": 1}  # no interval
    gaps = [a - u for a, u in zip(by_seed["avg"], by_seed["uniform"], strict=True)]
    gap = found["differences"]["avg"]["gallery"]["image_to_shape"]["map"]
    assert gap["mean"] == pytest.approx(mean(gaps), abs=2e-6)
    assert gap["std"] == pytest.approx(stdev(gaps), abs=2e-6)
    assert "uniform" not in found["differences"]
    assert "sofa" not in row["figures"]["zero_shot"]["per_class"]


def test_intervals_are_of_means_over_runs_on_the_same_resampled_objects(
    test: TestSplit, runs: list[results.EvaluatedRun]
) -> None:
    found = figures(test, runs).tree
    path = ("gallery", "image_to_shape", "map")
    parts = {
        mode: [one for r in runs if r.mode == mode if (one := outcomes.answers(r.outcomes, path)) is not None]
        for mode in ("uniform", "avg")
    }
    resampled = {mode: bootstrap.figures(of, test.labels, seed=0).mean(axis=1) for mode, of in parts.items()}
    row = found["rows"][3]["figures"]["gallery"]["image_to_shape"]["map"]
    assert (row["low"], row["high"]) == pytest.approx(bootstrap.interval(resampled["uniform"]), abs=1e-6)
    assert row["low"] < row["mean"] < row["high"]
    gap = found["differences"]["avg"]["gallery"]["image_to_shape"]["map"]
    wanted = bootstrap.interval(resampled["avg"] - resampled["uniform"])
    assert (gap["low"], gap["high"]) == pytest.approx(wanted, abs=1e-6)
    single = found["rows"][2]["figures"]["zero_shot"]  # six views of each object, resampled together
    assert single["top1"]["low"] < single["top1"]["mean"] < single["top1"]["high"]
    for spread in (row, gap):
        assert set(spread) == {"mean", "std", "n", "low", "high"}
    assert "low" not in found["rows"][3]["figures"]["gallery"]["image_to_shape"]["median_rank"]
    assert "low" not in found["rows"][3]["figures"]["zero_shot"]["per_class"]["mug"]


def test_differences_pair_only_shared_seeds(runs: list[results.EvaluatedRun]) -> None:
    some = [run for run in runs if run.mode == "uniform" or run.seed == 1]
    assert results.differences(some)["avg"]["zero_shot"]["top1"] == {
        "mean": pytest.approx(runs[2].figures["zero_shot"]["top1"] - runs[5].figures["zero_shot"]["top1"]),
        "std": None,
        "n": 1,
    }
    assert results.differences([run for run in runs if run.mode == "avg"]) == {}


def test_bytes_are_the_same_whatever_the_order_and_the_clock(test: TestSplit, runs: list[results.EvaluatedRun]) -> None:
    one = build(test, runs, {"clip": "demo"}, timing={"eval_s": 1.0}, host={"cpus": 2})
    two = build(test, runs[::-1], {"clip": "demo"}, timing={"eval_s": 2.0})
    del one["timing"], two["timing"], one["host"], two["host"]
    assert results.dumps(one) == results.dumps(two)


def test_what_is_written_reads_back(test: TestSplit, runs: list[results.EvaluatedRun]) -> None:
    built = build(test, runs, {"digest": "abc", "prompt": "paper"})
    assert results.loads(results.dumps(built)) == built
    assert built["schema"] == 1
    assert built["provenance"]["gallery_size"] == 36
    assert built["provenance"]["seeds"] == [0, 1, 2]
    assert built["provenance"]["protocol"]["gallery"] == {"ks": [1, 5, 10], "views": "one", "seed": 0}

    def rounded(value: object) -> bool:
        if isinstance(value, dict):
            return all(rounded(item) for item in value.values())
        if isinstance(value, list):
            return all(rounded(item) for item in value)
        return not isinstance(value, float) or value == round(value, 6)

    assert rounded(json.loads(results.dumps(built)))


@pytest.mark.parametrize("data", [b'{"schema": 2, "figures": {}}', b'{"schema": 1', b"[]", b"\xff\xfe", b""])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(DataError, match=r"results\.json: "):
        results.loads(data)


def test_bad_test_splits_and_runs_are_reported(test: TestSplit, runs: list[results.EvaluatedRun]) -> None:
    with pytest.raises(DataError, match=r"labels: .*\b36\b.*\b35\b"):
        TestSplit(test.keys, CLASSES, test.labels[1:], test.views, test.class_texts)
    with pytest.raises(DataError, match=r"class_texts: .*\b3\b.*\b4\b"):
        TestSplit(test.keys, CLASSES[:3], test.labels, test.views, test.class_texts)
    with pytest.raises(DataError, match=r"embeddings: .*\b36\b.*\b35\b"):
        measurement.evaluate_run(shapes(test, 0, 1)[1:], test)
    with pytest.raises(DataError, match="runs: "):
        figures(test, [runs[0], runs[0]])


def test_markdown_table(test: TestSplit, runs: list[results.EvaluatedRun]) -> None:
    built = build(test, runs, {})
    lines = tables.markdown(built).splitlines()
    assert lines[0].startswith("| row | seeds | zero-shot top-1 | zero-shot top-5 | image → shape R@1 |")
    assert len({line.count("|") for line in lines[:7]}) == 1
    assert lines[2].startswith("| chance |  | 25.0 | 100.0 | 2.8 | 13.9 |")
    assert lines[5].startswith("| InfoNCE | 3 |")
    top1 = built["figures"]["rows"][3]["figures"]["zero_shot"]["top1"]
    low, high = 100 * top1["low"], 100 * top1["high"]
    assert f"{100 * top1['mean']:.1f} ± {100 * top1['std']:.1f} [{low:.1f}, {high:.1f}]" in lines[5]
    assert "36 unseen objects of 4 classes (1 of which have none, and are candidates all the same), mean ±" in lines[-1]
    assert "95 % bootstrap interval" in lines[-1]
    gaps = tables.markdown_differences(built).splitlines()
    assert gaps[0].startswith("| minus InfoNCE | pairs |")
    assert gaps[2].startswith("| AVG | 3 | ")


def test_results_without_intervals_make_the_table_of_before(test: TestSplit, runs: list[results.EvaluatedRun]) -> None:
    def stripped(tree: object) -> object:
        if isinstance(tree, list):
            return [stripped(item) for item in tree]
        if isinstance(tree, dict):
            return {key: stripped(value) for key, value in tree.items() if key not in ("low", "high")}
        return tree

    built = json.loads(results.dumps(build(test, runs, {})))
    table = tables.markdown(built | {"figures": stripped(built["figures"])})
    assert "[" not in table
    assert "interval" not in table


def test_percent() -> None:
    assert tables.percent({"mean": 0.71349, "std": 0.012, "n": 3}) == "71.3 ± 1.2"
    assert tables.percent({"mean": -0.0142, "std": None, "n": 1}, sign=True) == "−1.4"
    assert tables.percent({"mean": 0.0142, "std": None, "n": 1}, sign=True) == "+1.4"
    assert tables.percent(None) == "–"


def test_one_view_has_no_ceiling_in_retrieval_and_the_table_says_so() -> None:
    test = world(views=1)
    built = build(test, [results.EvaluatedRun("i2i", 0, *measurement.evaluate_run(shapes(test, 0, 0.5), test))], {})
    line = tables.markdown(built).splitlines()[3]
    assert line.startswith("| CLIP, all views |")
    assert line.endswith("| – | – | – | – | – | – |")
