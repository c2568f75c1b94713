"""Packing and embedding, an object at a time, beside the first release, peers and the model alone.

Writes the tables of `benchmarks/pack/README.md`; `--only` prints some and writes nothing. Peers render by OpenGL in
software: apt-get install libegl1 libgl1-mesa-dri.
"""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks import furniture
from benchmarks.measure import Section, options, table, write_page
from benchmarks.pack import embedding, peers, quality, releases
from benchmarks.pack.stage import POINTS, SIZE, VIEWS
from captionless.precompute.meshfile import load_mesh
from captionless.precompute.pointcloud import normalise, sample_surface

_STEPS = {
    "read": "read the mesh", "render": f"render {VIEWS} views", "sample": f"sample {POINTS:,} points",
    "order": "farthest-point order", "encode": "encode the views", "whole": "**pack as a whole**",
}  # fmt: skip


def main() -> None:
    parser = options("benchmarks.pack", __doc__, rounds=3)
    furniture.add_options(parser, 16)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        several = copied(furniture.drawn(arguments.meshes, arguments.objects), folder)
        paths = sorted(several.rglob("*.obj"))
        some = paths[:: max(1, len(paths) // 6)]
        sections: dict[str, Section] = {
            "stage": ("An object", lambda: stage_table(folder, paths, arguments.rounds)),
            "supersampling": ("Samples a pixel", lambda: quality.supersampling_table(some)),
            "formats": ("Formats", lambda: quality.formats_table(some)),
            "embed": ("Embedding", lambda: embedding.embedding_table(some[:4], arguments.rounds)),
        }
        write_page(Path(__file__).with_name("README.md"), "python -m benchmarks.pack", sections, arguments.only or [])


def copied(models: Sequence[Path], folder: Path) -> Path:
    """Copies meshes to a folder, each with what it names, and one of them to another."""
    for n, mesh in enumerate(path.parent for path in models):
        shutil.copytree(mesh, folder / "several" / mesh.name)
        if n == 0:
            shutil.copytree(mesh, folder / "one" / mesh.name)
    return folder / "several"


def stage_table(folder: Path, paths: list[Path], rounds: int) -> str:
    found, views = releases.rounds(folder, folder / "one", folder / "several", rounds)
    before, now = found[releases.FIRST], found["today"]
    meshes = [load_mesh(str(path), "y") for path in paths]
    clouds = [normalise(sample_surface(mesh, POINTS, 1)[0]) for mesh in meshes]
    # In a process of its own: Mesa's LLVM and that of torch's triton crash in one.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
        by_pyrender = alone.submit(peers.pyrender_views, paths).result()
    of_peers = {
        "render": ("pyrender, reading included", by_pyrender),
        "sample": ("trimesh, reading included", peers.trimesh_points(paths)),
        "order": ("fpsample", peers.fpsample_order(clouds)),
    }
    rows = []
    for step, name in _STEPS.items():
        peer, seconds = of_peers.get(step, ("", None))
        beside = f"{1e3 * seconds:.0f} ms ({peer})" if seconds is not None else ""
        ratio = f"{before[step] / now[step]:.1f}"
        rows.append((name, f"{1e3 * before[step]:.0f} ms", f"{1e3 * now[step]:.0f} ms", ratio, beside))
    first, today = views.astype(int)
    whole = (first[..., 3] == today[..., 3]) & (first[..., 3] > 0)
    apart = np.abs(first - today)[..., :3][whole]
    faces = [mesh.face_count for mesh in meshes]
    text = (
        f"Processor time of an object, on one thread, {len(paths)} furniture meshes of {min(faces):,} to "
        f"{max(faces):,} faces ({sum(any(p.texture is not None for p in m.parts) for m in meshes)} with textures), "
        f"{VIEWS} views of {SIZE} pixels with 2 x 2 samples; the least of {rounds} alternating rounds. Steps are "
        "called by themselves; the whole is the stage with its listing, what starts once left out.\n\n"
    )
    text += table(("", releases.FIRST, "today", "times as fast", "peer"), rows)
    return text + (
        "\nThe views of both, by OpenGL and by ours: "
        f"{100 * (first[..., 3] != today[..., 3]).mean():.4f} % of the pixels "
        f"are covered by another number of samples; where they are the same, colours differ by {apart.mean():.3f} of "
        f"255 in the mean, and by more than 8 in {100 * (apart.max(axis=1) > 8).mean():.3f} % of the covered pixels.\n"
    )


if __name__ == "__main__":
    main()
