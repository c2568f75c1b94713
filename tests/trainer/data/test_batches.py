"""The order of an epoch, global and windowed, and which ranks get what."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from captionless.trainer.data.batches import EpochOrder, WindowedOrder, by_shard, cut
from captionless.trainer.data.training_data import TrainingData
from captionless.trainer.seeds import generator
from tests.trainer import synthetic


@pytest.mark.parametrize("objects", [2, 26, 70_000])  # in 16 bits, and in more
def test_the_global_order_is_numpy_s_permutation(objects: int) -> None:
    found = EpochOrder(objects, 3).of(2)
    np.testing.assert_array_equal(found, generator("order", 3, 2).permutation(objects))
    assert found.dtype == np.int32


def sequence_of(order: WindowedOrder, shards: np.ndarray, epoch: int) -> np.ndarray:
    """The shards' turns in an epoch, from another order of the same draw whose window is nothing."""
    plain = WindowedOrder(shards, 0, order._seed).of(epoch)
    return shards[plain]


def test_a_windowed_epoch_holds_each_object_once_and_few_shards_at_a_time() -> None:
    shards = np.random.default_rng(0).permutation(np.repeat(np.arange(40) * 7, 25))  # numbers need not be 0, 1, ...
    order, window = WindowedOrder(shards, 100, 0), 100
    epochs = [order.of(epoch) for epoch in range(3)]
    for epoch, found in enumerate(epochs):
        assert sorted(found.tolist()) == list(range(1000))
        np.testing.assert_array_equal(found, WindowedOrder(shards, 100, 0).of(epoch))
        turns = sequence_of(order, shards, epoch)
        assert len(np.flatnonzero(np.diff(turns))) == 39  # whole shards
        first = {name: int(np.flatnonzero(turns == name)[0]) for name in set(shards.tolist())}
        for place, name in enumerate(shards[found].tolist()):
            assert first[name] - window <= place <= first[name] + 25 + window
        used = [len(set(shards[found[at : at + 1]].tolist())) for at in range(1000)]
        assert max(used) == 1
        uses = {name: np.flatnonzero(shards[found] == name) for name in set(shards.tolist())}
        in_use = [sum(bool(u[0] <= at <= u[-1]) for u in uses.values()) for at in range(1000)]
        assert max(in_use) <= window // 25 + 3
        assert np.mean(in_use[100:900]) > 3  # and they are mixed
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(epochs[0], WindowedOrder(shards, 100, 1).of(0))


def test_a_window_of_everything_leaves_no_order_of_shards() -> None:
    shards = np.repeat(np.arange(50), 20)
    places = np.zeros(1000)
    for seed in range(40):
        found = WindowedOrder(shards, 10_000, seed).of(0)
        places[found] += np.arange(1000) / 40
        neighbours = np.mean(shards[found][1:] == shards[found][:-1])
        assert neighbours < 0.06  # of chance 0.019
    assert np.abs(places - 499.5).max() < 4.5 * 289 / np.sqrt(40)


def test_ranks_get_objects_of_few_shards_within_their_micro_batches() -> None:
    rng = np.random.default_rng(0)
    shards, batch = rng.integers(8, size=500), rng.permutation(500)[:64]
    found = batch[by_shard(batch, shards, 2)]
    for part in (slice(0, 32), slice(32, 64)):
        assert set(found[part]) == set(batch[part])
        assert (np.diff(shards[found[part]]) >= 0).all()
    for rank in cut(64, 2, 4):
        for rows in rank:
            assert len(set(shards[found[rows]].tolist())) <= 4  # of 8 objects of 8 shards


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("batches")
    synthetic.write(path, train=26, shards=5)
    return path


def test_windowed_batches_do_not_depend_on_the_ranks_and_move_no_other_run(root: Path) -> None:
    windowed = synthetic.job(root, batches={"shuffle": "windowed", "window": 8})
    plain = synthetic.job(root)
    assert windowed.fingerprint("d") != plain.fingerprint("d")
    assert windowed.fingerprint("d") != synthetic.job(root, batches={"shuffle": "windowed"}).fingerprint("d")
    assert not [name for name in plain.fields if name.startswith("train.batches.shuffle")]
    assert windowed.fields["train.batches.window"] == 8
    data = TrainingData(windowed.data, windowed.train, 0)
    epoch = [key for step in range(3) for key in data.batch(step).keys]
    assert len(set(epoch)) == 24
    whole = data.batch(1)
    parts = [data.batch(1, rank, 3) for rank in range(3)]
    assert parts[0].keys == whole.keys
    np.testing.assert_array_equal(np.concatenate([p.points for p in parts]), whole.points)
    np.testing.assert_array_equal(np.concatenate([p.image for p in parts]), whole.image)


def test_a_window_without_a_windowed_shuffle_is_refused(root: Path) -> None:
    with pytest.raises(ValidationError, match="window: only an option of shuffle: windowed"):
        synthetic.job(root, batches={"window": 8})
