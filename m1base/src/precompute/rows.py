"""Embeddings as input of similarity: any float type and layout, validated, converted tile by tile.

Why a tile at a time: a category of 20,000 objects is 600 MB of float16 views and twice that in
float32; only the rows in work are converted. Why checked: one NaN or one row that was never
normalised would silently spoil a row and a column of the matrix. Why no torch but for a tensor that
numpy has no type for: it takes a worker seconds to start, and half of its memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.store import float16

if TYPE_CHECKING:
    import torch

Embeddings: TypeAlias = "NDArray[np.floating] | torch.Tensor"
"""Rows of unit length: float16, float32, float64 in numpy or torch, bfloat16 in torch, on any device."""


class ViewRows:
    """The (n, R, F) view embeddings of n objects; `shape` is (n, R, F).

    Raises:
        DataError: not three axes, no views, or not floating point.
    """

    def __init__(self, views: Embeddings, names: Sequence[str] | None = None) -> None:
        self._views = _floats(views, "view embeddings")
        if self._views.ndim != 3 or 0 in self._views.shape[1:]:
            raise DataError(
                f"view embeddings have shape {tuple(self._views.shape)}; "
                "expected (objects, views, width) with at least one view"
            )
        if names is not None and len(names) != len(self._views):
            raise DataError(
                f"{len(names)} names for {len(self._views)} objects' view embeddings; expected one name per object"
            )
        self._names = names
        n, n_views, width = self._views.shape
        self.shape = (int(n), int(n_views), int(width))

    def float32(self, rows: slice, into: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """(rows, R, F), C-contiguous; shares memory with the input where its type and layout allow it.

        Otherwise it is a copy, in the first rows of `into` if given.
        """
        return _float32(self._views[rows], None if into is None else into[: rows.stop - rows.start])

    def float64(self, rows: slice) -> NDArray[np.float64]:
        """(rows, R, F), C-contiguous."""
        return _float64(self._views[rows])

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
    rows = _floats(landmarks, "landmark embeddings")
    if rows.ndim != 2 or len(rows) == 0:
        raise DataError(
            f"landmark embeddings have shape {tuple(rows.shape)}; expected (landmarks, width), at least one landmark"
        )
    if rows.shape[1] != width:
        raise DataError(
            f"landmark embeddings have width {rows.shape[1]} but view embeddings {width}; use one model for both"
        )
    texts = _float64(rows)
    bad = _not_unit(texts)
    if bad is not None:
        (index,), reason = bad
        raise DataError(f"landmark {index}: {reason}")
    return texts


def tiles(n: int, size: int, start: int = 0) -> Iterator[slice]:
    """Slices of at most `size` rows that cover `start` to `n`."""
    for first in range(start, n, size):
        yield slice(first, min(first + size, n))


def _floats(values: Embeddings, what: str) -> Any:
    """`values` as an array, or as the tensor it is where numpy has no such type or cannot reach it."""
    if not isinstance(values, np.ndarray) and hasattr(values, "detach"):
        if not values.is_floating_point():
            raise DataError(f"{what} have type {values.dtype}; expected float16, bfloat16, float32 or float64")
        tensor = values.detach()
        known = str(tensor.dtype) in ("torch.float16", "torch.float32", "torch.float64")
        return tensor.numpy() if known and tensor.device.type == "cpu" else tensor
    array = np.asarray(values)
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:
        raise DataError(f"{what} have type {array.dtype}; expected float16, bfloat16, float32 or float64")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _float32(values: Any, into: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    if not isinstance(values, np.ndarray):
        values = values.to("cpu").float().numpy()
    if values.dtype == np.float16:
        return float16.to_float32(values, into)
    if values.dtype == np.float32 and values.flags.c_contiguous:
        return np.asarray(values)
    if into is None:
        return np.ascontiguousarray(values, np.float32)
    np.copyto(into, values, casting="same_kind")
    return into


def _float64(values: Any) -> NDArray[np.float64]:
    if not isinstance(values, np.ndarray):
        values = values.to("cpu").double().numpy()
    return np.ascontiguousarray(float16.to_float32(values) if values.dtype == np.float16 else values, np.float64)


def _not_unit(block: NDArray[np.floating]) -> tuple[tuple[int, ...], str] | None:
    """Index of the first row (last axis) that is not a unit vector, and what is wrong with it."""
    norms = np.sqrt(np.einsum("...f,...f->...", block, block))
    wrong = np.argwhere(~(np.abs(norms - 1) <= float16.NORM_TOLERANCE))  # negated, so that NaN is wrong too
    if not len(wrong):
        return None
    index = tuple(int(i) for i in wrong[0])
    norm = float(norms[index])
    if not np.isfinite(norm):
        return index, "the embedding is not finite (NaN or inf); rerun embed"
    return index, f"the embedding has length {norm:.4g}; expected 1: L2-normalise the rows"
