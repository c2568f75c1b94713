"""Hard-negative batches from a stored table: what of it is taken, what is refused, and what a run says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from captionless.errors import DataError, Interrupted, SpecError
from captionless.stages import neighbours
from captionless.store.embeddings import open_embeddings
from captionless.store.neighbour_store import content_digest, open_neighbours
from captionless.trainer import loop, model_file
from captionless.trainer.data.batches import with_neighbours
from captionless.trainer.data.training_data import TrainingData
from captionless.trainer.hard_negatives import HardNegatives
from tests.trainer import synthetic


def mine(root: Path, out: str = "near", k: int = 6, within: Any = "dataset") -> str:
    neighbours.compute(str(root / "embed"), str(root / out), "mean", within, k)
    return str(root / out)


def job(root: Path, url: str, run: str = "run", **train: Any) -> Any:
    batches = {"kind": "neighbours", "group": 3, "candidates": 6, "from": url, **train.pop("batches", {})}
    return synthetic.job(root, run, "uniform", batches=batches, **train)


def read(root: Path, url: str, **train: Any) -> TrainingData:
    made = job(root, url, **train)
    data = TrainingData(made.data, made.train, made.seed)
    HardNegatives(data)
    return data


def test_groups_are_of_the_stored_nearest_from_the_first_step_on(tmp_path: Path) -> None:
    synthetic.write(tmp_path, train=26)
    url = mine(tmp_path, k=8)  # of which the first six are taken
    data, store = read(tmp_path, url), open_neighbours(url)
    assert data.nearest is not None
    assert data.nearest.shape == (26, 6)
    expected, _ = store.lookup(data.keys)
    assert [data.keys.some(row) for row in data.nearest] == [near[:6] for near in expected]
    for step in (0, 3, 7):
        chosen = data.keys.some(data.indices(step)[1])
        for at in range(0, 6, 3):
            (near,), _ = store.lookup(chosen[at : at + 1])
            assert set(chosen[at + 1 : at + 3]) <= set(near[:6])


def test_what_is_held_out_is_in_no_batch_and_those_after_it_move_up(tmp_path: Path) -> None:
    synthetic.write(tmp_path, train=26)
    url = mine(tmp_path, k=9)
    data = read(tmp_path, url, validation={"share": 0.3}, batches={"candidates": 7})
    held = set(data.keys.some(data.validation))
    assert held
    (every, _), of = open_neighbours(url).lookup(data.keys.some(data.training)), data.nearest
    assert of is not None
    for near, row in zip(every, of, strict=True):
        kept = [key for key in near if key not in held][:7]
        assert data.keys.some(data.training[row[row >= 0]]) == kept
        assert (row[len(kept) :] == -1).all()
    assert not any(held & set(data.keys.some(data.indices(step)[1])) for step in range(9))


def test_a_seed_with_fewer_neighbours_makes_a_smaller_group() -> None:
    keys = [f"object-{i}" for i in range(8)]
    nearest = np.full((8, 2), -1)
    nearest[0], nearest[1, 0] = (6, 7), 5
    batch = np.array([1, 2, 0, 3, 4, 5, 6])
    found, groups = with_neighbours(batch, 3, nearest, keys, 0, 0)
    assert found[:3].tolist() == [1, 5, 2]
    assert sorted(found[3:6].tolist()) == [0, 6, 7]
    assert found[6:].tolist() == [3]
    assert groups.tolist() == [0, 0, 1, 2, 2, 2, 3]


def test_a_table_of_a_category_is_taken_as_it_is(tmp_path: Path) -> None:
    synthetic.write(tmp_path, train=12, categories=6)  # of two objects each
    data = read(tmp_path, mine(tmp_path, within="category"))
    for step in range(3):
        chosen = [data.categories[i] for i in data.indices(step)[1]]
        assert chosen[0::2] == chosen[1::2]


def test_what_is_not_this_runs_is_refused_by_name(tmp_path: Path) -> None:
    for name, count, seed in (("own", 26, 0), ("fewer", 24, 0), ("other", 26, 1)):
        synthetic.write(tmp_path / name, train=count, seed=seed)
    missing = (set(open_embeddings(str(tmp_path / "own" / "embed"), "train").keys)
               - set(open_embeddings(str(tmp_path / "fewer" / "embed"), "train").keys))  # fmt: skip
    with pytest.raises(DataError) as refused:
        read(tmp_path / "own", mine(tmp_path / "fewer"))
    assert any(f'"{key}"' in str(refused.value) for key in missing)
    other = mine(tmp_path / "other")
    with pytest.raises(DataError) as refused:
        read(tmp_path / "own", other)
    assert other in str(refused.value)
    assert open_neighbours(other).data[:12] in str(refused.value)
    assert "\n" not in str(refused.value)
    with pytest.raises(DataError, match="neighbours"):
        read(tmp_path / "own", str(tmp_path / "nowhere"))
    with pytest.raises(SpecError, match=r"candidates: 6.*--k 6"):
        read(tmp_path / "own", mine(tmp_path / "own", k=4))


def test_a_table_that_does_not_say_what_it_is_of_is_named_and_made_to_say_so(tmp_path: Path) -> None:
    synthetic.write(tmp_path, train=26)
    url = mine(tmp_path)
    manifest = tmp_path / "near" / "neighbours.json"
    document = json.loads(manifest.read_bytes())
    del document["data"]  # as of an earlier release
    manifest.write_text(json.dumps(document | {"stamp": "0" * 16}))
    with pytest.raises(DataError, match="run neighbours"):
        read(tmp_path, url)
    mine(tmp_path)
    assert read(tmp_path, url).nearest is not None


def test_the_table_is_part_of_what_a_run_is(tmp_path: Path) -> None:
    synthetic.write(tmp_path, train=26)
    url = mine(tmp_path)
    first = job(tmp_path, url)
    digest = open_embeddings(first.data, "train").digest
    before, said = first.fingerprint(digest), first.settings(digest)
    assert content_digest(url) in said.values()
    mine(tmp_path, "again")
    assert content_digest(str(tmp_path / "again")) == content_digest(url)
    mine(tmp_path, k=7)
    assert first.fingerprint(digest) != before
    searched = synthetic.job(tmp_path, batches={"kind": "neighbours", "group": 3, "candidates": 6})
    assert not any("neighbours of" in name for name in searched.settings(digest))


def test_an_interrupted_run_reads_it_again(tmp_path: Path) -> None:
    synthetic.write(tmp_path, train=26)
    url = mine(tmp_path)
    loop.train(job(tmp_path, url, "whole"))
    stopping = iter([False, False, True])
    with pytest.raises(Interrupted):
        loop.train(job(tmp_path, url, "stopped"), lambda: next(stopping))
    loop.train(job(tmp_path, url, "stopped"))
    losses = [json.loads((tmp_path / run / "history.json").read_text())["loss"] for run in ("whole", "stopped")]
    assert losses[0] == losses[1]
    _, about = model_file.load_model(str(tmp_path / "whole"))
    assert about["provenance"]["neighbours"] == content_digest(url)
