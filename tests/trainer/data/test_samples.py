"""Batches are the same to the bit wherever their objects are, in memory or in storage, and on any number of ranks."""

from __future__ import annotations

import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from captionless.store import objects
from captionless.store.embeddings import Embeddings, open_embeddings
from captionless.trainer.data.augment import training_clouds, with_channels
from captionless.trainer.data.node_cache import NodeCache
from captionless.trainer.data.read_ahead import ReadAhead
from captionless.trainer.data.training_data import Batch, TrainingData, metadata_bytes
from captionless.trainer.seeds import generator
from captionless.trainer.training_job import MEMORY
from tests.embedded import members
from tests.trainer import synthetic

OBJECTS, POINTS = 26, 64
EACH = 2 * (synthetic.VIEWS * synthetic.FEATURES + POINTS * 3)
BUDGETS = {"kept": MEMORY, "partly": 10 * EACH + 1, "streamed": 0}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("samples")
    synthetic.write(path, train=OBJECTS, points=POINTS, shards=2)
    return path


@pytest.fixture(scope="module")
def arrays(root: Path) -> dict[str, np.ndarray]:
    return members(root / "embed" / "train")


def open_data(root: Path, memory: int, url: str = "", **train: Any) -> TrainingData:
    """`memory`: for objects alone."""
    job = synthetic.job(root, **train)
    rest = metadata_bytes(open_embeddings(job.data, "train"), NodeCache())
    return TrainingData(url or job.data, job.train, 0, memory + rest)


def expected(root: Path, arrays: dict[str, np.ndarray], step: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """A whole batch from whole arrays: what the definition says, one object after the other."""
    spec = synthetic.job(root).train
    keys = sorted(name.removesuffix(".views.npy") for name in arrays if name.endswith(".views.npy"))
    epoch, place = divmod(step, OBJECTS // spec.batch_size)
    order = np.random.Generator.permutation(generator("order", 0, epoch), OBJECTS)
    image, clouds = [], []
    for i in order[place * spec.batch_size : (place + 1) * spec.batch_size]:
        g = generator("sample", 0, step, keys[i], 0)
        row = arrays[f"{keys[i]}.views.npy"][g.integers(synthetic.VIEWS)].astype(np.float32)
        image.append(row / np.linalg.norm(row[None], axis=1))
        points = arrays[f"{keys[i]}.points.npy"][None, :, :3]
        clouds.append(training_clouds(points, spec.points, spec.augment, [g])[0])
    return np.stack(image), with_channels(np.stack(clouds), channels)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("budget", BUDGETS)
def test_batches_are_those_of_the_definition(
    root: Path, arrays: dict[str, np.ndarray], budget: str, channels: int
) -> None:
    encoder = {"width": 4, "nsample": 4, "in_channels": channels}
    data = open_data(root, BUDGETS[budget], encoder=encoder)
    with ReadAhead(data.read, data.make, end=8) as batches:
        for step in (0, 1, 2, 3, 7, 4, 5, 6):
            image, points = expected(root, arrays, step, channels)
            for batch in (batches.take(step), data.batch(step)):
                np.testing.assert_array_equal(batch.image, image)
                np.testing.assert_array_equal(batch.points, points)


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("world", [1, 2, 3])
def test_ranks_have_the_parts_of_the_whole_whatever_the_shards(root: Path, budget: str, world: int) -> None:
    """Two shards, and up to three ranks."""
    whole = open_data(root, MEMORY)
    ranks = [open_data(root, BUDGETS[budget]) for _ in range(world)]
    for step in (0, 1, 2, 3, 4):
        parts: list[Batch] = [data.batch(step, rank, world) for rank, data in enumerate(ranks)]
        one = whole.batch(step)
        np.testing.assert_array_equal(np.concatenate([part.image for part in parts]), one.image)
        np.testing.assert_array_equal(np.concatenate([part.points for part in parts]), one.points)
        assert all(part.keys == one.keys for part in parts)


def test_storage_makes_no_difference(root: Path) -> None:
    url = f"memory://{uuid.uuid4()}"
    for path in (root / "embed").rglob("*"):
        if path.is_file():
            objects.write_bytes(objects.join(url, str(path.relative_to(root / "embed"))), path.read_bytes())
    local = open_data(root, MEMORY)
    for memory in BUDGETS.values():
        remote = open_data(root, memory, url)
        for step in range(7):
            np.testing.assert_array_equal(remote.batch(step).points, local.batch(step).points)
            np.testing.assert_array_equal(remote.batch(step).image, local.batch(step).image)


@pytest.mark.parametrize("budget", BUDGETS)
def test_memory_is_kept_to_and_what_is_kept_is_read_once(
    root: Path, monkeypatch: pytest.MonkeyPatch, budget: str
) -> None:
    memory, read = BUDGETS[budget], Counter[int]()
    real = Embeddings.read

    def counting(self: Embeddings, indices: Any, *arguments: Any) -> None:
        read.update(map(int, indices))
        real(self, indices, *arguments)

    monkeypatch.setattr(Embeddings, "read", counting)
    data = open_data(root, memory)
    epochs = 6
    chosen = Counter[int]()
    for step in range(epochs * (OBJECTS // 8)):
        data.batch(step)
        chosen.update(data.indices(step)[1].tolist())
    samples = data.samples
    assert samples._kept_views.nbytes + samples._kept_points.nbytes <= memory
    once = [i for i in chosen if read[i] == 1 < chosen[i]]
    assert len(once) == data.samples.room == {"kept": OBJECTS, "partly": 10, "streamed": 0}[budget]
    assert all(read[i] == chosen[i] for i in set(chosen).difference(once))


def test_more_threads_than_room(root: Path) -> None:
    """Objects of two epochs come at the same time, and each is right."""
    data, other = open_data(root, 20 * EACH), open_data(root, MEMORY)
    with ReadAhead(data.read, data.make, end=30, ahead=8) as batches:
        for step in range(30):
            np.testing.assert_array_equal(batches.take(step).points, other.batch(step).points)
