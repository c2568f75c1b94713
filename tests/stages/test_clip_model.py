"""Whose embeddings are compared with whose: stages that have used other CLIP weights are refused, and named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from captionless.clip import demo, openclip
from captionless.errors import DataError, Retryable
from captionless.spec.clip import ClipSpec
from captionless.spec.load import build_spec
from captionless.stages import clip_model, embed, landmarks, listing, pack, similarity
from captionless.stages.clip_model import FACT, ClipIdentity, clip_facts, clip_identity, load_clip, recorded, same_clip
from captionless.store.ledger import Ledger
from captionless.store.manifest import WorkRecord
from tests.embedded import everything, write_embedded, write_texts

DEMO = ClipSpec.model_validate({"model": "captionless-demo"})
SIZES = {"chair": 4, "lamp": 3}


def _state(url: str, digest: str) -> None:
    """Publishes a finished stage again, with the digest of the weights that have embedded it."""
    ledger = Ledger(url)
    records = ledger.manifest().records
    ledger.publish(records, {FACT: {"identity": "same", "digest": digest}})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_texts(str(tmp_path / "landmarks"), SIZES)
    write_embedded(str(tmp_path / "embed"), SIZES)
    return tmp_path


def test_texts_of_other_weights_than_the_views_are_refused(run: Path) -> None:
    embed, landmarks = str(run / "embed"), str(run / "landmarks")
    similarity.compute(embed, landmarks, str(run / "earlier"), "i2l")  # of a release that did not record them
    _state(embed, "a" * 64)
    _state(landmarks, "b" * 64)
    with pytest.raises(DataError) as caught:
        similarity.compute(embed, landmarks, str(run / "i2l"), "i2l")
    assert embed in str(caught.value)
    assert landmarks in str(caught.value)
    assert not everything(run / "i2l")
    similarity.compute(embed, landmarks, str(run / "i2i"), "i2i")  # reads no texts
    _state(landmarks, "a" * 64)
    similarity.compute(embed, landmarks, str(run / "i2l"), "i2l")


def test_a_model_of_other_weights_than_the_embeddings_is_refused(run: Path) -> None:
    url = str(run / "embed")
    _state(url, "a" * 64)
    same_clip(url, "the model", "a" * 64)
    with pytest.raises(DataError, match="the model"):
        same_clip(url, "the model", "b" * 64)


def test_parts_of_different_weights_are_no_stage() -> None:
    def records(*digests: str) -> dict[str, WorkRecord]:
        return {f"part-{i}": WorkRecord(f"part-{i}", "", {}, {FACT: digest}) for i, digest in enumerate(digests)}

    identity = ClipIdentity("weights", "embeddings")
    facts = clip_facts(DEMO, identity, "the-stage", records("a" * 64, "", "a" * 64))
    assert facts == {FACT: {"identity": "weights", "digest": "a" * 64}}
    with pytest.raises(DataError, match=r"the-stage: part-\d .* part-\d"):
        clip_facts(DEMO, identity, "the-stage", records("a" * 64, "b" * 64))


def test_nothing_is_known_of_a_stage_that_is_not_finished(tmp_path: Path) -> None:
    assert recorded(str(tmp_path / "none")) == {}
    same_clip(str(tmp_path / "none"), str(tmp_path / "neither"))


def test_a_model_that_is_replaced_after_it_was_identified_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    before = clip_identity(DEMO)
    assert load_clip(DEMO, before).digest == openclip.load("captionless-demo").digest
    monkeypatch.setattr(clip_model.checkpoints, "identity", lambda model, pretrained: "another")
    with pytest.raises(Retryable, match="captionless-demo"):
        load_clip(DEMO, before)


def test_weights_that_are_replaced_in_their_folder_are_noticed_by_every_stage(tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    shutil.copytree(demo.FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    spec = build_spec(
        {
            "output": str(tmp_path / "out"),
            "data": {
                "source": {"kind": "parametric", "categories": ["chair"], "objects": 4, "testObjects": 1},
                "views": 2, "imageSize": 32, "points": 32,
            },
            "clip": {"model": f"local-dir:{folder}"},
            "landmarks": {"count": 3},
            "train": {"weights": ["i2l"], "points": 32},
        }
    )  # fmt: skip
    listing.run(spec)
    pack.run(spec)
    for made in (True, False):
        assert embed.run(spec).made == 5 * made
        assert landmarks.run(spec).made == 3 * made
        assert similarity.run(spec, "i2l").made == 6 * made
    assert recorded(f"{spec.root}/embed") == recorded(f"{spec.root}/landmarks")
    (weights,) = folder.glob("*.safetensors")
    tensors = load_file(weights)
    save_file(
        {name: tensor * 1.01 if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}, weights
    )
    assert embed.run(spec).made == 5
    with pytest.raises(DataError, match=f"{spec.root}/landmarks"):
        similarity.run(spec, "i2l")
    assert landmarks.run(spec).made == 3
    assert similarity.run(spec, "i2l").made == 6
