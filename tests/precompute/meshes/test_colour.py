"""sRGB against values from the standard, and its inverse."""

from __future__ import annotations

import numpy as np

from captionless.precompute.meshes.colour import linear, srgb


def test_values_of_the_standard() -> None:
    levels = np.array([0, 10, 11, 55, 128, 188, 255])
    expected = [0.0, 0.0030352698, 0.0033465357, 0.0382043716, 0.2158605001, 0.5028864580, 1.0]
    np.testing.assert_allclose(linear(levels / 255), expected, atol=1e-9)


def test_every_level_comes_back() -> None:
    levels = np.arange(256) / 255
    np.testing.assert_allclose(srgb(linear(levels)), levels, atol=1e-8)
    assert (np.diff(linear(levels)) > 0).all()


def test_what_is_beyond_the_ends_is_the_end() -> None:
    np.testing.assert_allclose(srgb([-1.0, 7.0]), [0.0, 1.0], atol=1e-15)
    np.testing.assert_array_equal(linear([-1.0, 7.0]), [0.0, 1.0])
