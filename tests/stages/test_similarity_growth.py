"""Similarity of a data set that changes: what is new is computed, the rest is kept, nothing of what is gone is left."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from captionless.errors import DataError
from captionless.precompute import partition
from captionless.stages import chain
from captionless.stages import similarity as stage
from captionless.stages.work_items import Outcome, Shard
from captionless.store import objects
from captionless.store.embeddings import open_embeddings
from captionless.store.similarity_index import VALUES, read_index, source_of
from captionless.store.similarity_store import open_similarity
from captionless.store.tiles import Metric
from tests.earlier_similarity import write_earlier
from tests.embedded import everything, unit, write_objects, write_texts

VIEWS, FEATURES = 3, 24
Objects = dict[tuple[str, str], np.ndarray]


class DataSet:
    """Objects of a few categories, to which some are added, of which some are removed, and some change."""

    def __init__(self, url: str, seed: int = 0) -> None:
        self.url, self._rng, self.objects = url, np.random.default_rng(seed), Objects()
        self._centres: dict[str, np.ndarray] = {}
        self._drawn, self._number = random.Random(seed), 0

    def add(self, category: str, count: int) -> list[str]:
        """New objects, whose keys are in no order; their keys."""
        keys = []
        for _ in range(count):
            keys.append(f"{self._drawn.randrange(16**6):06x}-{self._number}")
            self._number += 1
            self.objects[category, keys[-1]] = self._views(category)
        return keys

    def remove(self, category: str, count: int) -> list[str]:
        """Objects that are there no longer; their keys."""
        keys = self._drawn.sample(self.keys(category), count)
        for key in keys:
            del self.objects[category, key]
        return keys

    def change(self, category: str, count: int) -> list[str]:
        """Objects that are other ones from now on; their keys."""
        keys = self._drawn.sample(self.keys(category), count)
        for key in keys:
            self.objects[category, key] = self._views(category)
        return keys

    def keys(self, category: str) -> list[str]:
        return sorted(key for of, key in self.objects if of == category)

    def pairs(self) -> int:
        counts = [len(self.keys(category)) for category in {of for of, _ in self.objects}]
        return sum(n * (n - 1) // 2 for n in counts)

    def compute(self, out: str = "sim", metric: Metric = "i2i", workers: int = 1) -> Outcome:
        """Stores the objects and their similarity; the sum of what the workers did."""
        write_objects(f"{self.url}/embed", self.objects)
        done = [
            stage.compute(f"{self.url}/embed", None, f"{self.url}/{out}", metric, shard=Shard(i, workers))
            for i in range(workers)
        ]
        assert done[-1].finished
        made, kept, removed = (sum(getattr(each, name) for each in done) for name in ("made", "kept", "removed"))
        assert made + kept == self.pairs() or workers > 1  # the last ones may find all of it published
        return Outcome(made, kept, removed, 0, "pair", 0.0)

    def check(self, out: str = "sim") -> None:
        """Every pair of every category within 3e-6 of eq. 2 in float64."""
        store = open_similarity(f"{self.url}/{out}")
        store.verify()
        assert store.categories == tuple(sorted({of for of, _ in self.objects}))
        for category in store.categories:
            keys = self.keys(category)
            assert sorted(store.keys(category)) == keys
            views = np.stack([self.objects[category, key] for key in keys]).astype(np.float64)
            true = (np.einsum("irf,jrf->ij", views, views) / VIEWS + 1) / 2
            np.fill_diagonal(true, 1)
            assert np.abs(store.lookup(keys) - true).max() <= 3e-6

    def _views(self, category: str) -> np.ndarray:
        centre = self._centres.setdefault(category, self._rng.standard_normal((VIEWS, FEATURES)))
        return unit(centre + 0.6 * self._rng.standard_normal((VIEWS, FEATURES))).astype(np.float16)


def test_a_hundred_changes_compute_what_is_new_and_stay_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "MAX_SIDE", 48)
    data, drawn = DataSet("memory://a-hundred-changes"), random.Random(1)
    data.add("chair", 60)
    data.add("lamp", 5)
    assert data.compute().made == data.pairs()
    for step in range(100):
        before = data.pairs()
        if step % 10 == 7:
            data.remove("chair", drawn.randint(1, 3))
        gone = before - data.pairs()
        kept = data.pairs()
        if step % 10 == 3:
            data.change("chair", 2)
            n = len(data.keys("chair"))
            kept -= 2 * (n - 2) + 1
        data.add("chair", drawn.randint(0, 2))
        data.add("lamp", step % 3 == 0)
        outcome = data.compute()
        assert (outcome.made, outcome.kept, outcome.removed) == (data.pairs() - kept, kept, gone)
        if step % 20 == 0:
            data.check()
    data.check()
    index = read_index(f"{data.url}/sim")
    category = index.category("chair")
    assert len(category.keys) > len(data.keys("chair"))  # some slots are empty
    blocks = category.blocks
    assert len(category.tiles) <= sum(-(-b.start // 48) + 1 for b in blocks)
    # the same objects from scratch: other tiles, the same pairs
    data.compute("fresh")
    grown, fresh = (open_similarity(f"{data.url}/{out}") for out in ("sim", "fresh"))
    for name in fresh.categories:
        assert np.abs(grown.lookup(data.keys(name)) - fresh.lookup(data.keys(name))).max() <= 6e-6
        assert grown.category_mean()[name] == pytest.approx(fresh.category_mean()[name], abs=3e-6)
    assert index.digest == read_index(f"{data.url}/fresh").digest  # of the values
    assert data.compute().made == 0


def test_stored_steps_are_never_encoded_again(tmp_path: Path) -> None:
    """A pair that stays is the same number, to the bit, after any change around it."""
    data = DataSet(str(tmp_path))
    keys = data.add("chair", 40)
    data.compute()
    before = open_similarity(str(tmp_path / "sim")).lookup(keys)
    for step in range(12):
        data.add("chair", 3)
        data.remove("chair", 1 + step % 2)
        data.compute(workers=1 + step % 3)
        left = [i for i, key in enumerate(keys) if ("chair", key) in data.objects]
        after = open_similarity(str(tmp_path / "sim")).lookup([keys[i] for i in left])
        np.testing.assert_array_equal(after, before[np.ix_(left, left)])
    assert len(left) < 40


@pytest.mark.parametrize("workers", [1, 3])
def test_similarity_by_landmarks_grows_too(tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "MAX_SIDE", 16)
    data = DataSet(str(tmp_path))
    data.add("chair", 40)
    write_texts(str(tmp_path / "landmarks"), {"chair": 1})
    for step in range(5):
        data.add("chair", 2 + step)
        data.remove("chair", step)
        data.change("chair", step % 2)
        data.compute(metric="i2l", workers=workers)
    data.compute("fresh", "i2l")
    grown, fresh, keys = open_similarity(f"{data.url}/sim"), open_similarity(f"{data.url}/fresh"), data.keys("chair")
    assert np.abs(grown.lookup(keys) - fresh.lookup(keys)).max() <= 6e-6
    grown.verify()
    assert read_index(f"{data.url}/sim").digest == read_index(f"{data.url}/fresh").digest


@pytest.mark.parametrize("metric", ["i2i", "i2l"])
def test_nothing_is_left_of_what_is_gone(tmp_path: Path, metric: Metric) -> None:
    data = DataSet(str(tmp_path))
    data.add("chair", 30)
    data.add("mug", 6)
    write_texts(str(tmp_path / "landmarks"), {"chair": 1, "mug": 1})
    data.compute(metric=metric)
    digest = {o.key: o.views_digest for o in open_embeddings(str(tmp_path / "embed"), "train").objects}
    gone, category = data.remove("chair", 3), read_index(str(tmp_path / "sim")).category("chair")
    gone += data.remove("mug", 6)  # the whole category
    outcome = data.compute(metric=metric)
    assert (outcome.made, outcome.removed) == (0, 30 * 29 // 2 - 27 * 26 // 2 + 15)
    store = tmp_path / "sim"
    for table in store.glob("*.parquet"):
        assert not set(gone) & {row.get("key") for row in pq.read_table(table).to_pylist()}
        shown = {row["views"].hex() for row in pq.read_table(table).to_pylist() if row.get("views")}
        assert not shown & {digest[key] for key in gone}
    for name, content in everything(store).items():
        assert not any(text.encode() in content for key in gone for text in (key, digest[key])), name
    assert {p.name.split(".")[0] for p in store.glob("*.sim")} == {"chair"}
    # the steps of its pairs are zeros, those of all others what they were
    after = read_index(str(store)).category("chair")
    empty = [slot for slot, key in enumerate(after.keys) if key is None]
    assert [category.keys[slot] for slot in empty] == [key for key in category.keys if key in gone]
    assert after.tiles[0].total is not None
    raw = (store / after.tiles[0].file).read_bytes()
    steps = np.zeros((30, 30), np.uint16)
    steps[np.triu_indices(30, 1)] = np.frombuffer(raw[after.tiles[0].offset : -32], "<u2")
    assert not steps[empty].any()
    assert not steps[:, empty].any()
    assert np.count_nonzero(steps) >= 27 * 26 // 2 - 1


def test_a_category_of_empty_slots_is_made_from_scratch(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = DataSet(str(tmp_path))
    data.add("chair", 20)
    data.compute()
    data.remove("chair", 10)
    assert data.compute().made == 0
    data.remove("chair", 1)
    assert "chair" not in capfd.readouterr().err
    outcome = data.compute()
    assert (outcome.made, outcome.removed) == (9 * 8 // 2, 9)
    assert "chair" in capfd.readouterr().err
    assert list(read_index(str(tmp_path / "sim")).category("chair").keys) == data.keys("chair")
    data.check()


def test_so_is_one_that_has_been_added_to_very_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("captionless.precompute.growth.MOST_BLOCKS", 3)
    data = DataSet(str(tmp_path))
    data.add("chair", 4)
    made = [data.compute().made]
    for _ in range(3):
        data.add("chair", 1)
        made.append(data.compute().made)
    assert made == [6, 4, 5, 21]
    data.check()


def test_other_landmarks_make_all_of_their_category_anew(tmp_path: Path) -> None:
    data = DataSet(str(tmp_path))
    data.add("chair", 12)
    data.add("mug", 6)
    write_texts(str(tmp_path / "landmarks"), {"chair": 1, "mug": 1})
    data.compute(metric="i2l")
    data.add("mug", 1)
    write_texts(str(tmp_path / "landmarks"), {"mug": 1, "chair": 1})  # drawn in another order: both are others
    outcome = data.compute(metric="i2l")
    assert (outcome.made, outcome.kept) == (data.pairs(), 0)
    data.add("mug", 1)
    assert data.compute(metric="i2l").made == 7


def test_a_worker_of_an_append_that_comes_late_or_twice(tmp_path: Path) -> None:
    data = DataSet(str(tmp_path))
    data.add("chair", 80)
    data.add("mug", 20)
    data.compute(workers=3)
    data.add("chair", 7)
    data.remove("mug", 2)
    data.compute(workers=3)
    stored = everything(tmp_path / "sim")
    for index in (2, 0, 1, 1):
        outcome = stage.compute(str(tmp_path / "embed"), None, str(tmp_path / "sim"), "i2i", shard=Shard(index, 3))
        assert (outcome.made, outcome.finished) == (0, True)
    assert everything(tmp_path / "sim") == stored
    data.check()


def test_a_tile_that_was_lost_is_computed_again_wherever_it_is(tmp_path: Path) -> None:
    data = DataSet(str(tmp_path))
    data.add("chair", 20)
    data.compute()
    data.add("chair", 3)
    data.remove("chair", 2)
    data.compute()
    for tile in sorted((tmp_path / "sim").glob("*.sim")):
        tile.unlink()
        assert data.compute().made > 0
        data.check()
    # one that the next state only copies
    data.remove("chair", 1)
    next((tmp_path / "sim").glob("chair.0-0-*.sim")).unlink()
    assert data.compute().made > 0
    data.check()


def test_a_damaged_tile_is_named_and_not_copied(tmp_path: Path) -> None:
    data = DataSet(str(tmp_path))
    data.add("chair", 20)
    data.compute()
    tile = next((tmp_path / "sim").glob("*.sim"))
    raw = bytearray(tile.read_bytes())
    raw[-40] ^= 1
    tile.write_bytes(raw)
    data.remove("chair", 1)
    with pytest.raises(DataError, match=tile.name):
        data.compute()


@pytest.mark.parametrize("is_migrated", [False, True])
def test_an_earlier_release_s_store_is_added_to(tmp_path: Path, is_migrated: bool) -> None:
    """As 5b344d5 left it: tiles by other names, and one digest of all of a category's objects."""
    data = DataSet(str(tmp_path))
    data.add("a/b", 20)
    data.add("mug", 9)
    write_objects(str(tmp_path / "embed"), data.objects)
    digest = {o.key: o.views_digest for o in open_embeddings(str(tmp_path / "embed"), "train").objects}
    sources = {c: source_of("i2i", [[k, digest[k]] for k in data.keys(c)], "") for c in ("a/b", "mug")}
    data.compute("fresh")
    fresh = open_similarity(str(tmp_path / "fresh"))
    matrices = {c: (data.keys(c), fresh.lookup(data.keys(c))) for c in ("a/b", "mug")}
    for out in ("same", "added", "removed"):
        write_earlier(f"{data.url}/{out}", matrices, 8, sources, is_migrated=is_migrated)
    assert data.compute("same").made == 0
    assert not list((tmp_path / "same").glob("*.index"))
    assert (tmp_path / "same" / "a%2Fb.0-8.sim").exists()
    data.check("same")
    assert read_index(f"{data.url}/same").digest == read_index(f"{data.url}/fresh").digest
    data.add("a/b", 2)
    assert data.compute("added").made == 20 * 2 + 1
    data.check("added")
    # which of its objects have changed it does not say
    data.remove("mug", 1)
    outcome = data.compute("removed")
    assert (outcome.made, outcome.removed) == (20 * 2 + 1 + 8 * 7 // 2, 8)
    data.check("removed")
    assert data.compute("same").made == 20 * 2 + 1  # it has learnt it


@pytest.mark.parametrize("metric", ["i2i", "i2l"])
def test_categories_of_any_name(tmp_path: Path, metric: Metric) -> None:
    names = [
        ".22 rifle",
        "\N{CYRILLIC SMALL LETTER SHA}" * 52,
        "a/b",
        "CON",
        "Chair",
        "chair",
        "chair-0123456789abcdef",
    ]
    data = DataSet(str(tmp_path))
    for name in names:
        data.add(name, 4)
    write_texts(str(tmp_path / "landmarks"), dict.fromkeys(names, 1))
    assert data.compute(metric=metric).made == 6 * len(names)
    store = open_similarity(str(tmp_path / "sim"))
    store.verify()
    assert store.categories == tuple(sorted(names))
    files = [p.name for p in (tmp_path / "sim").glob("*.sim")]
    assert len({file.casefold() for file in files}) == len(names)
    assert data.compute(metric=metric).made == 0
    if metric == "i2i":
        data.check()


def test_the_store_s_values_have_the_stage_s_version() -> None:
    assert chain.FORMATS["similarity"] == VALUES


def test_a_damaged_index_is_made_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = DataSet(str(tmp_path))
    data.add("chair", 9)
    data.compute()
    table = next((tmp_path / "sim").glob("objects-*.parquet"))
    objects.write_bytes(str(table), b"damaged")
    assert data.compute().made == 0  # the tiles are those of a store made from scratch
    assert table.name in capfd.readouterr().err
    data.check()
