"""Reading of meshes, format by format, beside trimesh: `python -m benchmarks.meshes`.

Writes the tables of `benchmarks/meshes/README.md`; `--only` prints some and writes nothing.
"""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import trimesh

from benchmarks import furniture
from benchmarks.measure import Section, Timing, alternately, duration, options, table, write_page
from benchmarks.meshes.files import FORMATS, converted, large
from captionless.precompute.meshfile import load_mesh

_HEADINGS = ("", "captionless", "trimesh", "times as fast, all", "an object, median", "least", "most")


def main() -> None:
    parser = options("benchmarks.meshes", __doc__, rounds=3)
    furniture.add_options(parser, 30)
    parser.add_argument("--formats", nargs="+", metavar="FORMAT", choices=FORMATS, default=list(FORMATS))
    arguments = parser.parse_args()
    logging.getLogger("trimesh").setLevel(logging.CRITICAL)  # what it says of materials that are missing
    names, rounds = arguments.formats, arguments.rounds
    sections: dict[str, Section] = {
        "furniture": ("Furniture", lambda: furniture_table(arguments.meshes, names, arguments.objects, rounds)),
        "large": ("A large mesh", lambda: large_table(names, rounds)),
    }
    write_page(Path(__file__).with_name("README.md"), "python -m benchmarks.meshes", sections, arguments.only or [])


def furniture_table(models: Path, names: Sequence[str], count: int, rounds: int) -> str:
    """Processor time of an object in each format, and how many times as fast ours is: all together, and by object."""
    rows, faces = [], []
    paths = sorted(furniture.drawn(models, count))
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            files = [converted(path, name, Path(folder) / str(n)) for n, path in enumerate(paths)]
            pairs = [_timed(file, rounds, f"{name}, {n + 1} of {count}") for n, file in enumerate(files)]
            faces = [load_mesh(str(file), "y").face_count for file in files]
        rows.append((name, *_compared(pairs)))
    return (
        f"Processor time of an object, {count} furniture meshes of {min(faces):,} to {max(faces):,} triangles; the "
        f"mean over objects of the median of {rounds} alternating rounds. What is called first is compiled before.\n\n"
        + table(_HEADINGS, rows)
    )


def large_table(names: Sequence[str], rounds: int) -> str:
    rows = []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            file = large(name, Path(folder) / "large")
            ours, peer = _timed(file, rounds, name)
            count = load_mesh(str(file), "y").face_count
            size = sum(path.stat().st_size for path in file.parent.iterdir())
        rows.append((name, f"{size / 1e6:.1f} MB", str(ours), str(peer), f"{peer.median / ours.median:.1f}"))
    return (
        f"Processor time, a sphere of {count:,} triangles; medians (ranges) of {rounds} alternating rounds.\n\n"
        + table(("", "size", "captionless", "trimesh", "times as fast"), rows)
    )


def _timed(path: Path, rounds: int, title: str) -> tuple[Timing, Timing]:
    candidates = {"captionless": lambda: load_mesh(str(path), "y"), "trimesh": lambda: _by_trimesh(path)}
    found = alternately(candidates, rounds, title, time.process_time)
    return found["captionless"], found["trimesh"]


def _by_trimesh(path: Path) -> trimesh.Scene:
    """What trimesh reads, with its pictures decoded, which it leaves for later."""
    scene = trimesh.load(path, process=False, force="scene")
    for mesh in scene.geometry.values():
        material = getattr(mesh.visual, "material", None)
        picture = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
        if picture is not None:
            np.asarray(picture.convert("RGBA"))
    return scene


def _compared(pairs: Sequence[tuple[Timing, Timing]]) -> tuple[str, ...]:
    ours, peer = (statistics.mean(pair[i].median for pair in pairs) for i in (0, 1))
    ratios = [b.median / a.median for a, b in pairs]
    shown = (peer / ours, statistics.median(ratios), min(ratios), max(ratios))
    return duration(ours), duration(peer), *(f"{ratio:.1f}" for ratio in shown)


if __name__ == "__main__":
    main()
