"""A stored encoder comes back as it was; anything else is refused, by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from captionless.errors import DataError, SpecError
from captionless.trainer import encoders, model_file
from captionless.trainer.infer import encode_points

OPTIONS = {"width": 4, "nsample": 4, "in_channels": 4, "embed_dim": 8, "radius": 0.4}


def saved(url: str) -> encoders.Encoder:
    torch.manual_seed(0)
    model = encoders.build("pointnext-s", **OPTIONS)
    model_file.save_model(url, model, "pointnext-s", OPTIONS, {"points": 32, "seed": 3})
    return model


def test_a_model_file_gives_the_model_back_and_needs_only_torch(tmp_path: Path) -> None:
    model = saved(str(tmp_path / "model.pt"))
    document = torch.load(tmp_path / "model.pt", weights_only=True)
    assert document["encoder"]["options"] == OPTIONS
    for url in (str(tmp_path), str(tmp_path / "model.pt"), f"file://{tmp_path}"):
        loaded, meta = model_file.load_model(url)
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


def test_what_is_not_a_model_file_is_refused(tmp_path: Path) -> None:
    url = str(tmp_path / "model.pt")

    def refused(*named: str) -> None:
        with pytest.raises(DataError) as caught:
            model_file.load_model(url)
        assert all(name in str(caught.value) for name in (url, *named))

    refused()
    saved(url)
    whole = Path(url).read_bytes()
    for data in (whole[: len(whole) // 2], b"", b"hello"):
        Path(url).write_bytes(data)
        refused()
    torch.save({"state_dict": {}}, url)
    refused("captionless")
    Path(url).write_bytes(whole)
    document = torch.load(url, weights_only=True)
    document["encoder"]["state"]["projection.weight"][0, 0] = float("nan")
    torch.save(document, url)
    refused("projection.weight", "NaN")
    document["encoder"]["options"]["width"] = 8
    torch.save(document, url)
    refused("encoder")
    torch.save({**document, "version": 2}, url)
    refused("version 2", "version 1")


def test_an_encoder_takes_over_the_weights_of_a_model_file(tmp_path: Path) -> None:
    model = saved(str(tmp_path / "model.pt"))
    torch.manual_seed(1)
    other = encoders.build("pointnext-s", **OPTIONS)
    model_file.load_into(other, str(tmp_path))
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))
    with pytest.raises(SpecError, match=r"train\.init: .*train\.encoder"):
        model_file.load_into(encoders.build("pointnext-s", **{**OPTIONS, "width": 8}), str(tmp_path))
