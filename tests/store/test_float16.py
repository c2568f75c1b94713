"""float16 as float32: every one of the 65,536, to the bit, in any layout."""

from __future__ import annotations

import numpy as np
import pytest

from captionless.store import float16

EVERY = np.arange(1 << 16, dtype=np.uint16).view(np.float16)


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype == np.float32 and np.array_equal(a.view(np.uint32), b.view(np.uint32))


def test_every_half_becomes_the_number_it_is() -> None:
    got, expected = float16.to_float32(EVERY), EVERY.astype(np.float32)
    numbers = ~np.isnan(expected)
    assert same_bits(got[numbers], expected[numbers])
    assert np.isnan(got[~numbers]).all()


@pytest.mark.parametrize("shape", [(0, 3), (1,), (7, 11, 13), (4, 2000)], ids=str)
def test_any_shape_and_layout(shape: tuple[int, ...]) -> None:
    whole = np.resize(EVERY[:31744], shape)
    into = np.full(shape, np.nan, np.float32)
    assert float16.to_float32(whole, into) is into
    for given in (whole, whole.T, whole[..., ::2], whole[::-1]):
        assert same_bits(float16.to_float32(given), np.ascontiguousarray(given.astype(np.float32)))
