"""`captionless similarity inspect`: its weights are those of training, on the terminal and on the page."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from captionless.cli.app import app
from captionless.errors import DataError
from captionless.stages.inspect import measure as measuring
from captionless.stages.inspect import page, tables
from captionless.stages.inspect.measure import ALONE, MIXED, OTHER, RATIO, SIMILARITY, Distribution, Found, measure
from captionless.store import objects
from captionless.store.ledger import Ledger
from captionless.store.packed import packed_rows
from captionless.store.shards import write_shard
from captionless.store.similarity_store import SimilarityStore, open_similarity
from captionless.store.views import encode_view, view_name
from captionless.trainer.losses import hn_similarity, hn_weights
from tests.embedded import publish
from tests.matrices import store_all
from tests.pages import assert_readable, assert_self_contained, chart, parsed

SIZES = {"chair": 14, "lamp <b>": 5, "mug": 1}
KEY = "chair-03"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store of three categories where a run has it."""
    rng = np.random.default_rng(0)
    matrices = {}
    for category, n in SIZES.items():
        sim = rng.uniform(0.7, 0.97, (n, n))
        sim = np.triu(sim, 1) + np.triu(sim, 1).T + np.eye(n)
        matrices[category] = ([f"{category}-{i:02d}" for i in range(n)], sim)
    store_all(str(tmp_path / "similarity" / "i2i"), matrices, side=6)
    return str(tmp_path / "similarity" / "i2i")


def found_in(url: str, key: str = KEY, sharpen: float = 1.0) -> Found:
    return measure(open_similarity(url), key, sharpen)


def expected_weights(store: SimilarityStore, keys: list[str], sharpen: float) -> dict[str, dict[str, float]]:
    """What training gives each of `keys` in a batch of all of them."""
    categories = [key.rsplit("-", 1)[0] for key in keys]
    sim = hn_similarity.sharpened_similarity(store.lookup(keys), categories, store.category_mean(), sharpen)
    weights = hn_weights.log_weights(torch.from_numpy(sim).double(), keys).exp().numpy()
    return {a: dict(zip(keys, row, strict=True)) for a, row in zip(keys, weights, strict=True)}


@pytest.mark.parametrize("sharpen", [1.0, 5.0])
def test_weights_are_those_of_training_in_either_batch(url: str, sharpen: float) -> None:
    store, found = open_similarity(url), found_in(url, sharpen=sharpen)
    every = [key for category in store.categories for key in store.keys(category)]
    mixed = expected_weights(store, every, sharpen)
    assert found.objects == len(every) == 20
    for rows in found.categories:
        own = store.keys(rows.category)
        alone, values = expected_weights(store, own, sharpen), found.negatives(rows, sharpen)
        pairs = [(a, s) for a in own for s in own if a != s]
        np.testing.assert_allclose(values[ALONE].ravel(), [alone[a][s] for a, s in pairs], rtol=1e-6)
        np.testing.assert_allclose(values[MIXED].ravel(), [mixed[a][s] for a, s in pairs], rtol=1e-6)
        other = next(key for key in every if key not in own)
        np.testing.assert_allclose(values[OTHER], [mixed[a][other] for a in own], rtol=1e-6)
        ratios = values[MIXED] / values[OTHER][:, None]  # does not depend on the batch
        np.testing.assert_allclose(values[RATIO], ratios, rtol=1e-9)
    values = found.negatives(found.own, sharpen)
    assert found.mates == [key for key in store.keys("chair") if key != KEY]
    np.testing.assert_allclose(values[MIXED][0], [mixed[KEY][mate] for mate in found.mates], rtol=1e-6)


def test_without_sharpening_no_means_are_read(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimilarityStore, "category_mean", lambda self: pytest.fail("means are computed"))
    assert found_in(url).exponents == (1.0,)


def test_nearest_and_farthest_are_apart_and_in_order(url: str) -> None:
    found = found_in(url)
    sim = found.own.similarity[0]
    nearest, farthest = found.nearest_and_farthest()
    assert sim[nearest].tolist() == sorted(sim, reverse=True)[:5]
    assert sim[farthest].tolist() == sorted(sim)[:5]
    few = found_in(url, "lamp <b>-00")
    nearest, farthest = few.nearest_and_farthest()
    assert (len(nearest), len(farthest)) == (4, 0)


def test_large_categories_are_sampled_by_a_seed_and_say_so(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = found_in(url)
    assert tables.sampling(whole) == "Over all pairs of a category."
    monkeypatch.setattr(measuring, "MOST_ANCHORS", 6)
    monkeypatch.setattr(tables, "MOST_ANCHORS", 6)
    monkeypatch.setattr(measuring, "_COLUMNS_AT_ONCE", 4)
    first, again = found_in(url), found_in(url)
    assert [r.similarity.shape for r in first.categories] == [(6, 13), (5, 4), (1, 0)]
    for rows, same, all_rows in zip(first.categories, again.categories, whole.categories, strict=True):
        np.testing.assert_array_equal(rows.similarity, same.similarity)
        assert {tuple(r) for r in rows.similarity} <= {tuple(r) for r in all_rows.similarity}
    assert re.search(r"\b6 objects \(1 of 3\).*\b6 \(seed 0\)", tables.sampling(first))


def test_distributions() -> None:
    values = np.random.default_rng(0).normal(size=1000)
    found = Distribution.of(values)
    assert found is not None
    np.testing.assert_array_equal(found.quantiles, np.quantile(values, [0, 0.05, 0.5, 0.95, 1]))
    assert sum(found.counts) == 1000
    assert len(found.bars) == len(found.counts) == 24
    assert found.bars[int(np.argmax(found.counts))] == "█"
    assert all((bar == " ") == (count == 0) for bar, count in zip(found.bars, found.counts, strict=True))
    constant = Distribution.of(np.ones(7))
    assert constant is not None
    assert constant.quantiles == (1, 1, 1, 1, 1)
    assert constant.bars.strip() == "█"
    assert Distribution.of(np.empty((1, 0))) is None


def call(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["similarity", "inspect", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_terminal_shows_figures_with_and_without_sharpening(url: str) -> None:
    plain, both = call(url, KEY), call(url, KEY, "--sharpen", "5")
    assert "sharpen" not in plain
    found = found_in(url, sharpen=5.0)
    mate = found.nearest_and_farthest()[0][0]
    for exponent, text in ((1.0, plain), (1.0, both), (5.0, both)):
        values = found.negatives(found.own, exponent)
        (line,) = (line for line in text.splitlines() if line.startswith("nearest 1"))
        assert found.mates[mate] in line
        assert all(f"{values[name][0, mate]:.4f}" in line.split() for name in (SIMILARITY, ALONE, MIXED))
        assert f"{values[OTHER][0]:.4f}" in text
    lines = plain.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("category "))
    quantiles = Distribution.of(found.negatives(found.own, 1.0)[SIMILARITY])
    assert lines[start + 1].split()[:3] == ["chair", "14", "similarity"]
    assert quantiles is not None
    assert "lamp <b>" in plain
    assert "mug" in plain


def test_the_only_object_of_a_category_has_no_neighbours(url: str) -> None:
    text = call(url, "mug-00", "--sharpen", "2")
    assert "nearest 1" not in text
    assert "any object of another" in text


def test_a_store_of_one_category_has_no_others(tmp_path: Path) -> None:
    store_all(str(tmp_path), {"chair": (["a", "b"], [[1, 0.8], [0.8, 1]])})
    assert "any object of another" not in call(str(tmp_path), "a", "--out", str(tmp_path / "page.html"))
    assert_readable((tmp_path / "page.html").read_text())


def test_bad_input_is_reported(url: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'"chair-3".*"chair-\d+"'):
        call(url, "chair-3")
    with pytest.raises(DataError, match=r"similarity\.json"):
        call(str(tmp_path / "similarity"), KEY)
    with pytest.raises(DataError, match=r"elsewhere/manifest\.json"):
        call(url, KEY, "--out", str(tmp_path / "page.html"), "--pack", str(tmp_path / "elsewhere"))
    assert not (tmp_path / "page.html").exists()
    store_all(str(tmp_path / "zero"), {"x": (["a", "b"], [[1, 0], [0, 1]])})
    with pytest.raises(DataError, match=r'object "a" is 0\.0\b'):
        call(str(tmp_path / "zero"), "b")
    for wrong in (["--pack", "x"], ["--sharpen", "0.5"]):
        done = CliRunner().invoke(app, ["similarity", "inspect", url, KEY, *wrong])
        assert done.exit_code == 2
        assert wrong[0] in done.output


def view(red: int, green: int) -> bytes:
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[2:6, 2:6] = red, green, 0, 255
    return encode_view(rgba)


def write_pack(url: str, keys: list[str], views: int = 10) -> dict[str, list[bytes]]:
    """Two shards of views, as the pack stage leaves them; returns every object's by its key."""
    stored = {key: [view(10 * i, 20 * v) for v in range(views)] for i, key in enumerate(keys)}
    for number in range(2):
        tar, own = f"train/{number:05d}.tar", keys[number::2]
        info = write_shard(
            objects.join(url, tar), [(k, {view_name(v): data for v, data in enumerate(stored[k])}) for k in own]
        )
        rows = {"key": own, "category": ["x"] * len(own), "split": ["train"] * len(own), "reason": [""] * len(own)}
        nothing: dict[str, list[Any]] = {
            name: [None] * len(own) for name in ("version", "made", "files", "faces", "textured")
        }
        facts = {"split": "train", "shard": tar}
        Ledger(url).commit(f"train-{number:05d}", info.sha256, {tar: info.sha256}, facts, rows | nothing)
    publish(url, packed_rows)
    return stored


def test_the_page_shows_the_stored_views_of_the_object_and_its_neighbours(url: str, tmp_path: Path) -> None:
    found = found_in(url, sharpen=5.0)
    nearest, farthest = found.nearest_and_farthest()
    shown = [KEY, *(found.mates[i] for i in (*nearest, *farthest))]
    lost = shown[2]
    stored = write_pack(str(tmp_path / "pack"), [f"chair-{i:02d}" for i in range(14) if f"chair-{i:02d}" != lost])
    out = tmp_path / "made" / "page.html"
    assert f"page: {out}" in call(url, KEY, "--sharpen", "5", "--out", str(out))
    text = out.read_text()
    assert_self_contained(text)
    assert_readable(text)
    sources = [str(image["src"]) for image in parsed(text).all("img")]
    assert [base64.b64decode(source.removeprefix("data:image/webp;base64,")) for source in sources] == [
        stored[key][pose] for key in shown if key != lost for pose in (0, 2, 4, 6, 8)
    ]
    assert f"No picture of {lost}" in text
    assert "No pictures." not in text
    for exponent in (1.0, 5.0):
        values = found.negatives(found.own, exponent)
        for i in (*nearest, *farthest):
            assert all(f"<td>{values[name][0, i]:.4f}</td>" in text for name in (SIMILARITY, ALONE, MIXED))
    assert "lamp &lt;b&gt;" in text


def test_histograms_are_shares_of_the_category_and_of_all_pairs(url: str) -> None:
    found = found_in(url, sharpen=5.0)
    text = page.html(found, page.find_pictures(found, None))
    figure = chart(text, "similarity")
    assert [trace["name"] for trace in figure["data"]] == [
        "chair", "all categories", "chair, sharpen 5", "all categories, sharpen 5"
    ]  # fmt: skip
    values = [[found.negatives(rows, e)[SIMILARITY] for rows in found.categories] for e in found.exponents]
    every = np.concatenate([v.ravel() for each in values for v in each])
    edges = np.linspace(every.min(), every.max(), 61)
    for exponent, (chair, lamp, _) in enumerate(values):
        of_pairs = [np.histogram(v[~np.tri(*v.shape, -1, dtype=bool)], edges)[0] for v in (chair, lamp)]  # each once
        expected = [100 * of_pairs[0] / 91, 100 * sum(of_pairs) / (91 + 10)]
        for trace, share in zip(figure["data"][2 * exponent : 2 * exponent + 2], expected, strict=True):
            np.testing.assert_allclose(trace["x"], edges, atol=1e-5)
            np.testing.assert_allclose(trace["y"], [*share, 0], atol=1e-3)
    others = [trace for trace in chart(text, "weight-mixed")["data"] if trace["name"].startswith("others, to chair")]
    assert len(others) == 2


def test_without_pictures_the_page_appears_and_says_why(url: str, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    call(url, KEY, "--out", str(out))
    assert f"{tmp_path}/pack/manifest.json" in out.read_text()
    assert_self_contained(out.read_text())
    assert_readable(out.read_text())
    assert not parsed(out.read_text()).all("img")
    moved = tmp_path / "moved"
    Path(url).rename(moved)
    call(str(moved), KEY, "--out", str(out))
    assert re.search(rf"{moved} .*--pack", out.read_text())
    stored = write_pack(str(tmp_path / "pack"), [f"chair-{i:02d}" for i in range(14)], views=2)
    call(str(moved), KEY, "--out", str(out), "--pack", str(tmp_path / "pack"))
    sources = [str(image["src"]) for image in parsed(out.read_text()).all("img")]
    assert len(sources) == 11 * len(stored[KEY])
