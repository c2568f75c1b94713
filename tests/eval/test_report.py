from __future__ import annotations

import hashlib
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from captionless.errors import DataError
from captionless.eval import measurement, report, results, tables
from captionless.eval.protocol import TestSplit
from captionless.eval.report import charts
from captionless.eval.report.context import drawn
from tests.eval.evaluated import build
from tests.pages import assert_readable, assert_self_contained, chart, parsed

CLASSES = ["chair", "mug", "lamp"]


def world() -> tuple[TestSplit, list[results.EvaluatedRun], np.ndarray]:
    rng = np.random.default_rng(0)
    n = 18
    labels = np.arange(n) % 3
    texts = rng.normal(size=(3, 8))
    objects = texts[labels] + rng.normal(size=(n, 8))
    views = objects[:, None] + rng.normal(size=(n, 4, 8))
    test = TestSplit([f"{CLASSES[c]}/<{i}>&" for i, c in enumerate(labels)], CLASSES, labels, views, texts)
    runs = [
        results.EvaluatedRun(mode, seed, *measurement.evaluate_run(objects + rng.normal(size=(n, 8)), test))
        for mode in ("uniform", "avg")
        for seed in (0, 1)
    ]
    return test, runs, objects


def queried(test: TestSplit, chosen: list[int]) -> np.ndarray:
    """The view of each of these objects that is their query."""
    return np.stack([test.views[i, test.choices[0][i]] for i in chosen])


def image(kind: str = "webp") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), "teal").save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def built() -> dict:
    test, runs, _ = world()
    return build(test, runs, {"clip": {"model": "demo", "digest": "sha256:abc"}, "prompt": "a {} </script>"})


@pytest.fixture(scope="module")
def context() -> report.ReportContext:
    test, _, shapes = world()
    categories = [key.split("/")[0] for key in test.keys]
    similarity, chosen = np.linspace(0.9, 0.1, 18), drawn(test.keys, categories, 5)
    return report.ReportContext(
        title="A <title>",
        summary="What this is.",
        chosen=("avg", 1),
        thumbnails={key: image() for key in test.keys[:-1]},
        categories=dict(zip(test.keys, categories, strict=True)),
        histories=[
            report.History(mode, seed, range(900), list(np.linspace(4, 1, 900)), [14.3] * 900)
            for mode in ("uniform", "avg")
            for seed in (0, 1)
        ],
        queries=report.retrieval_queries(chosen, queried(test, chosen), shapes, test.keys, categories, top=4),
        neighbours=[report.neighbours_of(test.keys[0], similarity, test.keys, "i2i", weights=similarity)],
        examples=[report.Example(test.keys[-1], ["a lamp on a foot"], ["a lamp with two arms"])],
        embedding_map=report.EmbeddingMap(shapes, test.keys, categories),
    )


@pytest.fixture(scope="module")
def page(built: dict, context: report.ReportContext) -> str:
    return report.render_report(built, context)


def test_nothing_is_asked_of_the_network(page: str) -> None:
    assert_self_contained(page)


def test_it_can_be_read_by_keyboard_and_screen_reader(page: str) -> None:
    assert_readable(page)


def test_table_and_charts_show_the_figures(page: str, built: dict) -> None:
    for row in built["figures"]["rows"]:
        for column in tables.COLUMNS:
            assert f"<td>{tables.percent(column.spread(row))}<" in page
            assert f">{tables.bounds(column.spread(row))}<" in page
    names = [tables.row_name(row["name"]) for row in built["figures"]["rows"]]
    comparison = chart(page, "comparison")
    assert comparison["layout"]["yaxis"]["ticktext"] == names
    top1 = built["figures"]["rows"][3]["figures"]["zero_shot"]["top1"]
    assert comparison["data"][0]["x"][3] == pytest.approx(100 * top1["mean"])
    bars = comparison["data"][0]["error_x"]
    assert bars["array"][3] == pytest.approx(100 * (top1["high"] - top1["mean"]))
    assert bars["arrayminus"][3] == pytest.approx(100 * (top1["mean"] - top1["low"]))
    assert bars["array"][0] == 0  # chance
    assert "AVG, seed 1" in page
    chosen = built["figures"]["runs"]["avg"]["1"]["zero_shot"]
    assert chart(page, "confusion")["data"][0]["customdata"] == chosen["confusion"]
    assert chart(page, "per_class")["data"][0]["x"] == [
        pytest.approx(100 * chosen["per_class"][name], abs=0.01) for name in CLASSES
    ]


def test_the_map_has_the_pictures_it_can_show(page: str, context: report.ReportContext) -> None:
    found = re.search(r'<script type="application/json" id="pictures">(.*?)</script>', page, re.S)
    assert found
    assert set(json.loads(found[1])) == set(context.thumbnails)
    assert sum(len(trace["x"]) for trace in chart(page, "map")["data"]) == 18


def test_curves_are_thinned_with_both_ends(page: str) -> None:
    figure = chart(page, "loss")
    assert len(figure["data"]) == 4
    assert (figure["data"][0]["x"][0], figure["data"][0]["x"][-1]) == (0, 899)
    assert len(figure["data"][0]["x"]) == 400
    assert sum(bool(trace["showlegend"]) for trace in figure["data"]) == 2
    assert chart(page, "temperature")["data"][0]["y"][0] == pytest.approx(1 / 14.3, abs=1e-5)


def test_outcomes_are_described_in_words(page: str, context: report.ReportContext) -> None:
    for query in context.queries:
        assert f"found at rank {query.rank}" in page
        for place, hit in enumerate(query.hits, start=1):
            assert f"{place}. {hit.outcome}" in page


def test_text_is_escaped(page: str) -> None:
    assert "A &lt;title&gt;" in page
    assert "a {} &lt;/script&gt;" in page
    assert "chair/&lt;0&gt;&amp;" in page
    assert page.count("</script>") == page.count("<script")
    assert "chair/<0>&" in chart(page, "map")["data"][0]["text"]


def test_same_input_same_page(page: str, built: dict, context: report.ReportContext) -> None:
    assert report.render_report(built, context) == page


def test_without_runs_or_context() -> None:
    test, _, _ = world()
    page = report.render_report(build(test, [], {}), report.ReportContext())
    structure = parsed(page)
    assert structure.ids.count("results") == 1
    assert not {"training", "classes", "retrieval", "similarity", "objects", "map"} & set(structure.ids)
    assert len(structure.all("table")) == 1


def test_queries_are_ranked_as_in_the_figures() -> None:
    test, _, shapes = world()
    categories, every = [key.split("/")[0] for key in test.keys], list(range(18))
    queries = report.retrieval_queries(every, queried(test, every), shapes, test.keys, categories, top=18)
    tree = measurement.evaluate_run(shapes, test).figures["gallery"]["image_to_shape"]
    assert np.median([query.rank for query in queries]) == tree["median_rank"]
    assert np.mean([query.rank == 1 for query in queries]) == pytest.approx(tree["recall@1"], abs=1e-6)
    for query in queries:
        assert query.hits[query.rank - 1].outcome == "hit"
        assert [hit.key for hit in query.hits if hit.outcome == "hit"] == [query.key]
        same = [hit for hit in query.hits if hit.outcome == "same class"]
        assert len(same) == 5
        assert all(hit.key.split("/")[0] == query.key.split("/")[0] for hit in same)
    tied = report.retrieval_queries(range(4), np.ones((4, 2)), np.ones((4, 2)), list("abcd"), list("abcd"))
    assert [query.rank for query in tied] == [4] * 4


def test_examples_are_drawn_from_every_category_whatever_their_order() -> None:
    keys = [f"{name}-{i}" for name in ("a", "b", "c") for i in range(5)]
    categories = [key[0] for key in keys]
    chosen = [keys[i] for i in drawn(keys, categories, 6)]
    assert sorted(key[0] for key in chosen) == list("aabbcc")
    assert [keys[::-1][i] for i in drawn(keys[::-1], categories[::-1], 6)] == chosen
    assert [keys[i] for i in drawn(keys, categories, 6, seed=1)] != chosen
    by_turns = drawn(keys, categories, 15)
    order = sorted(range(15), key=lambda i: hashlib.sha256(f"report:0:{keys[i]}".encode()).digest())
    lists = [[i for i in order if keys[i][0] == name] for name in dict.fromkeys(keys[i][0] for i in order)]
    assert by_turns == [i for turn in zip(*lists, strict=True) for i in turn]
    assert drawn([], [], 3) == []


def test_neighbours_leave_the_object_out() -> None:
    found = report.neighbours_of("b", [0.5, 1.0, 0.7, 0.2, 0.6], list("abcde"), "i2l", each=3)
    assert [n.key for n in found.nearest] == ["c", "e", "a"]
    assert [n.key for n in found.farthest] == ["d"]
    with pytest.raises(DataError, match=r"\b2 similarities to a\b"):
        report.neighbours_of("a", [1.0], ["a", "b"], "i2i")


def test_principal_components_are_those_of_the_covariance() -> None:
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(50, 6)) * [3, 2, 1, 1, 1, 0.5]
    points, share = charts.principal_components(rows)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(np.cov(unit.T))[::-1]
    assert share == pytest.approx(values[:2] / values.sum())
    assert points.var(axis=0, ddof=1) == pytest.approx(values[:2])
    assert np.array_equal(charts.principal_components(rows.copy())[0], points)
    single, none = charts.principal_components(np.array([[1.0, 2.0]]))
    assert single.tolist() == [[0, 0]]
    assert none.tolist() == [0, 0]


def test_the_map_marks_the_drawn_objects_on_the_axes_of_all() -> None:
    _, _, shapes = world()
    keys = [f"{CLASSES[i % 3]}-{i}" for i in range(18)]
    categories = [key.split("-")[0] for key in keys]
    whole = json.loads(charts.embedding_map(report.EmbeddingMap(shapes, keys, categories)))
    part = json.loads(charts.embedding_map(report.EmbeddingMap(shapes, keys, categories, [2, 3, 10])))
    assert {key for trace in part["data"] for key in trace["text"]} == {keys[i] for i in (2, 3, 10)}
    place = {key: x for trace in whole["data"] for key, x in zip(trace["text"], trace["x"], strict=True)}
    assert all(x == place[key] for trace in part["data"] for key, x in zip(trace["text"], trace["x"], strict=True))
    assert part["layout"]["annotations"] == whole["layout"]["annotations"]


def test_the_table_of_the_map_names_the_closest_category() -> None:
    embeddings = [[1, 0, 0], [2, 0.2, 0], [0.9, 0.5, 0], [0, 0, 3]]
    rows = charts.map_rows(report.EmbeddingMap(np.array(embeddings), list("abcd"), ["chair", "chair", "stool", "mug"]))
    assert [(row["name"], row["objects"]) for row in rows] == [("chair", 2), ("mug", 1), ("stool", 1)]
    first, second = np.array([1.0, 0, 0]), np.array([2, 0.2, 0]) / np.hypot(2, 0.2)
    mean = (first + second) / np.linalg.norm(first + second)
    cosine = mean @ np.array([0.9, 0.5, 0]) / np.hypot(0.9, 0.5)
    assert rows[0]["closest"] == f"stool ({cosine:.3f})"
    points = charts.principal_components(np.array(embeddings))[0]
    assert (rows[0]["x"], rows[0]["y"]) == pytest.approx(np.median(points[:2], axis=0))
    alike = report.EmbeddingMap(np.array(embeddings), list("abcd"), ["thing"] * 4)
    assert charts.map_rows(alike)[0]["closest"] == ""


def test_the_running_mean_is_of_the_last_values() -> None:
    values = np.random.default_rng(3).normal(size=100)
    found = charts.running_mean(values)
    assert charts.window_of(100) == 4
    assert found == pytest.approx([values[max(0, i - 3) : i + 1].mean() for i in range(100)])
    assert charts.running_mean(values[:3]) == pytest.approx(values[:3])


@pytest.mark.parametrize(("kind", "mime"), [("webp", "image/webp"), ("png", "image/png"), ("jpeg", "image/jpeg")])
def test_pictures_are_inlined_by_their_kind(kind: str, mime: str) -> None:
    assert report.html.data_uri(image(kind)).startswith(f"data:{mime};base64,")


def test_bad_context_is_reported(built: dict) -> None:
    with pytest.raises(DataError, match=r"i2i, seed 0.*uniform, avg"):
        report.render_report(built, report.ReportContext(chosen=("i2i", 0)))
    with pytest.raises(DataError, match="3 bytes"):
        report.html.data_uri(b"gif")


def test_a_matrix_of_very_many_classes_is_left_to_the_table() -> None:
    rng = np.random.default_rng(6)
    classes = [f"class {i}" for i in range(61)]
    test = TestSplit(classes, classes, np.arange(61), rng.normal(size=(61, 2, 4)), rng.normal(size=(61, 4)))
    run = results.EvaluatedRun("uniform", 0, *measurement.evaluate_run(rng.normal(size=(61, 4)), test))
    page = report.render_report(build(test, [run], {}), report.ReportContext())
    assert "chart-confusion" not in page
    assert '<th scope="row">class 60</th><td>1</td>' in page


def test_differences_of_one_seed_are_not_described_as_those_of_several(built: dict, page: str) -> None:
    assert tables.about_differences(built) in " ".join(page.split())
    test, runs, _ = world()
    alone = build(test, [run for run in runs if run.seed == 0], {})
    assert "±" not in tables.markdown_differences(alone)
    assert "deviation" not in tables.about_differences(alone)
    assert tables.about_differences(alone) != tables.about_differences(built)


def test_differences_stand_in_the_order_of_the_rows(built: dict) -> None:
    modes = ("uniform", "i2l", "avg", "category")
    rows = [{**built["figures"]["rows"][3], "name": mode} for mode in modes]
    gaps = dict.fromkeys(sorted(modes[1:]), built["figures"]["differences"]["avg"])
    shuffled = {**built, "figures": {**built["figures"], "rows": rows, "differences": gaps}}
    assert [mode for mode, _ in tables.differences(shuffled)] == ["i2l", "avg", "category"]
    found = [line.split(" | ")[0].strip("| ") for line in tables.markdown_differences(shuffled).splitlines()[2:]]
    assert found == ["(I2L)²", "AVG", "category-only"]
