"""Checkpoints: fetched once for each version, identified by their content, and wrong URLs named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from captionless.clip import openclip
from captionless.clip.checkpoints import earlier_identity, fetch, identity, is_of
from captionless.errors import Retryable, SpecError


def test_checkpoint_by_url_is_fetched_once_for_each_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CAPTIONLESS_CACHE", str(tmp_path / "cache"))
    memory = fsspec.filesystem("memory")
    url = "memory://checkpoints/model.safetensors"
    memory.pipe_file("/checkpoints/model.safetensors", b"first")
    path = Path(fetch(url))
    assert path.read_bytes() == b"first"
    assert path.suffix == ".safetensors"
    path.write_bytes(b"kept")  # what is in the cache is not fetched again
    assert Path(fetch(url)).read_bytes() == b"kept"
    memory.pipe_file("/checkpoints/model.safetensors", b"the second")
    assert Path(fetch(url)).read_bytes() == b"the second"
    assert sorted(p.read_bytes() for p in path.parent.iterdir()) == [b"kept", b"the second"]


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("memory://nowhere/model.pt", SpecError),
        ("file:///nowhere/model.pt", SpecError),
        ("s4://bucket/model.pt", SpecError),
        ("http://127.0.0.1:9/model.pt", Retryable),
    ],
    ids=["missing object", "missing file", "unknown protocol", "no answer"],
)
def test_url_that_cannot_be_read(url: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=f'clip.pretrained: .*"{url}"'):
        openclip.load("ViT-B-32", url)


def test_identity_follows_the_weights(make: Callable[..., str], tmp_path: Path) -> None:
    first, again, other = make("first"), make("again"), make("other", seed=1)
    assert identity(first, None) == identity(again, None) != identity(other, None)
    fsspec.filesystem("memory").pipe_file("/ids/model.pt", b"one")
    before = identity("ViT-B-32", "memory://ids/model.pt")
    assert before == identity("ViT-B-32", "memory://ids/model.pt")
    fsspec.filesystem("memory").pipe_file("/ids/model.pt", b"another")
    assert before != identity("ViT-B-32", "memory://ids/model.pt")
    assert identity("ViT-B-32", "openai") != identity("ViT-B-32", "laion2b_s34b_b79k")


def test_what_earlier_releases_have_recorded_is_recognised(make: Callable[..., str]) -> None:
    """Their identity of a tag or a folder is today's; of a URL another one."""
    tiny, url = make("tiny"), "memory://earlier/model.pt"
    fsspec.filesystem("memory").pipe_file("/earlier/model.pt", b"one")
    for model, pretrained in ((tiny, None), ("ViT-B-32", "openai"), ("ViT-B-32", url)):
        for found in (identity(model, pretrained), earlier_identity(model, pretrained)):
            assert is_of(found, model, pretrained)
        assert not is_of(identity("ViT-B-16", "openai"), model, pretrained)
    assert identity(tiny, None) == earlier_identity(tiny, None)
    assert identity("ViT-B-32", "openai") == earlier_identity("ViT-B-32", "openai")
