"""The CLIP loader: held to open_clip's own transform and encoders, and to one clear line for what cannot work."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from captionless.clip import openclip
from captionless.errors import DataError, Retryable, SpecError

MODEL = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
PREPROCESS: dict[str, Any] = {"mean": [0.5, 0.4, 0.3], "std": [0.3, 0.25, 0.2], "interpolation": "bicubic"}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., str]:
    """Writes an OpenCLIP folder with random weights; returns its model name."""

    def write(
        name: str = "tiny",
        seed: int = 0,
        preprocess: dict[str, Any] | None = None,
        change: Callable[[dict[str, torch.Tensor]], object] = lambda _: None,
    ) -> str:
        folder = tmp_path / name
        folder.mkdir()
        config = {"model_cfg": MODEL, "preprocess_cfg": PREPROCESS | (preprocess or {})}
        (folder / "open_clip_config.json").write_text(json.dumps(config))
        torch.manual_seed(seed)
        weights = open_clip.create_model(f"local-dir:{folder}", load_weights=False).state_dict()
        change(weights)
        torch.save(weights, folder / "open_clip_pytorch_model.bin")
        return f"local-dir:{folder}"

    return write


def pictures(count: int, height: int, width: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Smooth pictures with hard edges in them, (n, H, W, 3)."""
    random = np.random.default_rng(seed)
    views = np.empty((count, height, width, 3), np.uint8)
    for view in views:
        coarse = Image.fromarray(random.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        view[:] = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
        view[height // 4 : height // 2, width // 3 :] = random.integers(0, 256, 3)
    return views


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (96, 96), (50, 71), (71, 50), (20, 33)])
def test_preprocessing_is_open_clips(
    make: Callable[..., str], mode: str, interpolation: str, height: int, width: int
) -> None:
    loaded = openclip.load(make(preprocess={"resize_mode": mode, "interpolation": interpolation}), device="cpu")
    transform = image_transform_v2(PreprocessCfg(**loaded._preprocess), is_train=False)
    views = pictures(3, height, width)
    expected = torch.stack([transform(Image.fromarray(v)) for v in views])
    got = loaded._pixels(list(views))
    assert got.shape == expected.shape
    levels = (got - expected).abs() * 255 * torch.tensor(PREPROCESS["std"]).view(3, 1, 1)
    if (height, width) == (32, 32):
        assert levels.max() < 1e-3
    else:  # Pillow rounds between its two passes, so that a bicubic overshoot may differ by more than one
        assert levels.max() < 4.01
        assert levels.mean() < 0.1


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(96, 96), (32, 53), (200, 96)])
def test_resizing_on_an_accelerator_is_pillows(interpolation: str, size: tuple[int, int]) -> None:
    views = pictures(3, 112, 84)
    filters = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
    expected = [np.asarray(Image.fromarray(v).resize(size[::-1], filters[interpolation])) for v in views]
    got = openclip._resize_float(torch.from_numpy(views).permute(0, 3, 1, 2), size, interpolation).permute(0, 2, 3, 1)
    difference = np.abs(got.numpy().astype(int) - np.stack(expected).astype(int))
    assert difference.max() <= 8  # beside the hardest edges, where bicubic overshoots
    assert difference.mean() < 0.1


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


def test_long_texts_are_cut_and_told(make: Callable[..., str], caplog: pytest.LogCaptureFixture) -> None:
    loaded = openclip.load(make(), device="cpu")
    fits = "a " * 10
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        loaded.texts(["a chair", fits.strip()])
        assert not caplog.records
        embedded = loaded.texts(["a chair", fits + "lamp", fits + "chair"])
    np.testing.assert_array_equal(embedded[1], embedded[2])
    assert [r.getMessage() for r in caplog.records] == [
        "2 of 3 texts are longer than the model's 12 tokens; their ends were cut off"
    ]


def test_embedding_that_is_not_finite_names_its_text(make: Callable[..., str]) -> None:
    lamp = open_clip.get_tokenizer("ViT-B-32")("lamp")[0, 1]
    loaded = openclip.load(make(change=lambda w: w["token_embedding.weight"][lamp].fill_(3e38)), device="cpu")
    assert loaded.texts(["a chair", "a cup"]).shape == (2, 24)
    with pytest.raises(DataError, match=r"text 3: .*not finite"):
        loaded.texts(["a", "a cup", "a chair", "a lamp", "a sofa"], batch_size=2)


@pytest.mark.parametrize(
    "bad", [np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8)]
)
def test_picture_that_is_not_rgb_is_named(make: Callable[..., str], bad: Any) -> None:
    with pytest.raises(DataError, match=r"image 1: expected uint8 \(H, W, 3\)"):
        openclip.load(make(), device="cpu").images([np.zeros((8, 8, 3), np.uint8), bad])


@pytest.mark.parametrize(
    ("model", "pretrained", "told"),
    [
        ("ViT-B33", "openai", 'no model "ViT-B33"; did you mean "ViT-B-32"'),
        ("captionless-dem", None, 'did you mean "captionless-demo"'),
        ("ViT-B-32", "laion2b_s34b_b79", 'did you mean "laion2b_s34b_b79k"'),
        ("ViT-B-32", None, "needs weights: a tag"),
        ("ViT-B-32", "/nowhere/model.pt", 'no checkpoint file at "/nowhere/model.pt"'),
        (openclip.DEMO, "openai", "brings its own weights"),
        ("local-dir:/nowhere", None, "no open_clip_config.json"),
    ],
)
def test_what_cannot_work_is_told_before_loading(model: str, pretrained: str | None, told: str) -> None:
    for function in (openclip.check, openclip.load, openclip.identity):
        with pytest.raises(SpecError) as caught:
            function(model, pretrained)
        assert told in str(caught.value)
        assert "\n" not in str(caught.value)


def test_known_names_pass_the_check() -> None:
    openclip.check("ViT-B-32", "laion2b_s34b_b79k")
    openclip.check("ViT-B/32", "openai")
    openclip.check("ViT-B-32", "s3://bucket/model.pt")
    openclip.check("hf-hub:some/model", None)
    openclip.check(openclip.DEMO, None)


def test_a_models_name_is_checked_without_torch() -> None:
    program = (
        "import sys\nfrom captionless import clip, errors\n"
        "clip.check('captionless-demo', None)\nclip.check('ViT-B-32', 's3://bucket/model.pt')\n"
        "try: clip.check('ViT-B33', 'openai')\n"
        "except errors.SpecError: print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_checkpoint_by_url_is_fetched_once_for_each_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CAPTIONLESS_CACHE", str(tmp_path / "cache"))
    memory = fsspec.filesystem("memory")
    url = "memory://checkpoints/model.safetensors"
    memory.pipe_file("/checkpoints/model.safetensors", b"first")
    path = Path(openclip.fetch(url))
    assert path.read_bytes() == b"first"
    assert path.suffix == ".safetensors"
    path.write_bytes(b"kept")  # what is in the cache is not fetched again
    assert Path(openclip.fetch(url)).read_bytes() == b"kept"
    memory.pipe_file("/checkpoints/model.safetensors", b"the second")
    assert Path(openclip.fetch(url)).read_bytes() == b"the second"
    assert sorted(p.read_bytes() for p in path.parent.iterdir()) == [b"kept", b"the second"]


@pytest.mark.parametrize(
    ("url", "error", "told"),
    [
        ("memory://nowhere/model.pt", SpecError, "nothing found at"),
        ("file:///nowhere/model.pt", SpecError, "nothing found at"),
        ("s4://bucket/model.pt", SpecError, "Protocol not known"),
        ("http://127.0.0.1:9/model.pt", Retryable, "could not be fetched"),
    ],
)
def test_url_that_cannot_be_read(url: str, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        openclip.load("ViT-B-32", url)


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
    ("spoil", "told"),
    [
        (_truncate, "cannot be read"),
        (_other_architecture, "another architecture"),
        (_no_weights, "no weights found"),
        (_broken_config, "cannot be read"),
    ],
)
def test_spoilt_checkpoint_is_told_in_one_line(
    make: Callable[..., str], capfd: pytest.CaptureFixture[str], spoil: Callable[[Path], None], told: str
) -> None:
    name = make()
    spoil(Path(name.removeprefix("local-dir:")))
    with pytest.raises(SpecError) as caught:
        openclip.load(name, device="cpu")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_weights_that_are_not_finite_are_named(make: Callable[..., str]) -> None:
    name = make(change=lambda w: w["ln_final.weight"][3].fill_(float("nan")))
    with pytest.raises(SpecError, match=r'weight "ln_final\.weight" holds values that are not finite'):
        openclip.load(name, device="cpu")


def test_identity_follows_the_weights(make: Callable[..., str], tmp_path: Path) -> None:
    first, again, other = make("first"), make("again"), make("other", seed=1)
    assert openclip.identity(first, None) == openclip.identity(again, None) != openclip.identity(other, None)
    fsspec.filesystem("memory").pipe_file("/ids/model.pt", b"one")
    before = openclip.identity("ViT-B-32", "memory://ids/model.pt")
    assert before == openclip.identity("ViT-B-32", "memory://ids/model.pt")
    fsspec.filesystem("memory").pipe_file("/ids/model.pt", b"another")
    assert before != openclip.identity("ViT-B-32", "memory://ids/model.pt")
    assert openclip.identity("ViT-B-32", "openai") != openclip.identity("ViT-B-32", "laion2b_s34b_b79k")


def test_loading_is_silent_and_leaves_logging_alone(
    make: Callable[..., str], capfd: pytest.CaptureFixture[str]
) -> None:
    handlers, disabled = list(logging.getLogger().handlers), logging.root.manager.disable
    openclip.load(make(), device="cpu")
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger().handlers == handlers
    assert logging.root.manager.disable == disabled
