"""I2I and (I2L)^2 against the plain float64 formulas, on every pair."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from captionless.errors import DataError
from captionless.precompute import pair_similarity
from captionless.precompute.pair_similarity import I2I_TILE, I2L_TILE, i2i, i2l

R, F, L = 30, 512, 128


def unit(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True))


def reference_i2i(views: np.ndarray) -> np.ndarray:
    v = views.astype(np.float64)
    return (np.einsum("irf,jrf->ij", v, v, optimize=True) / v.shape[1] + 1) / 2


def reference_i2l(views: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    d = views.astype(np.float64) @ landmarks.astype(np.float64).T
    total = np.zeros((len(d), len(d)))
    for i in range(len(d)):
        total[i] = np.sqrt(((d[i] - d) ** 2).sum(axis=-1)).sum(axis=-1)
    return 1 / (1 + total / d.shape[1])


def landmarks(seed: int = 9) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return unit(rng.standard_normal((1, F)) + 0.8 * rng.standard_normal((L, F))).astype(np.float32)


def clustered(n: int, spread: float, seed: int = 0) -> np.ndarray:
    """A category as CLIP embeds it: views around a common direction; some duplicates and near-duplicates."""
    rng = np.random.default_rng(seed)
    views = unit(rng.standard_normal((1, R, F)) + spread * rng.standard_normal((n, R, F)))
    if n >= 8:
        views[1] = views[0]
        views[n - 1] = views[2]  # an exact duplicate in the last tile
        for k, size in ((3, 1e-7), (4, 1e-5), (5, 1e-3)):
            views[k] = unit(views[6] + size * rng.standard_normal((R, F)))
    return views.astype(np.float32)


DATA: dict[str, Callable[[], np.ndarray]] = {
    "clustered": lambda: clustered(150, 0.6),
    "tight": lambda: clustered(100, 0.02),
    "random": lambda: unit(np.random.default_rng(1).standard_normal((100, R, F))).astype(np.float32),
    "all positive": lambda: unit(1 + 0.1 * np.random.default_rng(2).random((100, R, F))).astype(np.float32),
}


@pytest.mark.parametrize("name", DATA)
def test_i2i_is_eq_2_on_every_pair(name: str) -> None:
    views = DATA[name]()
    sim = i2i(views)
    assert sim.dtype == np.float32
    assert np.abs(sim - reference_i2i(views)).max() <= 3e-7
    np.testing.assert_array_equal(sim, sim.T)
    np.testing.assert_array_equal(np.diag(sim), 1)


@pytest.mark.parametrize("name", DATA)
def test_i2l_is_eq_3_and_4_on_every_pair(name: str) -> None:
    views, texts = DATA[name](), landmarks()
    sim = i2l(views, texts)
    assert sim.dtype == np.float32
    assert np.abs(sim - reference_i2l(views, texts)).max() <= 2e-7
    np.testing.assert_array_equal(sim, sim.T)
    np.testing.assert_array_equal(np.diag(sim), 1)


def test_i2l_of_duplicates_far_from_the_centre() -> None:
    """Two tight groups, the landmarks about one of them: the worst case for centring."""
    rng = np.random.default_rng(3)
    centres = unit(rng.standard_normal((2, 1, F)))
    views = unit(centres[rng.integers(0, 2, 90)] + 1e-6 * rng.standard_normal((90, R, F))).astype(np.float32)
    texts = unit(centres[0] + 1e-3 * rng.standard_normal((L, F))).astype(np.float32)
    assert np.abs(i2l(views, texts) - reference_i2l(views, texts)).max() <= 2e-7


def test_exact_duplicates_have_similarity_one() -> None:
    views = clustered(140, 0.6)
    sim = i2l(views, landmarks())
    assert sim[0, 1] == sim[2, 139] == 1
    assert sim[0, 2] < 1
    np.testing.assert_allclose(i2i(views)[[0, 2], [1, 139]], 1, atol=3e-7)


@pytest.mark.parametrize("n", [1, 2, 3, I2L_TILE - 1, I2L_TILE, I2L_TILE + 1, 3 * I2L_TILE + 7])
def test_any_number_of_objects(n: int) -> None:
    rng = np.random.default_rng(n)
    views, texts = unit(rng.standard_normal((n, 4, 16))), unit(rng.standard_normal((5, 16)))
    assert np.abs(i2i(views) - reference_i2i(views)).max() <= 3e-7
    assert np.abs(i2l(views, texts) - reference_i2l(views, texts)).max() <= 2e-7


def test_more_than_one_tile() -> None:
    views = unit(np.random.default_rng(0).standard_normal((2 * I2I_TILE + 3, 7, 8)))
    sim = i2i(views)
    assert np.abs(sim - reference_i2i(views)).max() <= 3e-7
    np.testing.assert_array_equal(sim, sim.T)


def test_more_than_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_similarity, "I2L_BLOCK", 100)
    views, texts = clustered(230, 0.6), landmarks()
    sim = i2l(views, texts)
    assert np.abs(sim - reference_i2l(views, texts)).max() <= 2e-7
    np.testing.assert_array_equal(sim, sim.T)


def test_one_group_against_another_is_that_part_of_the_whole() -> None:
    views, texts = clustered(150, 0.6), landmarks()
    rows, columns = views[:67], views[60:]
    assert np.abs(i2i(rows, columns) - reference_i2i(views)[:67, 60:]).max() <= 3e-7
    part = i2l(rows, texts, columns)
    assert np.abs(part - reference_i2l(views, texts)[:67, 60:]).max() <= 2e-7
    assert part[60, 0] == part[66, 6] == 1  # the same objects on both sides
    assert part[2, 149 - 60] == 1  # an exact duplicate
    assert i2i(rows, columns[:0]).shape == i2l(rows, texts, columns[:0]).shape == (67, 0)
    with pytest.raises(DataError, match="view embeddings of shape"):
        i2i(rows, columns[:, 1:])


def test_no_objects() -> None:
    empty = np.empty((0, R, F), dtype=np.float32)
    assert i2i(empty).shape == i2l(empty, landmarks()).shape == (0, 0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_float_type_is_taken_as_the_numbers_it_holds(dtype: torch.dtype) -> None:
    views, texts = torch.from_numpy(clustered(40, 0.6)).to(dtype), torch.from_numpy(landmarks()).to(dtype)
    plain_views, plain_texts = views.double().numpy(), texts.double().numpy()
    off_diagonal = ~np.eye(40, dtype=bool)  # the diagonal is 1 by definition, whatever storage did to the norms
    # Stored coarsely, views have norms beside 1 and few bits in their products, whose rounding adds up instead of
    # cancelling: four units in the last place with AVX-512 kernels, two with AVX2.
    bound = 5e-7 if dtype is torch.bfloat16 else 3e-7
    assert np.abs(i2i(views) - reference_i2i(plain_views))[off_diagonal].max() <= bound
    assert np.abs(i2l(views, texts) - reference_i2l(plain_views, plain_texts)).max() <= 2e-7
    if dtype is not torch.bfloat16:
        np.testing.assert_array_equal(i2i(views.numpy()), i2i(views))
        np.testing.assert_array_equal(i2l(views.numpy(), texts.numpy()), i2l(views, texts))


def test_every_layout() -> None:
    views, texts = clustered(30, 0.6), landmarks()
    i2i_sim, i2l_sim = i2i(views), i2l(views, texts)
    read_only = views.copy()
    read_only.flags.writeable = False
    layouts = [
        np.asfortranarray(views),
        np.repeat(views, 2, axis=0)[::2],
        np.ascontiguousarray(views[::-1])[::-1],
        views.transpose(1, 0, 2).copy().transpose(1, 0, 2),
        views.astype(">f4"),
        read_only,
        torch.from_numpy(views).requires_grad_(),
        torch.from_numpy(views.transpose(2, 1, 0).copy()).permute(2, 1, 0),
    ]
    for layout in layouts:
        np.testing.assert_array_equal(i2i(layout), i2i_sim)
        np.testing.assert_array_equal(i2l(layout, texts), i2l_sim)


def test_a_wrong_row_is_named() -> None:
    for value, reason in ((np.nan, "not finite"), (np.inf, "not finite"), (0.9, "length 1.3"), (0.0, "length 0")):
        views = unit(np.random.default_rng(0).standard_normal((I2I_TILE + 5, 3, 8)))
        views[I2I_TILE + 2, 1] = [value] + [1.0 if value == 0.9 else 0.0] + [0.0] * 6
        with pytest.raises(DataError, match=rf"object {I2I_TILE + 2}, view 1: .*{reason}"):
            i2i(views)
        with pytest.raises(DataError, match=rf"object {I2I_TILE + 2}, view 1: .*{reason}"):
            i2l(views, unit(np.ones((2, 8))))
    bad = np.ones((3, 2, 4)) / 2
    bad[2, 1] *= 2
    with pytest.raises(DataError, match=r'object "chair-2", view 1'):
        i2i(bad, names=["chair-0", "chair-1", "chair-2"])


def test_wrong_shapes_and_types() -> None:
    good, texts = clustered(8, 0.6), landmarks()
    for wrong in (good[0], good[:, :0], good[:, :, :0], good[None]):
        with pytest.raises(DataError, match="view embeddings have shape"):
            i2i(wrong)
        with pytest.raises(DataError, match="view embeddings have shape"):
            i2l(wrong, texts)
    for kind in (np.int32, np.complex64, bool):
        with pytest.raises(DataError, match="view embeddings have type"):
            i2i(good.astype(kind))
    with pytest.raises(DataError, match="view embeddings have type"):
        i2i(torch.ones((2, 3, 4), dtype=torch.int64))
    for wrong in (texts[0], texts[:0]):
        with pytest.raises(DataError, match="landmark embeddings have shape"):
            i2l(good, wrong)
    with pytest.raises(DataError, match=r"\b511\b.*\b512\b"):
        i2l(good, texts[:, 1:])
    with pytest.raises(DataError, match=r"landmark 5: .*\b2\b"):
        i2l(good, np.where(np.arange(L)[:, None] == 5, 2 * texts, texts))
    with pytest.raises(DataError, match=r"\b2 names\b.*\b8\b"):
        i2i(good, names=["a", "b"])
