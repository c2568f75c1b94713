"""Labelled clouds that are easily told apart: rods, plates and cubes, z up, as an .npz holds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

CLASSES = ("rod", "plate", "cube")
_SIDES = {"rod": (0.2, 0.2, 1.0), "plate": (1.0, 1.0, 0.1), "cube": (1.0, 1.0, 1.0)}


def cloud(category: str, points: int, rng: np.random.Generator) -> np.ndarray:
    """(points, 3) float32 on the surface of a box of about the category's sides, neither centred nor of unit size."""
    sides = np.array(_SIDES[category]) * rng.uniform(0.8, 1.2, 3)
    found = rng.uniform(-1, 1, (points, 3))
    found[np.arange(points), rng.integers(3, size=points)] = rng.choice([-1.0, 1.0], points)
    shifted: np.ndarray = (found * sides * rng.uniform(0.5, 3) + rng.uniform(-2, 2, 3)).astype(np.float32)
    return shifted


def fields(per_class: int = 12, points: int = 64, seed: int = 0) -> dict[str, Any]:
    """What an .npz of labelled clouds holds."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(CLASSES)), per_class)
    clouds = np.stack([cloud(CLASSES[label], points, rng) for label in labels])
    return {"points": clouds, "labels": labels, "classes": np.array(CLASSES)}


def write(path: Path, **changes: Any) -> Path:
    """The clouds of `fields` as a file, some fields replaced or, where None, left out."""
    arrays = {k: v for k, v in {**fields(), **changes}.items() if v is not None}
    np.savez(path, **arrays)
    return path
