"""Renders the pictures that the demo CLIP model learns from.

    python hack/demo_clip/dataset.py DIR [--objects 12000] [--furniture MANIFEST]

Objects of the parametric world, training combinations only, and the training half of a
furniture manifest (examples/furniture), each seen by random cameras under random lights.
Views are kept as RGBA, so that training can put an object on any background.

DIR receives chunks, `NAME.npy` (n, size, size, 4) uint8 and `NAME.jsonl` with one line
per object: key, category, attributes (null for furniture) and its number of views. A
chunk appears once it is complete, and existing ones are skipped: rerun to resume.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captionless import demo_world
from captionless.demo_world.grammar import stable_hash
from captionless.errors import DataError
from captionless.mesh import Mesh
from captionless.precompute.camera import STUDIO, Light
from captionless.precompute.meshfile import load_mesh
from captionless.precompute.render import Renderer

_CHUNK = 40  # objects


@dataclass(frozen=True)
class Subject:
    """One object to be rendered: its label and how to get its mesh."""

    key: str
    category: str
    attributes: dict[str, str] | None
    mesh: Callable[[], Mesh]


def parametric(count: int, seed: int) -> Iterator[Subject]:
    """`count` objects of training combinations, dealt evenly over the classes."""
    for n in range(count):
        category = demo_world.CLASSES[n % len(demo_world.CLASSES)]
        key = f"{category}-{n:05d}"
        attributes = demo_world.draw(category, n // len(demo_world.CLASSES), seed, held_out=False)
        yield Subject(key, category, attributes, partial(_built, key, category, attributes, seed))


def _built(key: str, category: str, attributes: dict[str, str], seed: int) -> Mesh:
    return demo_world.build(key, category, attributes, seed).mesh


def furniture(manifest: Path) -> Iterator[Subject]:
    """The objects of the manifest's training split."""
    for line in manifest.read_text().splitlines():
        row = json.loads(line)
        if row["split"] == "train":
            path = manifest.parent / row["mesh"]
            yield Subject(row["key"], row["category"], None, partial(load_mesh, str(path)))


def cameras(key: str, views: int, seed: int) -> tuple[list[float], list[float], list[tuple[Light, ...]]]:
    """Azimuths, elevations (degrees) and lights of an object's views.

    Elevations scatter about the 20 degrees that views are rendered from later. Half of the
    views have the studio's lights, the others random ones.
    """
    random = np.random.default_rng(stable_hash("cameras", seed, key))
    azimuths = random.uniform(0, 360, views).tolist()
    elevations = np.clip(random.normal(20, 10, views), -10, 60).tolist()
    lights = [STUDIO if random.random() < 0.5 else _random_lights(random) for _ in range(views)]
    return azimuths, elevations, lights


def _random_lights(random: np.random.Generator) -> tuple[Light, ...]:
    key = Light(
        (random.uniform(-1.2, 1.2), random.uniform(-0.2, 1.2), random.uniform(0.3, 1.0)), random.uniform(0.4, 0.9)
    )
    return (key, Light((0.0, 0.0, 1.0), random.uniform(0.15, 0.4)))


@cache
def _renderer(size: int) -> Renderer:
    return Renderer(size=size)


def render_chunk(target: Path, subjects: list[Subject], views: int, size: int, seed: int) -> str:
    """Writes one chunk; an object whose mesh is broken is left out and reported."""
    done: list[NDArray[np.uint8]] = []
    rows: list[dict[str, Any]] = []
    broken = []
    for subject in subjects:
        azimuths, elevations, lights = cameras(subject.key, views, seed)
        try:
            done.append(_renderer(size).render_at(subject.mesh(), azimuths, elevations, lights))
        except DataError as error:
            broken.append(f"{subject.key}: {error}")
            continue
        rows.append(
            {"key": subject.key, "category": subject.category, "attributes": subject.attributes, "views": views}
        )
    partial_file = target.with_suffix(".partial")
    with partial_file.open("wb") as file:
        np.save(file, np.concatenate(done))
    target.with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    os.replace(partial_file, target)  # last: the array is what says that the chunk is whole
    return "\n".join([f"{target.name}: {len(rows)} objects", *broken])


def main() -> None:
    parser = argparse.ArgumentParser(description="Render the training pictures of the demo CLIP model.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--objects", type=int, default=12000, help="parametric objects")
    parser.add_argument("--views", type=int, default=5, help="views of a parametric object")
    parser.add_argument("--furniture", type=Path, help="manifest written by examples/furniture/make_manifest.py")
    parser.add_argument("--furniture-views", type=int, default=16)
    parser.add_argument("--size", type=int, default=104, help="pixels: the model's input and a margin for crops")
    parser.add_argument("--seed", type=int, default=2024)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    sources = [("world", list(parametric(arguments.objects, arguments.seed)), arguments.views)]
    if arguments.furniture:
        sources.append(("furniture", list(furniture(arguments.furniture)), arguments.furniture_views))
    arguments.out.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(arguments.workers) as pool:
        jobs = []
        for name, subjects, views in sources:
            for n, start in enumerate(range(0, len(subjects), _CHUNK)):
                target = arguments.out / f"{name}-{n:04d}.npy"
                if not target.exists():
                    chunk = subjects[start : start + _CHUNK]
                    jobs.append(pool.submit(render_chunk, target, chunk, views, arguments.size, arguments.seed))
        for job in jobs:
            print(job.result(), flush=True)


if __name__ == "__main__":
    main()
