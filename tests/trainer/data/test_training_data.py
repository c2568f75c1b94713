from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from captionless.errors import DataError, SpecError
from captionless.spec.weights import Weights
from captionless.store import objects
from captionless.store.columns import Named, Strings
from captionless.store.embeddings import open_embeddings
from captionless.store.similarity_store import SimilarityStore, open_similarity
from captionless.trainer.data.splits import held_out
from captionless.trainer.data.training_data import Batch, TrainingData
from captionless.trainer.losses.hn_weights import HNWeights
from captionless.trainer.losses.weight_source import WeightSource
from captionless.trainer.seeds import generator, number
from captionless.trainer.training_job import MEMORY, TrainingJob
from tests.trainer import reference, synthetic


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data")
    synthetic.write(path, train=26)
    return path


def open_data(root: Path, seed: int = 0, **train: object) -> TrainingData:
    job = synthetic.job(root, seed=seed, **train)
    return TrainingData(job.data, job.train, seed)


def test_an_epoch_holds_each_object_at_most_once_and_drops_the_rest(root: Path) -> None:
    data = open_data(root)
    epochs = [np.concatenate([data.indices(step)[1] for step in range(3 * e, 3 * e + 3)]) for e in range(2)]
    for epoch in epochs:
        assert len(epoch) == len(set(epoch.tolist())) == 24
    assert not np.array_equal(*epochs)
    assert [data.indices(step)[0] for step in range(6)] == [0, 0, 0, 1, 1, 1]
    assert not np.array_equal(open_data(root, seed=1).indices(0)[1], data.indices(0)[1])


def test_a_batch_is_a_pure_function_and_does_not_depend_on_the_ranks(root: Path) -> None:
    whole = open_data(root).batch(4)
    assert whole.image.shape == (8, synthetic.FEATURES)
    assert whole.points.shape == (8, 32, 3)
    for world in (2, 3):
        parts = [open_data(root).batch(4, rank, world) for rank in range(world)]
        np.testing.assert_array_equal(np.concatenate([p.image for p in parts]), whole.image)
        np.testing.assert_array_equal(np.concatenate([p.points for p in parts]), whole.points)
        assert all(p.keys == whole.keys and p.categories == whole.categories for p in parts)
        assert [len(p.image) for p in parts] == parts[0].sizes


@pytest.mark.parametrize("loss", ["mean", "multi-positive"])
@pytest.mark.parametrize("memory", [MEMORY, 0])
def test_several_views_of_an_object_are_different_ones_on_any_number_of_ranks(
    root: Path, loss: str, memory: int
) -> None:
    job = synthetic.job(root, views={"count": 3, "loss": loss}, accumulate=2)
    data = TrainingData(job.data, job.train, 0, memory)
    whole = data.batch(4)
    stored = open_embeddings(job.data, "train")
    of = {key: place for place, key in enumerate(stored.keys)}
    for key, image in zip(whole.keys, whole.image, strict=True):
        drawn = generator("sample", 0, 4, key, 0).permutation(synthetic.VIEWS)[:3]
        views = stored.views([of[key]])[0][drawn].astype(np.float64)
        views /= np.linalg.norm(views, axis=1, keepdims=True)
        mean = views.mean(0) / np.linalg.norm(views.mean(0))
        np.testing.assert_allclose(image, mean if loss == "mean" else views, atol=1e-6)
    parts = [TrainingData(job.data, job.train, 0, memory).batch(4, rank, 3) for rank in range(3)]
    images = dict(zip(whole.keys, whole.image, strict=True))
    for rank, part in enumerate(parts):
        own = part.keys[sum(part.sizes[:rank]) :][: part.sizes[rank]]
        np.testing.assert_array_equal(part.image, np.stack([images[key] for key in own]))
    several = dict(zip(whole.keys, whole.points, strict=True))
    again = TrainingData(job.data, job.train, 0, memory).batch(4)
    assert all(np.array_equal(several[key], points) for key, points in zip(again.keys, again.points, strict=True))


def test_more_views_than_are_stored_are_refused(root: Path) -> None:
    with pytest.raises(SpecError, match=r"train\.views\.count: 5, but .* stores 4 views per object"):
        open_data(root, views={"count": 5, "loss": "mean"})


def test_micro_batches_come_before_ranks(root: Path) -> None:
    """What shares the statistics of a micro-batch does not depend on the number of ranks."""
    whole = open_data(root, accumulate=3).batch(4)
    assert whole.keys == open_data(root).batch(4).keys
    assert whole.micro_batches == [3, 3, 2]
    edges = np.cumsum([0, *whole.micro_batches])
    parts = [open_data(root, accumulate=3).batch(4, rank, 2) for rank in range(2)]
    assert [p.micro_batches for p in parts] == [[2, 2, 1], [1, 1, 1]]
    assert [p.sizes for p in parts] == [[5, 3]] * 2
    for at in range(3):
        rows = [p.points[sum(p.micro_batches[:at]) :][: p.micro_batches[at]] for p in parts]
        np.testing.assert_array_equal(np.concatenate(rows), whole.points[edges[at] : edges[at + 1]])
    for rank, part in enumerate(parts):
        assert part.keys == parts[0].keys
        own = part.keys[sum(part.sizes[:rank]) :][: part.sizes[rank]]
        for key, image in zip(own, part.image, strict=True):
            np.testing.assert_array_equal(image, whole.image[whole.keys.index(key)])


def test_a_share_of_every_category_is_kept_out_of_training(root: Path) -> None:
    data = open_data(root, validation={"share": 0.3})
    assert sorted([*data.training, *data.validation]) == list(range(26))
    held = [data.categories[i] for i in data.validation]
    assert {c: held.count(c) for c in set(data.categories)} == {"c0": 3, "c1": 3, "c2": 2}  # of 9, 9, 8
    np.testing.assert_array_equal(open_data(root, seed=7, validation={"share": 0.3}).validation, data.validation)
    drawn = {int(i) for step in range(20) for i in data.indices(step)[1]}
    assert drawn == set(data.training.tolist())
    everything = held_out(["a", "b", "c"], ["x", "x", "y"], 0.5)
    assert everything.sum() == 1
    assert not everything[2]  # the only one of its category


def test_hard_negative_batches_are_groups_of_a_seed_and_its_neighbours(root: Path) -> None:
    spec = {"kind": "neighbours", "group": 4, "candidates": 5}
    data, plain = open_data(root, batches=spec), open_data(root)
    np.testing.assert_array_equal(data.indices(2)[1], plain.indices(2)[1])  # before the first search
    rng = np.random.default_rng(0)
    others = [np.delete(np.arange(26), i) for i in range(26)]
    data.nearest = np.stack([rng.permutation(o)[:5] for o in others]).astype(np.int32)
    drawn = set()
    for step in range(9):
        epoch, batch = data.indices(step)
        assert (epoch, len(batch)) == (step // 3, 8)
        for seed, *group in batch.reshape(2, 4).tolist():
            assert len(set(group)) == 3
            assert set(group) <= set(data.nearest[seed].tolist())
            drawn.add((seed, tuple(group)))
        np.testing.assert_array_equal(batch[[0, 4]], plain.indices(step)[1][:2])
        assert data.batch(step).keys == [data.keys[i] for i in batch]
    assert len(drawn) > 12  # other neighbours in another epoch
    again = open_data(root, batches=spec)
    again.nearest = data.nearest
    np.testing.assert_array_equal(again.indices(7)[1], data.indices(7)[1])
    with pytest.raises(SpecError, match=r"train\.batches\.candidates: 31.* 26 "):
        open_data(root, batches={"kind": "neighbours"})
    with pytest.raises(ValidationError, match=r"group: 5\b.*candidates"):
        open_data(root, batches={"kind": "neighbours", "group": 5, "candidates": 3})


def test_an_object_that_a_batch_holds_again_is_another_sample(root: Path) -> None:
    """Another view and augmentation, and other masks; and another one in another step of the same epoch."""
    data = open_data(root, batches={"kind": "neighbours", "group": 4, "candidates": 3})
    data.nearest = np.tile(np.array([0, 1, 2], np.int32), (26, 1))
    batches = [data.batch(step) for step in range(3)]
    again = [i for i, key in enumerate(batches[0].keys) if batches[0].keys.index(key) < i]
    assert len(again) >= 2
    seeds, clouds, views = set(), [], set()
    for batch in batches:
        seeds |= set(batch.seeds.tolist())
        clouds += [batch.points[i].tobytes() for i in range(8)]
        views |= {batch.image[i].tobytes() for i, key in enumerate(batch.keys) if key == data.keys[data.training[1]]}
    assert len(seeds) == len(set(clouds)) == 24
    assert len(views) > 1


@pytest.mark.parametrize("options", [{}, {"batches": {"kind": "neighbours", "group": 4, "candidates": 3}}], ids=str)
def test_a_samples_draw_depends_on_neither_rank_nor_micro_batch(root: Path, options: dict[str, object]) -> None:
    def samples(accumulate: int, world: int) -> list[tuple[str, int, bytes, bytes]]:
        data = open_data(root, accumulate=accumulate, **options)
        if options:
            data.nearest = np.tile(np.array([0, 1, 2], np.int32), (26, 1))
        found = []
        for rank in range(world):
            batch = data.batch(4, rank, world)
            first = sum(batch.sizes[:rank])
            keys = batch.keys[first : first + batch.sizes[rank]]
            found += zip(keys, batch.seeds.tolist(), map(bytes, batch.image), map(bytes, batch.points), strict=True)
        return sorted(found)

    whole = samples(1, 1)
    assert all(samples(accumulate, world) == whole for accumulate in (1, 2) for world in (1, 2, 3, 4))


def test_images_are_stored_views_of_their_objects(root: Path) -> None:
    data, stored = open_data(root), open_embeddings(str(root / "embed"), "train")
    seen = set()
    for step in range(9):
        batch = data.batch(step)
        for key, category, row in zip(batch.keys, batch.categories, batch.image, strict=True):
            index = stored.keys.index(key)
            products = stored.views([index])[0] @ row
            seen.add(int(products.argmax()))
            assert products.max() == pytest.approx(1.0, abs=2e-3)
            assert category == stored.categories[index]
    assert seen == set(range(synthetic.VIEWS))


def test_small_and_wrong_data(root: Path, tmp_path: Path) -> None:
    assert len(open_data(root, batch_size=100).indices(3)[1]) == 26  # the whole data set
    with pytest.raises(SpecError, match=r"train\.points: 65"):
        open_data(root, points=65)
    synthetic.write(tmp_path, train=1)
    with pytest.raises(DataError, match="1 training object"):
        open_data(tmp_path)


def log_weights(job: TrainingJob, batch: Batch) -> np.ndarray:
    """(N, N) log-weights that a job gives a batch, on one process."""
    source, n = WeightSource(job, torch.device("cpu")), len(batch.keys)
    found = source(source.look_up(batch.keys, batch.categories, slice(n)), batch.keys, batch.sizes)
    return np.zeros((n, n)) if found is None else found.matrix(slice(None)).log().numpy()


def test_weights_of_each_mode_follow_from_the_stores(root: Path) -> None:
    data = open_data(root)
    batch = data.batch(0)
    stores = {metric: open_similarity(str(root / "similarity" / metric)) for metric in ("i2i", "i2l")}
    expected = {
        metric: reference.log_weights(store.lookup(batch.keys).astype(np.float64), batch.keys, "one")
        for metric, store in stores.items()
    }
    means = stores["i2i"].category_mean()
    control = np.full((8, 8), 0.25)
    for i, a in enumerate(batch.categories):
        for j, b in enumerate(batch.categories):
            if a == b:
                control[i, j] = means[a]
    expected["category"] = reference.log_weights(control, batch.keys, "one")
    expected["uniform"] = np.zeros((8, 8))
    expected["avg"] = np.log((np.exp(expected["i2i"]) + np.exp(expected["i2l"])) / 2)
    assert set(expected) == {w.value for w in Weights}
    for name, value in expected.items():
        got = log_weights(synthetic.job(root, weights=name), batch)
        np.testing.assert_allclose(got, value, atol=1e-5)


@pytest.mark.parametrize("name", ["uniform", "i2i", "avg"])
def test_each_rank_s_batch_comes_with_its_rows_of_similarity(root: Path, name: str) -> None:
    job = synthetic.job(root, weights=name)
    source = WeightSource(job, torch.device("cpu"))
    data = TrainingData(job.data, job.train, 0, look_up=source.look_up)
    for rank in range(3):
        batch = data.batch(1, rank, 3)
        own = slice(sum(batch.sizes[:rank]), sum(batch.sizes[: rank + 1]))
        expected = [store.lookup(batch.keys)[own] for store in source.stores]
        assert len(batch.similarity) == len(job.weights.metrics) == len(expected)
        for found, rows in zip(batch.similarity, expected, strict=True):
            np.testing.assert_array_equal(found, rows)


def test_sharpened_weights_take_each_store_about_its_own_means(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = open_data(root).batch(0)
    stores = {metric: open_similarity(str(root / "similarity" / metric)) for metric in ("i2i", "i2l")}
    expected = {}
    for metric, store in stores.items():
        sim = reference.sharpened(store.lookup(batch.keys), batch.categories, store.category_mean(), 6.0)
        expected[metric] = reference.log_weights(sim, batch.keys, "one")
    expected["avg"] = np.log((np.exp(expected["i2i"]) + np.exp(expected["i2l"])) / 2)

    def weights(name: str, **train: object) -> np.ndarray:
        return log_weights(synthetic.job(root, weights=name, **train), batch)

    for name, value in expected.items():
        np.testing.assert_allclose(weights(name, sharpen=6.0), value, atol=1e-5)
        assert np.abs(weights(name, sharpen=6.0) - weights(name)).max() > 1e-3
    for name in ("category", "uniform"):  # have no spread to raise
        np.testing.assert_array_equal(weights(name, sharpen=6.0), weights(name))
    plain = {name: weights(name) for name in expected}
    monkeypatch.setattr(SimilarityStore, "category_mean", lambda self: pytest.fail("means are computed"))
    for name, value in plain.items():
        np.testing.assert_array_equal(weights(name, sharpen=1.0), value)


def test_similarity_that_is_not_local_shares_the_memory(root: Path) -> None:
    url = f"memory://{root}"
    for path in (root / "similarity").rglob("*.*"):
        objects.write_bytes(f"{url}/{path.relative_to(root)}", path.read_bytes())
    remote = {metric: f"{url}/similarity/{metric}" for metric in ("i2i", "i2l")}
    for name, metrics in (("i2i", 1), ("avg", 2), ("uniform", 0)):
        job = synthetic.job(root, weights=name)
        assert WeightSource(job, torch.device("cpu")).memory == 0
        sizes = [open_similarity(remote[metric]).size for metric in job.weights.metrics]
        for memory in (1 << 30, 4000):
            of = job.model_copy(update={"similarity": remote, "memory": memory})
            source = WeightSource(of, torch.device("cpu"))
            assert source.memory == sum(min(size, memory // 4 // metrics) for size in sizes)
            batch = open_data(root).batch(0)
            np.testing.assert_array_equal(log_weights(of, batch), log_weights(job, batch))
            assert all(store.tiles.memory <= memory // 4 // metrics for store in source.stores)


def test_missing_similarity_is_reported(root: Path) -> None:
    job = synthetic.job(root, weights="avg").model_copy(update={"similarity": {"i2i": "x"}})
    with pytest.raises(SpecError, match=r"train\.weights: .*i2l"):
        WeightSource(job, torch.device("cpu"))


def test_an_object_that_comes_twice_is_masked_without_similarity_too(root: Path) -> None:
    source = WeightSource(synthetic.job(root, weights="uniform"), torch.device("cpu"))
    assert source([], ["a", "b", "c"], [3]) is None
    found = source([], ["a", "b", "a"], [3])
    assert found is not None
    expected = np.exp(reference.log_weights(np.ones((3, 3)), ["a", "b", "a"], "one"))
    np.testing.assert_allclose(found.matrix(slice(None)).numpy(), expected, atol=1e-6)


def test_entropy() -> None:
    def entropy(sim: torch.Tensor, *others: torch.Tensor) -> float:
        return HNWeights([sim.clone(), *others]).entropy() / len(sim)

    assert entropy(torch.ones(5, 5)) == pytest.approx(1.0)
    one = torch.full((4, 4), 1e-20)
    one[:, 0] = one[0, 1] = 1.0
    assert entropy(one) == pytest.approx(0.0, abs=1e-6)
    weights = np.array([1.0, 2.0, 3.0])
    share = weights / weights.sum()
    sim = torch.ones(4, 4)
    sim[0, 1:] = torch.tensor(weights)
    expected = (-(share * np.log(share)).sum() / np.log(3) + 3) / 4
    assert entropy(sim) == pytest.approx(expected)
    share = (share + 1 / 3) / 2  # averaged with even weights
    expected = (-(share * np.log(share)).sum() / np.log(3) + 3) / 4
    assert entropy(sim, torch.ones(4, 4)) == pytest.approx(expected)
    assert entropy(torch.ones(2, 2)) == 1.0


def test_held_out_objects_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(0)
    keys = [f"é{i}" for i in rng.permutation(300)]
    classes = [f"c{i}" for i in rng.integers(40, size=300)]
    expected = np.zeros(300, bool)
    for name in set(classes):
        own = sorted((i for i in range(300) if classes[i] == name), key=lambda i: number("validation", 5, keys[i]))
        expected[own[: min(max(round(0.2 * len(own)), 1), len(own) - 1)]] = True
    np.testing.assert_array_equal(held_out(keys, classes, 0.2, 5), expected)
    np.testing.assert_array_equal(held_out(Strings.of(keys), Named.of(classes), 0.2, 5), expected)
    assert not held_out([], [], 0.2).size
