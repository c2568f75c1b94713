"""Embeddings of packed views: the model's own, in the samples' order, and the same bytes in whatever company."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import torch

from captionless.clip import openclip
from captionless.errors import DataError
from captionless.stages import embedding_pipeline
from captionless.stages.embedding_pipeline import Embedded, embed_views
from captionless.store.views import encode_view, on_white, view_name
from tests.clip.conftest import make  # noqa: F401

VIEWS = 3
Samples = list[tuple[str, dict[str, bytes]]]


@pytest.fixture
def clip(make: Callable[..., str]) -> openclip.Clip:  # noqa: F811
    return openclip.load(make(), device="cpu")


@pytest.fixture(params=["cores", "batches"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways; that of a GPU on a CPU, whose kernels depend on a product's shape as well."""
    if request.param == "batches":
        monkeypatch.setattr(embedding_pipeline, "_on_cores", embedding_pipeline._in_batches)
    return str(request.param)


def rgba(seed: int, side: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (VIEWS, side, side, 4), np.uint8)


def samples(seeds: Sequence[int], side: int = 32) -> Samples:
    return [
        (f"object-{seed}", {view_name(i): encode_view(v) for i, v in enumerate(rgba(seed, side))} | {"json": b"{}"})
        for seed in seeds
    ]


def embedded(clip: openclip.Clip, given: Samples, batch_size: int = 256) -> dict[str, Embedded]:
    found = list(embed_views(clip, given, VIEWS, batch_size, "the store"))
    assert [e.key for e in found] == [key for key, _ in given]
    return {e.key: e for e in found}


def test_rows_are_the_models_own_and_members_pass_through(clip: openclip.Clip, way: str) -> None:
    given = samples(range(5))
    for key, found in embedded(clip, given, 4).items():
        expected = clip.images(on_white(rgba(int(key.rsplit("-")[-1]))))
        assert found.rows.dtype == np.float32
        np.testing.assert_allclose(found.rows, expected, atol=1e-6)
        assert found.members is dict(given)[key]


@pytest.mark.parametrize("batch_size", [2, 7, 256])
def test_company_does_not_matter(clip: openclip.Clip, way: str, batch_size: int) -> None:
    everybody = samples(range(12))
    reference = embedded(clip, everybody, batch_size)
    some = [everybody[i] for i in (7, 2, 11, 3)]
    for company in (everybody[::-1], some, everybody[4:5], everybody[:1] + samples([99], side=48) + everybody[1:]):
        for key, found in embedded(clip, company, batch_size).items():
            if key in reference:
                assert found.rows.tobytes() == reference[key].rows.tobytes(), key


def test_no_objects(clip: openclip.Clip, way: str) -> None:
    assert embedded(clip, []) == {}


def test_objects_are_taken_a_few_ahead_and_threads_left_as_they_were(clip: openclip.Clip, way: str) -> None:
    taken = 0

    def endless() -> Iterator[tuple[str, dict[str, bytes]]]:
        nonlocal taken
        ((key, members),) = samples([0])
        while True:
            taken += 1
            yield f"{key}-{taken}", members

    threads = torch.get_num_threads()
    running = embed_views(clip, endless(), VIEWS, VIEWS)
    for n in range(1, 4):
        assert next(running).key == f"object-0-{n}"
        assert taken <= n + 12
    running.close()  # type: ignore[attr-defined]
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda members: members.pop("view01.webp"), "the store: object 'object-1' has no view01.webp"),
        (lambda members: members.update({"view01.webp": b"no"}), r"the store: object-1\.view01\.webp: not a picture"),
        (lambda members: members.update({"view01.webp": encode_view(rgba(0, 16)[0])}), "'object-1'.*differ in size"),
    ],
    ids=["missing", "no-picture", "other-size"],
)
def test_a_broken_view_is_named(
    clip: openclip.Clip, way: str, change: Callable[[dict[str, bytes]], object], named: str
) -> None:
    given = samples(range(3))
    change(given[1][1])
    with pytest.raises(DataError, match=named):
        embedded(clip, given)


def test_an_embedding_that_is_not_finite_is_named(make: Callable[..., str], way: str) -> None:  # noqa: F811
    clip = openclip.load(make(), device="cpu")
    clip._model.visual.ln_post.weight.fill_(3e38)  # type: ignore[union-attr, operator]
    with pytest.raises(DataError, match=r"the store: object-0\.view00\.webp: the embedding"):
        embedded(clip, samples([0]))
