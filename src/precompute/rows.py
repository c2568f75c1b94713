"""Embeddings as similarity takes them: any float type, any layout, checked, handed out by the tile.

Why a tile at a time: a category of 20,000 objects is 600 MB of float16 views and twice that in
float32; only the rows in work are converted. Why checked: one NaN or one row that was never
normalised would silently spoil a row and a column of the matrix.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from captionless.errors import DataError

Embeddings: TypeAlias = "NDArray[np.floating] | torch.Tensor"
"""Rows of unit length: float16, float32, float64 in numpy or torch, bfloat16 in torch, on any device."""

NORM_TOLERANCE = 5e-3
"""Allowed | |e| - 1 |: bfloat16 storage moves a norm by up to 2^-8, float16 by 2^-11."""


class ViewRows:
    """The (n, R, F) view embeddings of n objects; `shape` is (n, R, F).

    Raises:
        DataError: not three axes, no views, or not floating point.
    """

    def __init__(self, views: Embeddings, names: Sequence[str] | None = None) -> None:
        self._views = _as_tensor(views, "view embeddings")
        if self._views.ndim != 3 or 0 in self._views.shape[1:]:
            raise DataError(
                f"view embeddings have shape {tuple(self._views.shape)}; "
                "expected (objects, views, width) with at least one view"
            )
        if names is not None and len(names) != len(self._views):
            raise DataError(f"{len(names)} names for {len(self._views)} objects' view embeddings; expected one each")
        self._names = names
        n, n_views, width = self._views.shape
        self.shape = (int(n), int(n_views), int(width))

    def float32(self, rows: slice) -> NDArray[np.float32]:
        """(rows, R, F), C-contiguous; shares memory with the input where its type and layout allow it."""
        return _numpy(self._views[rows], torch.float32)

    def float64(self, rows: slice, view: int) -> NDArray[np.float64]:
        """(rows, F): one view of these objects."""
        return _numpy(self._views[rows, view], torch.float64)

    def check(self, rows: slice) -> None:
        """DataError that names the first object and view whose row is not finite or not of unit length."""
        bad = _not_unit(self.float32(rows))
        if bad is not None:
            (index, view), reason = bad
            index += rows.start
            name = f"object {index}" if self._names is None else f'object "{self._names[index]}"'
            raise DataError(f"{name}, view {view}: {reason}")


def landmark_rows(landmarks: Embeddings, width: int) -> NDArray[np.float64]:
    """(L, F) landmark embeddings in float64; DataError if empty, of another width, or not unit rows."""
    tensor = _as_tensor(landmarks, "landmark embeddings")
    if tensor.ndim != 2 or len(tensor) == 0:
        raise DataError(
            f"landmark embeddings have shape {tuple(tensor.shape)}; expected (landmarks, width), at least one landmark"
        )
    if tensor.shape[1] != width:
        raise DataError(
            f"landmark embeddings have width {tensor.shape[1]} but view embeddings {width}; embed both with one model"
        )
    texts = _numpy(tensor, torch.float64)
    bad = _not_unit(texts)
    if bad is not None:
        (index,), reason = bad
        raise DataError(f"landmark {index}: {reason}")
    return texts


def tiles(n: int, size: int, start: int = 0) -> Iterator[slice]:
    """Slices of at most `size` rows that cover `start` to `n`."""
    for first in range(start, n, size):
        yield slice(first, min(first + size, n))


def _as_tensor(values: Embeddings, what: str) -> torch.Tensor:
    if isinstance(values, torch.Tensor):
        tensor = values.detach()
    else:
        array = np.asarray(values)
        if array.dtype.kind != "f" or array.dtype.itemsize > 8:
            raise DataError(f"{what} have type {array.dtype}; expected float16, bfloat16, float32 or float64")
        if min(array.strides, default=0) < 0 or not array.dtype.isnative or not array.flags.writeable:
            array = array.astype(array.dtype.newbyteorder("="))  # torch takes none of these as they are
        tensor = torch.from_numpy(array)
    if not tensor.is_floating_point():
        raise DataError(f"{what} have type {tensor.dtype}; expected float16, bfloat16, float32 or float64")
    return tensor


def _numpy(tensor: torch.Tensor, dtype: torch.dtype) -> NDArray[Any]:
    return tensor.to("cpu", dtype).contiguous().numpy()


def _not_unit(block: NDArray[np.floating]) -> tuple[tuple[int, ...], str] | None:
    """Index of the first row (last axis) that is not a unit vector, and what is wrong with it."""
    norms = np.sqrt(np.einsum("...f,...f->...", block, block))
    wrong = np.argwhere(~(np.abs(norms - 1) <= NORM_TOLERANCE))  # negated, so that NaN is wrong too
    if not len(wrong):
        return None
    index = tuple(int(i) for i in wrong[0])
    norm = float(norms[index])
    if not np.isfinite(norm):
        return index, "the embedding is not finite (NaN or inf); embed it again"
    return index, f"the embedding has length {norm:.4g}; expected 1, L2-normalise the rows"
