"""What similarities become before eq. 6, and eq. 6 in plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from captionless.errors import DataError
from captionless.trainer.losses import hn_similarity
from captionless.trainer.losses.hn_weights import log_weights
from tests.trainer import reference
from tests.trainer.losses.inputs import similarity


def test_category_control_keeps_label_and_drops_structure() -> None:
    sim = similarity(4).numpy()
    got = hn_similarity.category_similarity(sim, ["x", "x", "y", "x"], {"x": 0.8, "y": 0.6})
    expected = sim.astype(np.float32)
    for i, j in ((0, 1), (0, 3), (1, 3)):
        expected[i, j] = expected[j, i] = 0.8
    np.testing.assert_array_equal(got, expected)


def test_sharpening_spreads_similarity_about_the_category_mean() -> None:
    categories, means = ["x", "x", "y", "x", "y", "z"], {"x": 0.8, "y": 0.6, "z": 1.0}
    sim = similarity(6).numpy()
    for sharpen in (1.0, 2.5, 8.0):
        expected = reference.sharpened(sim, categories, means, sharpen)
        got = hn_similarity.sharpened_similarity(sim, categories, means, sharpen)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, rtol=2**-23)  # rounded once, to float32
    at_mean = np.full((2, 2), 0.8)
    np.testing.assert_array_equal(
        hn_similarity.sharpened_similarity(at_mean, ["x", "x"], means, 9.0), np.float32(at_mean)
    )
    with pytest.raises(DataError, match=r"0 and 1.*nan"):
        log_weights(torch.from_numpy(hn_similarity.sharpened_similarity(-at_mean, ["x", "x"], means, 1.5)))


def test_negative_weights_are_the_entries_of_a_batch() -> None:
    sim = similarity(7).numpy()
    expected = reference.log_weights(sim, list(range(7)), "one")
    for i, row in enumerate(sim):
        others = np.delete(row, i)
        got = hn_similarity.negative_weights(others, others.sum(), len(others))
        np.testing.assert_allclose(got, np.exp(np.delete(expected[i], i)), rtol=1e-12)
