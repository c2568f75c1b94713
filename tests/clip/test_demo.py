"""The embedded demo CLIP model: small, in OpenCLIP's format, and able to do what its card says, on unseen objects."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import open_clip
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from captionless import demo_world
from captionless.clip import demo, openclip
from captionless.precompute.render import Renderer
from captionless.store.views import on_white

FOLDER = Path(demo.FOLDER)
PER_CLASS = 4


@cache
def model() -> openclip.Clip:
    return openclip.load(demo.NAME, device="cpu")


@cache
def unseen() -> list[tuple[str, dict[str, str], NDArray[np.float32]]]:
    """Held-out objects: category, attributes and the embedding of the object, the mean over its views."""
    renderer = Renderer(views=8, size=model().image_size)
    found = []
    for category in demo_world.CLASSES:
        for n in range(PER_CLASS):
            attributes = demo_world.draw(category, n, 77, held_out=True)
            item = demo_world.build(f"{category}-{n}", category, attributes, 77)
            mean = model().images(on_white(renderer.render(item.mesh))).mean(0)
            found.append((category, attributes, np.asarray(mean / np.linalg.norm(mean), np.float32)))
    return found


def test_the_files_are_small_and_in_open_clips_format() -> None:
    weights = FOLDER / "open_clip_model.safetensors"
    assert weights.stat().st_size < 12_000_000
    config = json.loads((FOLDER / "open_clip_config.json").read_text())
    assert model().embed_dim == config["model_cfg"]["embed_dim"]
    direct = openclip.load(f"local-dir:{FOLDER}", device="cpu")
    assert direct.digest == model().digest


@pytest.mark.parametrize("prompt", ["a point cloud of {}", "a point cloud model of {}", "a photo of {}", "{}"])
def test_unseen_objects_are_classified_by_any_usual_prompt(prompt: str) -> None:
    names = [f"{'an' if c[0] in 'aeiou' else 'a'} {c}" for c in demo_world.CLASSES]
    texts = model().texts([prompt.format(name) for name in names])
    nearest = [demo_world.CLASSES[int((texts @ e).argmax())] for _, _, e in unseen()]
    right = np.mean([a == b for a, (b, _, _) in zip(nearest, unseen(), strict=True)])
    assert right > 0.9


def test_attributes_are_described_in_words_better_than_by_chance() -> None:
    right, chance = [], []
    for category, attributes, embedding in unseen():
        valid = demo_world.combinations(category)
        for name, values in demo_world.attributes(category).items():
            choices = [{**attributes, name: v} for v in values if {**attributes, name: v} in valid]
            if len(choices) > 1:
                texts = model().texts([demo_world.describe(category, c, 2) for c in choices])
                right.append(choices[int((texts @ embedding).argmax())] == attributes)
                chance.append(1 / len(choices))
    assert np.mean(right) > np.mean(chance) + 0.15


def test_every_sentence_fits_the_context() -> None:
    tokenizer = open_clip.get_tokenizer(f"local-dir:{FOLDER}")
    longest = max(len(tokenizer.encode(t)) for c in demo_world.CLASSES for t in demo_world.sentences(c))
    prompt = len(tokenizer.encode("a point cloud model of"))
    assert longest + prompt + 2 <= model().context_length


def test_words_that_were_never_trained_add_nothing() -> None:
    table = load_file(FOLDER / "open_clip_model.safetensors")["token_embedding.weight"]
    used = np.flatnonzero(table.any(1))
    assert 100 < len(used) < 1000
    tokenizer = open_clip.get_tokenizer(f"local-dir:{FOLDER}")
    for sentence in (demo_world.sentences(c)[0] for c in demo_world.CLASSES):
        assert set(tokenizer.encode(sentence)) <= set(used.tolist())
    assert not table[tokenizer.encode("zebra")].any()


def test_the_card_has_the_figures_and_the_commands() -> None:
    card = (FOLDER / "README.md").read_text()
    assert re.search(r"\| \*\*all\*\* \| 0\.\d{3} \|", card)
    for script in ("dataset.py", "train.py", "card.py"):
        assert f"hack/demo_clip/{script}" in card
