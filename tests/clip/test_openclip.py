"""The CLIP loader: held to open_clip's own transform and encoders, and to one clear line for what cannot work."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from captionless.clip import openclip
from captionless.errors import DataError, SpecError
from tests.clip.pictures import pictures


def test_images_are_the_models_own_embeddings(make: Callable[..., str]) -> None:
    name = make()
    network, _, transform = open_clip.create_model_and_transforms(name)
    views = pictures(7, 32, 32)
    with torch.no_grad():
        features = network.eval().encode_image(torch.stack([transform(Image.fromarray(v)) for v in views]))
    expected = features.double().numpy()
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    loaded = openclip.load(name, device="cpu")
    got = loaded.images(views, batch_size=3)
    assert got.dtype == np.float32
    assert got.shape == (7, loaded.embed_dim) == (7, 24)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(got.astype(np.float64), axis=1), 1, atol=1e-6)


def test_texts_are_the_models_own_embeddings(make: Callable[..., str]) -> None:
    name = make()
    texts = ["a chair", "a table with four legs", "a lamp", "a chair"]
    with torch.no_grad():
        tokens = open_clip.get_tokenizer(name)(texts)
        expected = open_clip.create_model(name).eval().encode_text(tokens).double().numpy()
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    got = openclip.load(name, device="cpu").texts(texts, batch_size=3)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    np.testing.assert_allclose(got[0], got[3], atol=1e-6)


def test_sizes_and_kinds_mix_and_keep_their_order(make: Callable[..., str]) -> None:
    loaded = openclip.load(make(), device="cpu")
    small, large = pictures(2, 32, 32), pictures(2, 64, 48, seed=1)
    mixed = [small[0], large[0], Image.fromarray(small[1]), Image.fromarray(large[1])]
    got = loaded.images(iter(mixed))
    alone = np.concatenate([loaded.images([v]) for v in (small[0], large[0], small[1], large[1])])
    np.testing.assert_allclose(got, alone, atol=1e-5)
    assert loaded.images([]).shape == (0, 24)
    assert loaded.texts([]).shape == (0, 24)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_stays_near_and_normalised(make: Callable[..., str], precision: openclip.Precision) -> None:
    name = make()
    exact, lowered = openclip.load(name, device="cpu"), openclip.load(name, device="cpu", precision=precision)
    views = pictures(4, 32, 32)
    for a, b in ((exact.images(views), lowered.images(views)), (exact.texts(["a cup"]), lowered.texts(["a cup"]))):
        assert b.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(b, axis=1), 1, atol=1e-6)
        assert (a * b).sum(1).min() > 0.999
    assert exact.digest == lowered.digest


def test_digest_names_weights_and_preprocessing(make: Callable[..., str]) -> None:
    first = openclip.load(make("first"), device="cpu").digest
    assert first == openclip.load(make("again"), device="cpu").digest
    nudged = make("nudged", change=lambda w: w["visual.proj"][0, 0].add_(1e-3))
    other_mean = make("mean", preprocess={"mean": [0.5, 0.5, 0.5]})
    digests = {first, *(openclip.load(name, device="cpu").digest for name in (nudged, other_mean))}
    assert len(digests) == 3
    assert all(len(d) == 64 for d in digests)


def test_long_texts_are_truncated_with_a_warning(make: Callable[..., str], caplog: pytest.LogCaptureFixture) -> None:
    loaded = openclip.load(make(), device="cpu")
    fits = "a " * 10
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        loaded.texts(["a chair", fits.strip()])
        assert not caplog.records
        embedded = loaded.texts(["a chair", fits + "lamp", fits + "chair"])
    np.testing.assert_array_equal(embedded[1], embedded[2])
    (record,) = caplog.records
    assert record.args == (2, 3, 12)


def test_embedding_that_is_not_finite_names_its_text(make: Callable[..., str]) -> None:
    lamp = open_clip.get_tokenizer("ViT-B-32")("lamp")[0, 1]
    loaded = openclip.load(make(change=lambda w: w["token_embedding.weight"][lamp].fill_(3e38)), device="cpu")
    assert loaded.texts(["a chair", "a cup"]).shape == (2, 24)
    with pytest.raises(DataError, match=r"text 3:"):
        loaded.texts(["a", "a cup", "a chair", "a lamp", "a sofa"], batch_size=2)


@pytest.mark.parametrize(
    "bad",
    [np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8)],
    ids=["float32", "grey", "RGBA"],
)
def test_picture_that_is_not_rgb_is_named(make: Callable[..., str], bad: Any) -> None:
    with pytest.raises(DataError, match=r"image 1:"):
        openclip.load(make(), device="cpu").images([np.zeros((8, 8, 3), np.uint8), bad])


def _truncate(folder: Path) -> None:
    file = folder / "open_clip_pytorch_model.bin"
    file.write_bytes(file.read_bytes()[:5000])


def _other_architecture(folder: Path) -> None:
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["vision_cfg"]["width"] = 48
    (folder / "open_clip_config.json").write_text(json.dumps(config))


def _no_weights(folder: Path) -> None:
    (folder / "open_clip_pytorch_model.bin").unlink()


def _broken_config(folder: Path) -> None:
    (folder / "open_clip_config.json").write_text("{")


@pytest.mark.parametrize(
    "spoil",
    [_truncate, _other_architecture, _no_weights, _broken_config],
    ids=["truncated", "another architecture", "no weights", "broken configuration"],
)
def test_spoilt_checkpoint_is_an_error_of_one_line(
    make: Callable[..., str], capfd: pytest.CaptureFixture[str], spoil: Callable[[Path], None]
) -> None:
    name = make()
    spoil(Path(name.removeprefix("local-dir:")))
    with pytest.raises(SpecError) as caught:
        openclip.load(name, device="cpu")
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_weights_that_are_not_finite_are_named(make: Callable[..., str]) -> None:
    name = make(change=lambda w: w["ln_final.weight"][3].fill_(float("nan")))
    with pytest.raises(SpecError, match=r'"ln_final\.weight"'):
        openclip.load(name, device="cpu")


def test_loading_is_silent_and_leaves_logging_alone(
    make: Callable[..., str], capfd: pytest.CaptureFixture[str]
) -> None:
    handlers, disabled = list(logging.getLogger().handlers), logging.root.manager.disable
    openclip.load(make(), device="cpu")
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger().handlers == handlers
    assert logging.root.manager.disable == disabled
