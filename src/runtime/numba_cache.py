"""Compiled kernels that an image brings.

numba compiles a kernel when it is first called, seconds of processor time in every new pod, and keeps the result in
NUMBA_CACHE_DIR, which it must be able to write to even where it only reads. The image has what it compiled as it was
built, in a folder that is not writable; a process copies that to where numba looks. It serves processors of the kind
that it was compiled for; on others, as when it does not fit the code, numba compiles as it does without.
"""

from __future__ import annotations

import contextlib
import os
import shutil

from captionless.runtime.env import KERNELS


def provide() -> None:
    """Copies the kernels of CAPTIONLESS_KERNELS to NUMBA_CACHE_DIR unless that is there; before numba is imported."""
    brought, wanted = os.environ.get(KERNELS, ""), os.environ.get("NUMBA_CACHE_DIR", "")
    if not wanted or os.path.exists(wanted) or not os.path.isdir(brought):
        return
    partial = f"{wanted}.{os.getpid()}"
    with contextlib.suppress(OSError):  # another process may be first, and a full disk leaves numba to compile
        shutil.copytree(brought, partial)
        os.rename(partial, wanted)
    shutil.rmtree(partial, ignore_errors=True)
