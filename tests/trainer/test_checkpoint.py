from collections.abc import Callable
from pathlib import Path
from time import sleep

import numpy as np
import pytest
import torch

from captionless.errors import CaptionlessError, DataError, SpecError
from captionless.trainer import checkpoint, encoders
from captionless.trainer.infer import encode_points

OPTIONS = {"width": 4, "nsample": 4, "in_channels": 4, "embed_dim": 8, "radius": 0.4}


def saved(url: str) -> encoders.Encoder:
    torch.manual_seed(0)
    model = encoders.build("pointnext-s", **OPTIONS)
    checkpoint.save_model(url, model, "pointnext-s", OPTIONS, {"points": 32, "seed": 3})
    return model


def test_a_model_file_gives_the_model_back_and_needs_only_torch(tmp_path: Path) -> None:
    model = saved(str(tmp_path / "model.pt"))
    document = torch.load(tmp_path / "model.pt", weights_only=True)
    assert document["encoder"]["options"] == OPTIONS
    for url in (str(tmp_path), str(tmp_path / "model.pt"), f"file://{tmp_path}"):
        loaded, meta = checkpoint.load_model(url)
        assert (meta["points"], meta["seed"]) == (32, 3)
        assert all(
            torch.equal(a, b) for a, b in zip(model.state_dict().values(), loaded.state_dict().values(), strict=True)
        )
    clouds = np.random.default_rng(0).uniform(-1, 1, (5, 40, 6)).astype(np.float16)
    embedded = encode_points(loaded, clouds, 32, batch_size=2)
    assert embedded.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(embedded, encode_points(model.train(), clouds[:, :32, :3], 32, batch_size=2))
    assert encode_points(loaded, clouds[:0], 32).shape == (0, 8)


def test_what_is_not_a_model_file_is_told(tmp_path: Path) -> None:
    url = str(tmp_path / "model.pt")
    with pytest.raises(DataError, match="there is no such model file"):
        checkpoint.load_model(url)
    saved(url)
    whole = Path(url).read_bytes()
    for data, told in ((whole[: len(whole) // 2], "damaged"), (b"", "damaged"), (b"hello", "damaged")):
        Path(url).write_bytes(data)
        with pytest.raises(DataError, match=told):
            checkpoint.load_model(url)
    torch.save({"state_dict": {}}, url)
    with pytest.raises(DataError, match="not a model file of captionless"):
        checkpoint.load_model(url)
    document = torch.load(Path(tmp_path, "model.pt"), weights_only=True)
    Path(url).write_bytes(whole)
    document = torch.load(url, weights_only=True)
    document["encoder"]["state"]["projection.weight"][0, 0] = float("nan")
    torch.save(document, url)
    with pytest.raises(DataError, match=r"projection\.weight holds NaN"):
        checkpoint.load_model(url)
    document["encoder"]["options"]["width"] = 8
    torch.save(document, url)
    with pytest.raises(DataError, match="cannot be rebuilt"):
        checkpoint.load_model(url)
    torch.save({**document, "version": 2}, url)
    with pytest.raises(DataError, match="version 2"):
        checkpoint.load_model(url)


def test_checkpoints_keep_the_newest_and_pass_over_damage(tmp_path: Path) -> None:
    run = str(tmp_path)
    writer, weights = checkpoint.Writer(run, keep=2), torch.zeros(3)
    for step in (2, 4, 6):
        weights.fill_(step)
        writer.save(step, {"fingerprint": "f", "step": step, "w": weights})
        weights.fill_(-1)  # training goes on
    writer.wait()
    assert not writer.ended()
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert [n[:13] for n in names] == ["step-00000004", "step-00000006"]
    newest = checkpoint.newest(run, "f")
    assert newest is not None
    assert newest["step"] == 6
    assert newest["w"].tolist() == [6.0] * 3
    assert checkpoint.newest(run, "other") is None
    damaged = tmp_path / "checkpoints" / names[-1]
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    assert checkpoint.newest(run, "f")["step"] == 4
    checkpoint.discard(run)
    assert checkpoint.newest(run, "f") is None


def test_a_checkpoint_that_cannot_be_stored_is_told_by_the_next_call(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("in the way")

    def ask(writer: checkpoint.Writer) -> None:
        while not writer.ended():
            sleep(0.01)

    calls: list[Callable[[checkpoint.Writer], None]] = [lambda w: w.wait(), lambda w: w.save(4, {}), ask]
    for call in calls:
        writer = checkpoint.Writer(str(tmp_path), keep=2)
        writer.save(2, {})
        with pytest.raises(CaptionlessError, match="checkpoints"):
            call(writer)


def test_an_encoder_takes_over_the_weights_of_a_model_file(tmp_path: Path) -> None:
    model = saved(str(tmp_path / "model.pt"))
    torch.manual_seed(1)
    other = encoders.build("pointnext-s", **OPTIONS)
    checkpoint.load_into(other, str(tmp_path))
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))
    with pytest.raises(SpecError, match=r"train\.init: the encoder of .* is not that of train\.encoder"):
        checkpoint.load_into(encoders.build("pointnext-s", **{**OPTIONS, "width": 8}), str(tmp_path))
