"""Arrays as objects of their own: what numpy reads, in any rows, and damage that is named."""

from __future__ import annotations

import hashlib
import io
import uuid
from pathlib import Path

import numpy as np
import pytest

from captionless.errors import DataError
from captionless.store import arrays, objects
from captionless.store.arrays import StoredArray, write_array


@pytest.fixture(params=["local", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "a.npy") if request.param == "local" else f"memory://{uuid.uuid4()}/a.npy"


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64])
@pytest.mark.parametrize("shape", [(23, 7), (5, 3, 2), (0, 4)], ids=str)
def test_rows_are_those_that_were_written(
    url: str, shape: tuple[int, ...], dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "_PIECE", 100)
    whole = np.random.default_rng(0).normal(size=(2 * shape[0], *shape[1:])).astype(dtype)[::2]  # not contiguous
    sha256 = write_array(url, whole)
    data = objects.read_bytes(url)
    assert hashlib.sha256(data).hexdigest() == sha256
    np.testing.assert_array_equal(np.load(io.BytesIO(data)), whole)
    stored = StoredArray(url)
    assert (stored.shape, stored.dtype, len(stored)) == (whole.shape, whole.dtype, len(whole))
    np.testing.assert_array_equal(stored.read(), whole)
    for part in ((0, 1), (2, 20), (3, None), (4, 4), (1, 900)):
        np.testing.assert_array_equal(stored.read(*part), whole[slice(*part)])


def test_damage_is_named(url: str) -> None:
    with pytest.raises(DataError, match="missing"):
        StoredArray(url)
    write_array(url, np.zeros((4, 3)))
    data, stored = objects.read_bytes(url), StoredArray(url)
    objects.write_bytes(url, data[:-1])
    with pytest.raises(DataError, match="truncated"):
        stored.read(2)
    assert stored.read(0, 3).shape == (3, 3)
    for other in (b"", b"no array", data[:20], _saved(np.zeros(3)), _saved(np.asfortranarray(np.zeros((3, 2))))):
        objects.write_bytes(url, other)
        with pytest.raises(DataError, match="array of rows"):
            StoredArray(url)


def _saved(array: np.ndarray) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array)
    return sink.getvalue()
