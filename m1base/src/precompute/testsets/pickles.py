"""Reads pickles of numpy arrays without executing code that they may contain.

ULIP's ModelNet40 and OpenShape's clouds are published as pickles, and a pickle is a program: it may call anything that
can be imported. So only what rebuilds arrays is let in, in the way of Python's own documentation ("Restricting
Globals"); anything else is a `DataError` that names it.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

from captionless.errors import DataError, one_line

_CORE = ("numpy.core", "numpy._core")  # before and since numpy 2
_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),  # bytes, in pickles for Python 2
    *((f"{core}.multiarray", name) for core in _CORE for name in ("_reconstruct", "scalar")),
    *((f"{core}.numeric", "_frombuffer") for core in _CORE),
}


class _Arrays(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise DataError(f"the pickle requires {module}.{name}; only numpy arrays, numbers and strings are allowed")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def loads(data: bytes) -> Any:
    """What a pickle of lists, dicts, numbers, texts and numpy arrays holds; DataError for another or a damaged one."""
    try:
        return _Arrays(io.BytesIO(data), encoding="latin1").load()
    except DataError:
        raise
    except Exception as error:  # a damaged pickle raises whatever its bytes lead to
        raise DataError(f"truncated or damaged pickle ({one_line(error)})") from error


def loads_npy(data: bytes) -> Any:
    """The same of what `numpy.save` wrote: an array, or the object that it wrapped into one."""
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        if not dtype.hasobject:
            return np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"truncated or damaged .npy file ({one_line(error)})") from error
    held = loads(file.read())
    return held.item() if shape == () and isinstance(held, np.ndarray) else held
