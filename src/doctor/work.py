"""Checks of what the stages do on this machine, at small scale: render, sample, embed."""

from __future__ import annotations

import os
import time

from captionless.doctor.finding import Finding, Subject, Verdict


def rendering(_: Subject) -> Finding:
    """A view of a tetrahedron, as `pack` renders it."""
    import numpy as np

    from captionless.mesh import Mesh, MeshPart
    from captionless.precompute.render import Renderer

    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], np.float64)
    faces = np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]], np.int32)
    renderer, mesh = Renderer(views=2, size=64), Mesh((MeshPart(corners, faces),))
    renderer.render(mesh)  # compiles
    began = time.monotonic()
    views = renderer.render(mesh)
    milliseconds = (time.monotonic() - began) * 1000 / len(views)
    covered = (views[..., 3] > 0).mean()
    if not 0.1 < covered < 0.9:
        return Finding(
            Verdict.failed, f"a tetrahedron covers {covered:.0%} of its view", "reinstall numba and llvmlite"
        )
    return Finding(Verdict.ok, f"a small view takes {milliseconds:.1f} ms")


def kernels(_: Subject) -> Finding:
    """A compiled kernel, and whether the compilation cache is writable."""
    import torch

    from captionless.trainer.ops.point_sets import farthest_point_sample

    line = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [9, 0, 0], [5, 0, 0]]])
    began = time.monotonic()
    chosen = farthest_point_sample(line, 3)[0].tolist()
    seconds = time.monotonic() - began
    if chosen != [0, 2, 3]:
        return Finding(
            Verdict.failed, f"farthest points are {chosen}, expected [0, 2, 3]", "reinstall numba and llvmlite"
        )
    folder = os.environ.get("NUMBA_CACHE_DIR") or os.path.dirname(os.path.abspath(__file__))
    if not os.access(folder, os.W_OK):
        return Finding(
            Verdict.warning,
            f"compiled in {seconds:.1f} s, and again in every process: {folder} is not writable",
            "set NUMBA_CACHE_DIR to a writable folder",
        )
    return Finding(Verdict.ok, f"compiled or loaded in {seconds:.1f} s")


def clip(subject: Subject) -> Finding:
    """The CLIP model: loaded, downloaded if necessary, and used to embed a text and a picture."""
    import numpy as np

    from captionless.clip import openclip as models

    began = time.monotonic()
    model = models.load(subject.model, subject.pretrained or None)
    model.texts(["a chair"])
    model.images([np.full((8, 8, 3), 255, np.uint8)])
    name = subject.model + (f" ({subject.pretrained})" if subject.pretrained else "")
    found = (
        f"{name}, loaded in {time.monotonic() - began:.1f} s, embeds texts and pictures of {model.image_size} pixels "
        f"into {model.embed_dim} dimensions"
    )
    return Finding(Verdict.ok, found)
