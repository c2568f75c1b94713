"""The neighbours stage: exact however it is shared out, the same bytes whoever fails, nothing computed twice."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from captionless.cli.app import app
from captionless.errors import DataError, SpecError
from captionless.stages import neighbours as stage
from captionless.stages import vectors
from captionless.stages.work_items import Shard
from captionless.store import neighbour_store
from captionless.store.embeddings import Embeddings, open_embeddings
from captionless.store.neighbour_store import Within, open_neighbours
from captionless.trainer import encoders, model_file
from captionless.trainer.infer import encode_points
from tests import pace
from tests.embedded import damage_views, everything, write_embedded
from tests.store.web import serving
from tests.test_nearest_neighbours import reference
from tests.trainer import synthetic

SIZES = {"big": 70, "middle": 30, "one": 1, "two": 2}
K = 8


@pytest.fixture
def data(tmp_path: Path) -> dict[str, np.ndarray]:
    return write_embedded(str(tmp_path / "embed"), SIZES)


def compute(
    folder: Path, out: str, of: str = "views", within: Within = "category", k: int = K, index: int = 0, count: int = 1
) -> stage.Outcome:
    return stage.compute(str(folder / "embed"), str(folder / out), of, within, k, Shard(index, count))


def check(url: Path, rows: dict[str, np.ndarray], groups: dict[str, list[str]], k: int = K) -> None:
    """Every object's stored neighbours against the plain reference."""
    store = open_neighbours(str(url))
    store.verify()
    assert sorted(store.keys) == sorted(rows)
    for keys in groups.values():
        indices, cosine = reference(np.stack([rows[key].ravel() for key in keys]), k)
        found, similarity = store.lookup(keys)
        assert found == [[keys[j] for j in row if j >= 0] for row in indices]
        np.testing.assert_allclose(similarity, cosine, rtol=0, atol=2**-24)


def grouped(keys: Any, within: Within) -> dict[str, list[str]]:
    if within == "dataset":
        return {"dataset": sorted(keys)}
    return {c: [k for k in sorted(keys) if k.startswith(f"{c}-")] for c in {k.rsplit("-", 1)[0] for k in keys}}


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("within", ["category", "dataset"])
@pytest.mark.parametrize("of", ["views", "mean"])
def test_the_store_is_the_nearest_of_every_object(
    tmp_path: Path, data: dict[str, np.ndarray], of: str, within: Within, count: int
) -> None:
    for index in range(count):
        assert compute(tmp_path, "near", of, within, index=index, count=count).finished == (index == count - 1)
    rows = data if of == "views" else {k: v.astype(np.float64).mean(axis=0) for k, v in data.items()}
    check(tmp_path / "near", rows, grouped(data, within))
    store = open_neighbours(str(tmp_path / "near"))
    assert (store.of, store.within, store.k) == (of, within, K)
    if within == "category":
        assert store.lookup(["one-00000", "two-00001"])[0] == [[], ["two-00000"]]


def test_views_rank_as_i2i_does(tmp_path: Path, data: dict[str, np.ndarray]) -> None:
    from captionless.precompute.pair_similarity import i2i

    compute(tmp_path, "near")
    keys = grouped(data, "category")["big"]
    sim = i2i(np.stack([data[k] for k in keys]))
    places = {key: i for i, key in enumerate(keys)}
    found, cosine = open_neighbours(str(tmp_path / "near")).lookup(keys)
    ranked = np.array(
        [[sim[places[key], places[other]] for other in row] for key, row in zip(keys, found, strict=True)]
    )
    np.testing.assert_allclose((cosine + 1) / 2, ranked, atol=1e-3)  # float16 rows are not quite of length 1
    for i, row in enumerate(ranked):
        assert row.min() >= np.sort(np.delete(sim[i], i))[-K] - 1e-3


@pytest.mark.parametrize("of", ["views", "mean"])
def test_workers_in_any_order_repeated_or_late_give_the_same_bytes(
    tmp_path: Path, data: dict[str, np.ndarray], of: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "_ROWS", 8)
    for index in (0, 1, 2, 3):
        compute(tmp_path, "ordered", of, "dataset", index=index, count=4)
    for index in (2, 0, 2, 3, 0, 1, 3):
        compute(tmp_path, "shuffled", of, "dataset", index=index, count=4)
    assert everything(tmp_path / "shuffled") == everything(tmp_path / "ordered")
    assert len(list((tmp_path / "ordered").glob("*.indices.npy"))) >= 4
    # another number of workers cuts otherwise, and finds the same
    compute(tmp_path, "alone", of, "dataset")
    alone, shared = (open_neighbours(str(tmp_path / out)).lookup(sorted(data)) for out in ("alone", "ordered"))
    assert alone[0] == shared[0]
    assert alone[1].tobytes() == shared[1].tobytes()


def test_workers_side_by_side_of_which_one_is_killed(tmp_path: Path) -> None:
    write_embedded(str(tmp_path / "embed"), {"big": 700, "small": 40}, views=10, features=64)
    for index in (0, 1):
        compute(tmp_path, "calm", "mean", "dataset", index=index, count=2)
    victim, other = _worker(tmp_path, 0), _worker(tmp_path, 1)
    folder = tmp_path / "hit" / "embeddings"
    pace.wait_for("the first embeddings", lambda: list(folder.glob("*.npy")), 60, every=0.01)
    victim.kill()
    victim.wait()
    assert other.wait() == 0  # makes the embeddings that are missing
    assert _worker(tmp_path, 0).wait() == 0
    assert everything(tmp_path / "hit") == everything(tmp_path / "calm")


def _worker(folder: Path, index: int) -> subprocess.Popen[bytes]:
    where = ["--dataset", str(folder / "embed"), "--out", str(folder / "hit")]
    what = ["--of", "mean", "--within", "dataset", "--k", str(K), "--shard", f"{index}/2"]
    program = Path(sys.executable).parent / "captionless"
    return subprocess.Popen([program, "neighbours", *where, *what], stderr=subprocess.DEVNULL)


def test_what_is_whole_is_not_made_again_whatever_the_number_of_workers(
    tmp_path: Path, data: dict[str, np.ndarray], capfd: pytest.CaptureFixture[str]
) -> None:
    for index in range(4):
        compute(tmp_path, "near", "mean", index=index, count=4)
    blocks = len(list((tmp_path / "near").glob("*.indices.npy")))
    assert blocks > len(SIZES)
    assert "worker 3 of 4" in capfd.readouterr().err
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "near").rglob("*") if p.is_file()}
    outcome = compute(tmp_path, "near", "mean")
    pairs = sum(n * n for n in SIZES.values())
    assert (outcome.made, outcome.kept, outcome.unit, outcome.finished) == (0, pairs, "pair", True)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "near").rglob("*") if p.is_file()} == before
    rows = len(np.load(next((tmp_path / "near").glob("big.0-*.indices.npy"))))
    next((tmp_path / "near").glob("big.0-*.similarity.npy")).unlink()
    made = [compute(tmp_path, "near", "mean", index=i, count=2).made for i in range(2)]
    assert sorted(made) == [0, rows * SIZES["big"]]
    assert everything(tmp_path / "near").keys() == {str(p.relative_to(tmp_path / "near")) for p in before}
    next((tmp_path / "near").glob("big.0-*.indices.npy")).write_bytes(b"short")
    with pytest.raises(DataError, match=r"big\.0-\w+\.indices\.npy"):
        compute(tmp_path, "near", "mean")


def test_other_embeddings_make_only_their_groups_anew(tmp_path: Path, data: dict[str, np.ndarray]) -> None:
    compute(tmp_path, "near")
    assert compute(tmp_path, "near", k=K + 1).made == sum(n * n for n in SIZES.values())
    write_embedded(str(tmp_path / "embed"), {**SIZES, "two": 3})  # the categories before it are drawn as before
    assert compute(tmp_path, "near", k=K + 1).made == 3 * 3
    assert len(open_neighbours(str(tmp_path / "near")).lookup(["two-00000"])[0][0]) == 2


def test_embeddings_are_opened_only_if_they_may_be_others(
    tmp_path: Path, data: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def opening(url: str, split: str) -> Embeddings:
        opened.append(url)
        return open_embeddings(url, split)

    monkeypatch.setattr(stage, "open_embeddings", opening)
    compute(tmp_path, "near", "mean")
    for shards, is_opened in ((3, False), (5, True), (5, False)):  # the same objects, in other shards
        write_embedded(str(tmp_path / "embed"), SIZES, shards)
        opened.clear()
        outcomes = [compute(tmp_path, "near", "mean", index=i, count=2) for i in range(2)]
        assert [(o.made, o.finished) for o in outcomes] == [(0, True)] * 2
        assert sum(o.kept for o in outcomes) == sum(n * n for n in SIZES.values())
        assert bool(opened) == is_opened
    next((tmp_path / "near").glob("big.0-*.similarity.npy")).unlink()
    assert compute(tmp_path, "near", "mean").made
    assert opened
    check(tmp_path / "near", {k: v.astype(np.float64).mean(axis=0) for k, v in data.items()}, grouped(data, "category"))


@pytest.mark.parametrize(("module", "name"), [(neighbour_store, "VALUES"), (stage, "VERSION")])
def test_a_release_with_other_values_makes_them_anew(
    tmp_path: Path, data: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch, module: Any, name: str
) -> None:
    compute(tmp_path, "near", "mean")
    monkeypatch.setattr(module, name, 99)
    monkeypatch.setattr(vectors, "VERSION", stage.VERSION)
    assert compute(tmp_path, "near", "mean").made == sum(n * n for n in SIZES.values())


def test_every_object_is_read_once_for_a_block(
    tmp_path: Path, data: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors._Views, "most_rows", 16)
    read: Counter[str] = Counter()
    most = 0
    real = Embeddings.read

    def counting(self: Embeddings, indices: Any, **arrays: Any) -> None:
        nonlocal most
        read.update(self.keys[int(i)] for i in indices)
        most = max(most, len(indices))
        real(self, indices, **arrays)

    monkeypatch.setattr(Embeddings, "read", counting)
    compute(tmp_path, "near")
    blocks = Counter(p.name.split(".")[0] for p in (tmp_path / "near").glob("*.indices.npy"))
    assert blocks["big"] == 5
    assert all(times == blocks[key.rsplit("-", 1)[0]] for key, times in read.items())
    assert most <= 16
    check(tmp_path / "near", data, grouped(data, "category"))


def test_a_damaged_object_is_named_once_and_the_rest_is_made(
    tmp_path: Path, data: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = damage_views(tmp_path / "embed" / "train" / "00000.tar", "middle")
    monkeypatch.setattr(vectors._Views, "most_rows", 8)  # several blocks read it
    with pytest.raises(DataError, match=rf"object '{key}'.*sha256 differs") as raised:
        compute(tmp_path, "near")
    assert len(str(raised.value).splitlines()) == 1
    assert list((tmp_path / "near").glob("big.0-*.indices.npy"))
    assert not (tmp_path / "near" / "neighbours.json").exists()


# -- by a trained encoder

OPTIONS = {"width": 4, "nsample": 4, "embed_dim": 8, "radius": 0.4}


def save_encoder(url: str, points: int = 32, seed: int = 0) -> encoders.Encoder:
    torch.manual_seed(seed)
    model = encoders.build("pointnext-s", **OPTIONS)
    model_file.save_model(url, model, "pointnext-s", OPTIONS, {"points": points, "seed": seed})
    return model


def test_shapes_are_compared_as_the_encoder_sees_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(vectors, "_ROWS", 5)
    synthetic.write(tmp_path, train=18)
    url = str(tmp_path / "model.pt")
    model = save_encoder(url)
    embedded = open_embeddings(str(tmp_path / "embed"), "train")
    blocks = [range(first, min(first + 5, 18)) for first in range(0, 18, 5)]  # last bits may depend on a batch's size
    encoded = np.concatenate([encode_points(model, embedded.points(block), 32) for block in blocks])
    for index in range(2):
        compute(tmp_path, "near", url, "dataset", index=index, count=2)
    check(tmp_path / "near", dict(zip(embedded.keys, encoded, strict=True)), {"dataset": embedded.keys})
    assert open_neighbours(str(tmp_path / "near")).of == url
    stored = everything(tmp_path / "near")
    compute(tmp_path, "again", url, "dataset", index=1, count=2)  # makes what worker 0 has not
    compute(tmp_path, "again", url, "dataset", index=0, count=2)
    assert everything(tmp_path / "again") == stored
    save_encoder(url, seed=1)
    assert compute(tmp_path, "near", url, "dataset").made > 0
    assert everything(tmp_path / "near") != stored


def test_a_signed_model_is_used_and_its_signature_not_stored(tmp_path: Path) -> None:
    synthetic.write(tmp_path, train=6)
    save_encoder(str(tmp_path / "model.pt"))
    with serving(tmp_path) as address:
        signed = f"{address.replace('//', '//ann:pa55word@')}/model.pt?X-Amz-Signature="
        compute(tmp_path, "near", f"{signed}5ecre7")
        stored = everything(tmp_path / "near")
        assert compute(tmp_path, "near", f"{signed}anew").made == 0
    assert everything(tmp_path / "near") == stored
    assert not any(secret in data for secret in (b"pa55word", b"5ecre7") for data in stored.values())


def test_an_encoder_that_cannot_be_used_is_reported_in_one_line(tmp_path: Path) -> None:
    synthetic.write(tmp_path, train=6)
    url = str(tmp_path / "model.pt")
    with pytest.raises(DataError, match=r"model\.pt"):
        compute(tmp_path, "near", url)
    Path(url).write_bytes(b"hello")
    with pytest.raises(DataError, match=r"model\.pt"):
        compute(tmp_path, "near", url)
    save_encoder(url, points=100)
    with pytest.raises(DataError, match=r'\b100 points.*"c0-train-000" .*\b64\b') as raised:
        compute(tmp_path, "near", url)
    assert len(str(raised.value).splitlines()) == 1
    with pytest.raises(SpecError, match=r'--of: .*model\.pt.*"view".*"views"'):
        compute(tmp_path, "near", "view")


def test_an_object_without_an_embedding_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synthetic.write(tmp_path, train=9)
    url = str(tmp_path / "model.pt")
    save_encoder(url)
    real = encode_points

    def overflowing(*args: Any) -> np.ndarray:
        rows = real(*args)
        rows[4:5] = np.nan
        return rows

    monkeypatch.setattr("captionless.trainer.infer.encode_points", overflowing)
    key = open_embeddings(str(tmp_path / "embed"), "train").keys[4]
    with pytest.raises(DataError, match=rf'object "{key}": .*NaN'):
        compute(tmp_path, "near", url, "dataset")
    assert not (tmp_path / "near" / "neighbours.json").exists()


def test_the_command(tmp_path: Path, data: dict[str, np.ndarray]) -> None:
    where = ["neighbours", "--dataset", str(tmp_path / "embed"), "--out", str(tmp_path / "near")]
    for shard in ("0/2", "1/2"):
        done = CliRunner().invoke(app, [*where, "--within", "dataset", "--k", "3", "--shard", shard])
        assert done.exit_code == 0, done.output
    assert (open_neighbours(str(tmp_path / "near")).k, open_neighbours(str(tmp_path / "near")).of) == (3, "views")
    for wrong in (["--k", "0"], ["--within", "shard"], ["--shard", "2/2"]):
        assert CliRunner().invoke(app, [*where, *wrong]).exit_code == 2
