"""What the fork server imports, once, for all commands: everything heavy that a stage imports when it has work.

Nothing here starts a thread or a CUDA context, which a fork would not survive.
"""

import gc
import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"

import torch  # noqa: E402, F401

import captionless.__main__  # noqa: E402
import captionless.cli.app  # noqa: E402
import captionless.clip.openclip  # noqa: E402
import captionless.precompute.meshfile  # noqa: E402
import captionless.precompute.pair_similarity  # noqa: E402
import captionless.precompute.pointcloud  # noqa: E402
import captionless.precompute.render  # noqa: E402
import captionless.spec.load  # noqa: E402
import captionless.stages.eval  # noqa: E402
import captionless.stages.landmarks  # noqa: E402
import captionless.stages.listing  # noqa: E402
import captionless.stages.report_context  # noqa: E402
import captionless.stages.similarity  # noqa: E402
import captionless.trainer.infer  # noqa: E402
import captionless.trainer.loop  # noqa: E402
import captionless.trainer.worker  # noqa: E402
from captionless.clip import openclip  # noqa: E402
from captionless.store.tile_cache import NO_STEPS  # noqa: E402
from tests.chaos.world import FIELDS, SPEC  # noqa: E402


def _warm() -> None:
    """Libraries import, register and compile most of what they have at their first use."""
    import functools

    import numba
    import open_clip  # noqa: F401
    import triton  # noqa: F401
    import typer.main
    from numba.typed import List
    from PIL import Image

    Image.init()
    numba.njit(lambda x: x + 1)(1)
    steps = List([NO_STEPS])
    steps[0] = NO_STEPS
    openclip.load = functools.cache(openclip.load)  # a command that loads it would not change it
    typer.main.get_command = functools.cache(typer.main.get_command)
    typer.main.get_command(captionless.cli.app.app)
    for precision in FIELDS["clip.precision"]:
        openclip.load(SPEC["clip"]["model"], None, "auto", precision)


_warm()
gc.collect()
gc.freeze()  # or the first collection of each fork would copy all of it
