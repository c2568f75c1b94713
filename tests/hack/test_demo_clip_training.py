"""The demo CLIP model's training: its loss and truth table against plain references, its pictures, its storage."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file

from captionless import demo_world

SCRIPTS = Path(__file__).parents[2] / "hack" / "demo_clip"


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, ModuleType]:
    """hack/demo_clip's `batches` and `train`."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    for name in ("batches", "train"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import batches
    import train

    return batches, train


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Chunks of 4 mugs and 4 lamps with 2 views each, and a furniture lamp: pictures of noise."""
    random = np.random.default_rng(0)
    rows = [
        {"key": f"{c}-{n}", "category": c, "attributes": demo_world.draw(c, n, 0, held_out=False), "views": 2}
        for c in ("mug", "lamp")
        for n in range(4)
    ]
    for name, chunk in (("world", rows), ("furniture", [{"category": "lamp", "attributes": None, "views": 3}])):
        views = sum(int(str(r["views"])) for r in chunk)
        np.save(tmp_path / f"{name}-0000.npy", random.integers(0, 256, (views, 20, 20, 4), dtype=np.uint8))
        (tmp_path / f"{name}-0000.jsonl").write_text("".join(json.dumps(r) + "\n" for r in chunk))
    return tmp_path


def test_loss_is_its_formula(scripts: tuple[ModuleType, ModuleType]) -> None:
    random = np.random.default_rng(1)
    logits = random.normal(0, 5, (6, 9))
    true = random.random((6, 9)) < 0.3
    false = ~true & (random.random((6, 9)) < 0.7)
    true[2], false[4] = False, False
    rows = []
    for r in range(6):
        negatives = sum(math.exp(x) for x in logits[r, false[r]])
        pairs = [-math.log(math.exp(p) / (math.exp(p) + negatives)) for p in logits[r, true[r]]]
        rows.append(sum(pairs) / len(pairs) if pairs else 0.0)
    got = scripts[1].contrastive(torch.from_numpy(logits), torch.from_numpy(true), torch.from_numpy(false))
    assert got.item() == pytest.approx(sum(rows) / 6, rel=1e-9)


def test_truth_is_what_captions_say(scripts: tuple[ModuleType, ModuleType]) -> None:
    # Pictures: an object, furniture of its class, and an object of another class.
    told = torch.tensor([[-1, -1], [1, -1], [0, -1]])
    labels, values = torch.tensor([7, 7, 5]), torch.tensor([[1, 0], [-1, -1], [0, 0]])
    true, false = scripts[0].truth(told, labels, values)
    assert true.tolist() == [[True, True, False], [True, False, False], [False, False, True]]
    assert false.tolist() == [[False, False, True], [False, False, True], [True, True, False]]
    contradicting = torch.tensor([[0, -1], [1, 2], [0, 0]])
    true, false = scripts[0].truth(contradicting, labels, values)
    assert true.tolist() == [[False, False, False], [False, False, False], [False, False, True]]
    assert false.tolist() == [[True, False, True], [True, False, True], [True, True, False]]


@pytest.mark.parametrize("category", demo_world.CLASSES)
def test_a_caption_tells_what_its_words_say(scripts: tuple[ModuleType, ModuleType], category: str) -> None:
    batches = scripts[0]
    kind = batches.CATEGORIES[category]
    for combination in demo_world.combinations(category)[::17]:
        for level in (1, 2):
            text, told = batches._caption(category, tuple(combination.items()), level, 0)
            assert text == demo_world.describe(category, combination, level)
            named = [a for a, value in zip(kind.attributes, told, strict=False) if value >= 0]
            assert len(named) >= (2 if level == 1 else len(kind.free(combination))) or len(kind.free(combination)) < 2
            for a, value in zip(kind.attributes, told, strict=False):
                if value >= 0:
                    assert a.values[value] == combination[a.name]
                    assert a.phrases[a.values[value]] in text


def test_batches_are_seeded_and_their_captions_true(
    scripts: tuple[ModuleType, ModuleType], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = scripts[0]
    monkeypatch.setattr(batches.demo_world, "CLASSES", ("mug", "lamp"))
    pictures = batches.Pictures(folder)
    assert len(pictures) == 19
    for one_class in (False, True):
        first, again = (pictures.batch(8, np.random.default_rng(3), one_class) for _ in range(2))
        assert first.texts == again.texts
        assert torch.equal(first.views, again.views)
        assert len(first.texts) == 8
        assert first.true.diagonal().all()
        assert not (first.true & first.false).any()
    assert len({t.split(" with ")[0] for t in first.texts}) > 1


def test_augmentation_is_seeded_and_keeps_to_its_range(scripts: tuple[ModuleType, ModuleType]) -> None:
    views = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (16, 4, 20, 20), dtype=np.uint8))
    first, again = (scripts[0].augmented(views, 16, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape == (16, 3, 16, 16)
    assert first.min() >= 0
    assert first.max() <= 1
    views[:, 3] = 0  # nothing there: half of the grounds are white
    empty = scripts[0].augmented(views, 16, torch.Generator().manual_seed(5))
    white = empty.flatten(1).min(1).values == 1
    assert 0 < white.sum() < 16


def test_compact_text_encoder_is_open_clips(scripts: tuple[ModuleType, ModuleType], tmp_path: Path) -> None:
    """Trained on few tokens, stored with all: the stored model reads as the trained one did."""
    train = scripts[1]
    source = Path(__file__).parents[2] / "src" / "clip" / "demo" / "open_clip_config.json"
    (tmp_path / source.name).write_text(source.read_text())
    name = f"local-dir:{tmp_path}"
    torch.manual_seed(0)
    model = open_clip.create_model(name, load_weights=False).eval()
    texts = ["a mug", "a tall lamp with two heads"]
    tokenizer = open_clip.get_tokenizer(name)
    tokens = train.CompactTokens(tokenizer, texts)
    height, width = model.token_embedding.weight.shape
    model.token_embedding = torch.nn.Embedding(len(tokens.ids), width)
    with torch.no_grad():
        for p in model.parameters():  # what fp16 holds, so that storing loses nothing
            p.copy_(p.half().float())
        trained = train.encode_texts(model, tokens(texts))
        train.store(model, tokens.ids, height, tmp_path)
        stored = open_clip.create_model(name).eval().encode_text(tokenizer(texts))
    torch.testing.assert_close(stored, trained, atol=1e-5, rtol=1e-5)
    table = load_file(tmp_path / "open_clip_model.safetensors")["token_embedding.weight"]
    assert table.shape == (49408, width)
    assert set(table.any(1).nonzero().flatten().tolist()) == set(tokens.ids.tolist())
    with pytest.raises(ValueError, match="outside the training vocabulary"):
        tokens(["a zebra"])
