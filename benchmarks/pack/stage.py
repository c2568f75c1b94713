"""Packs the same meshes again and again, for whoever asks on stdin: one process for each release of captionless.

    PYTHONPATH=FOLDER/WITH/captionless python stage.py ONE ALL OUT

ONE and ALL are folders of meshes with a mesh and with several. For every line on stdin, a line of JSON on stdout: how
many seconds of processor time an object takes, in all and by step. Only what both releases have in common is used.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from captionless.precompute.meshfile import load_mesh
from captionless.precompute.pointcloud import farthest_point_order, normalise, sample_surface
from captionless.precompute.render import Renderer
from captionless.stages import pack
from captionless.store.views import encode_view

try:
    from captionless.spec.alignment import AlignmentSpec
    from captionless.stages import listing
except ImportError:  # the first release: pack lists by itself
    from captionless.spec import AlignmentSpec

    listing = None  # type: ignore[assignment]

VIEWS, SIZE, POINTS = 30, 224, 10_000


def processor() -> float:
    """Seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def stage(source: Path, out: Path) -> float:
    """Seconds that the stage takes for all meshes of a folder, its listing included."""
    shutil.rmtree(out, ignore_errors=True)
    folder = {"kind": "folder", "url": str(source), "up": "y"}
    data = {"views": VIEWS, "imageSize": SIZE, "points": POINTS, "source": folder}
    document = {"name": "bench", "output": str(out), "data": data, "train": {"weights": ["uniform"]}}
    spec = AlignmentSpec.model_validate(document)
    began = processor()
    if listing is not None:
        listing.run(spec)
    pack.run(spec)
    return processor() - began


def steps(meshes: list[Path], renderer: Renderer) -> dict[str, float]:
    """Seconds of each step for a mesh, the means over all."""
    spent: dict[str, float] = {}

    def timed(step: str, work: Callable[..., Any], *arguments: Any) -> Any:
        began = time.process_time()
        found = work(*arguments)
        spent[step] = spent.get(step, 0.0) + time.process_time() - began
        return found

    for path in meshes:
        mesh = timed("read", load_mesh, str(path), "y")
        views = timed("render", renderer.render, mesh)
        points, _ = timed("sample", sample_surface, mesh, POINTS, 1)
        timed("order", farthest_point_order, normalise(points).astype(np.float16))
        timed("encode", lambda views=views: [encode_view(view) for view in views])
    return {step: seconds / len(meshes) for step, seconds in spent.items()}


def main() -> None:
    one, several, out = map(Path, sys.argv[1:])
    meshes = sorted(several.rglob("*.obj"))
    renderer = Renderer(VIEWS, SIZE)
    np.save(out.with_suffix(".npy"), np.stack([renderer.render(load_mesh(str(path), "y"))[::10] for path in meshes]))
    stage(one, out)  # compiles, or loads what is compiled
    for _ in sys.stdin:
        first, all_of_them = stage(one, out), stage(several, out)
        whole = (all_of_them - first) / (len(meshes) - 1)  # what starts once is not counted
        print(json.dumps({"whole": whole, **steps(meshes, renderer)}), flush=True)


if __name__ == "__main__":
    main()
