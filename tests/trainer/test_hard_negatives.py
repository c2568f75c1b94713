from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from captionless.errors import Retryable
from captionless.nearest_neighbours import scales
from captionless.trainer import encoders, hard_negatives, nearest_on_device, unfinished
from captionless.trainer.data.training_data import TrainingData
from captionless.trainer.distributed import by_blocks
from captionless.trainer.hard_negatives import HardNegatives, comparing
from captionless.trainer.infer import encode_points
from tests.test_nearest_neighbours import reference
from tests.trainer import synthetic


def found(rows: np.ndarray, k: int) -> np.ndarray:
    keys = [f"object-{i}" for i in range(len(rows))]
    return by_blocks(comparing(rows, k, keys), len(rows), 64)


def rows_of(kind: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    rows = {
        "random": rng.standard_normal((300, 24)),
        "many equal": np.tile(rng.standard_normal((25, 24)), (6, 1)),
        "nearly equal": rng.standard_normal(256) + 3e-4 * rng.standard_normal((200, 256)),
    }[kind]
    return rows.astype(np.float32)


@pytest.mark.parametrize("kind", ["random", "many equal", "nearly equal"])
@pytest.mark.parametrize("k", [1, 7, 40])
def test_nearest_are_those_of_a_plain_sort(kind: str, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_of(kind)
    expected, _ = reference(rows, k)
    assert found(rows, k).dtype == np.int32
    np.testing.assert_array_equal(found(rows, k), expected)
    monkeypatch.setattr(nearest_on_device, "_COLUMNS", 37)
    keys = [f"object-{i}" for i in range(len(rows))]
    for start in range(0, len(rows), 50):  # what a GPU does, on the CPU
        places = np.arange(start, min(start + 50, len(rows)))
        scale = torch.from_numpy(scales(rows, 0, keys))
        on_device = nearest_on_device.nearest(torch.from_numpy(rows), scale, places, k, keys)
        np.testing.assert_array_equal(on_device, expected[places])


def test_more_neighbours_than_there_are_others_are_refused() -> None:
    with pytest.raises(ValueError, match="3 neighbours among 3"):
        found(rows_of("random")[:3], 3)


def test_a_search_that_is_killed_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synthetic.write(tmp_path, train=26)
    job = synthetic.job(tmp_path, batches={"kind": "neighbours", "group": 2, "candidates": 4, "every": 1})
    monkeypatch.setattr(unfinished, "_STORED_EVERY", 0.0)
    monkeypatch.setattr(hard_negatives, "ENCODED_TOGETHER", 2)  # eight clouds a wave
    monkeypatch.setattr(hard_negatives, "_COMPARED_TOGETHER", 1)
    data = TrainingData(job.data, job.train, 0)
    torch.manual_seed(0)
    encoder = encoders.build("pointnext-s", **loop_options(job, data))
    whole = HardNegatives(data)
    whole.search(encoder, 3)
    expected, computed = data.nearest, 0

    def killed(after: int) -> Callable[[], None]:
        def beat() -> None:
            nonlocal computed
            computed += 1
            if computed == after:
                raise KeyboardInterrupt

        return beat

    total = 13 + 26
    for after in (6, 16, 30):  # while encoding, and twice while comparing
        with pytest.raises(KeyboardInterrupt):
            HardNegatives(data, str(tmp_path / "run" / "own")).search(encoder, 3, killed(after))
    HardNegatives(data, str(tmp_path / "run" / "own")).search(encoder, 3, killed(10**9))
    np.testing.assert_array_equal(data.nearest, expected)
    assert total <= computed <= total + 3 * 4  # of each of the killed ones the blocks of one wave, at most
    assert not (tmp_path / "run" / "own").exists()
    with pytest.raises(KeyboardInterrupt):
        HardNegatives(data, str(tmp_path / "run" / "own")).search(encoder, 3, killed(computed + 30))
    damaged = sorted((tmp_path / "run" / "own").rglob("nearest-*.npy"))[1]
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    HardNegatives(data, str(tmp_path / "run" / "own")).search(encoder, 3)
    np.testing.assert_array_equal(data.nearest, expected)


def test_a_rank_that_was_replaced_stores_and_removes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synthetic.write(tmp_path, train=26)
    job = synthetic.job(tmp_path, batches={"kind": "neighbours", "group": 2, "candidates": 4, "every": 1})
    monkeypatch.setattr(unfinished, "_STORED_EVERY", 0.0)
    monkeypatch.setattr(hard_negatives, "ENCODED_TOGETHER", 2)
    data = TrainingData(job.data, job.train, 0)
    encoder = encoders.build("pointnext-s", **loop_options(job, data))
    newer = tmp_path / "own" / "00000003-of-another" / "nearest-0000000000-0123456789abcdef.npy"
    newer.parent.mkdir(parents=True)
    newer.write_bytes(b"newer")

    def replaced() -> None:
        raise Retryable("replaced")

    with pytest.raises(Retryable):
        HardNegatives(data, str(tmp_path / "own"), replaced).search(encoder, 3)
    assert [p for p in (tmp_path / "own").rglob("*") if p.is_file()] == [newer]


def test_the_search_is_in_the_encoders_space_and_comes_every_few_epochs(tmp_path: Path) -> None:
    synthetic.write(tmp_path, train=26)
    job = synthetic.job(tmp_path, batches={"kind": "neighbours", "group": 2, "candidates": 4, "every": 2})
    data = TrainingData(job.data, job.train, 0)  # three steps an epoch
    search = HardNegatives(data)
    torch.manual_seed(0)
    encoder = encoders.build("pointnext-s", **loop_options(job, data))
    searched = []
    for step in range(20):
        if search.due(step):
            search.search(encoder, step)
            searched.append(step)
    assert searched == [6, 12, 18]
    embedded = encode_points(encoder, data.clouds(data.training), 32)
    products = embedded @ embedded.T
    np.fill_diagonal(products, -np.inf)
    assert data.nearest is not None
    assert data.nearest.shape == (26, 4)
    np.testing.assert_array_equal(data.nearest[:, 0], products.argmax(1))

    again = TrainingData(job.data, job.train, 0)
    other = HardNegatives(again)
    other.load_state_dict(search.state_dict())
    np.testing.assert_array_equal(again.nearest, data.nearest)
    assert [step for step in range(18, 30) if other.due(step)] == list(range(24, 30))
    plain = synthetic.job(tmp_path)
    assert not any(HardNegatives(TrainingData(plain.data, plain.train, 0)).due(step) for step in range(30))


def loop_options(job, data):  # type: ignore[no-untyped-def]
    from captionless.trainer.encoders import encoder_options

    return encoder_options(job.train.encoder, data.features)


def test_the_search_is_of_training_objects_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synthetic.write(tmp_path, train=26)
    batches = {"kind": "neighbours", "group": 2, "candidates": 4, "every": 1}
    job = synthetic.job(tmp_path, batches=batches, validation={"share": 0.3})
    data = TrainingData(job.data, job.train, 0)
    rows = np.eye(18, dtype=np.float32)
    monkeypatch.setattr(hard_negatives, "encoding", lambda *_: lambda places: rows[places])
    search = HardNegatives(data)
    search.search(torch.nn.Linear(1, 1), 3)  # type: ignore[arg-type]
    held = set(data.validation.tolist())
    assert not any(held & set(data.indices(step)[1].tolist()) for step in range(3, 12))
