"""The order in which libraries with an LLVM of their own are loaded.

Mesa's software renderer makes the symbols of its LLVM visible to every library that is loaded later, and triton's,
which contains another LLVM, crashes on them. A library that was loaded first keeps its own: so triton's is, without
the Python package around it, before a window is opened. It costs some 50 ms.
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import importlib.util
import os


def load_before_mesa() -> None:
    """To be called before the first OpenGL window is opened. Does nothing without triton."""
    found = importlib.util.find_spec("triton")
    for folder in (found.submodule_search_locations or ()) if found is not None else ():
        for library in glob.glob(os.path.join(glob.escape(folder), "_C", "libtriton*.so")):
            with contextlib.suppress(OSError):  # of another platform: Python will say so if it is ever imported
                ctypes.CDLL(library)
