"""The numba cache of an image: kernels compiled when it was built.

numba compiles a kernel when it is first called, seconds of processor time in every new pod, and keeps the result in
NUMBA_CACHE_DIR, which must be writable even if it is only read. The image has a cache in a folder that is not writable;
a process copies it to where numba looks. It is valid for the processor type that it was compiled for; on others, and
when it does not match the code, numba compiles as it does without a cache.
"""

from __future__ import annotations

import contextlib
import os
import shutil

from captionless.runtime.env import NUMBA_CACHE


def provide() -> None:
    """Copies CAPTIONLESS_NUMBA_CACHE to NUMBA_CACHE_DIR unless that exists; call before numba is imported."""
    cached, wanted = os.environ.get(NUMBA_CACHE, ""), os.environ.get("NUMBA_CACHE_DIR", "")
    if not wanted or os.path.exists(wanted) or not os.path.isdir(cached):
        return
    partial = f"{wanted}.{os.getpid()}"
    with contextlib.suppress(OSError):  # another process may be first, or the disk full: then numba compiles
        shutil.copytree(cached, partial)
        os.rename(partial, wanted)
    shutil.rmtree(partial, ignore_errors=True)
