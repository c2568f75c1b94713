"""Real meshes: furniture as OBJ files with their materials, which `make demo-furniture` has downloaded."""

from __future__ import annotations

import argparse
import random
from pathlib import Path


def add_options(parser: argparse.ArgumentParser, count: int) -> None:
    """How many meshes are drawn, `count` by default, and from where."""
    parser.add_argument("--objects", type=int, default=count, help=f"meshes, drawn at random (default: {count})")
    parser.add_argument(
        "--meshes", type=Path, default=Path("runs/furniture-meshes/models"),
        help="OBJ files, each in a folder of its own (default: those of `make demo-furniture`)",
    )  # fmt: skip


def drawn(models: Path, count: int) -> list[Path]:
    """OBJ files in their order of being drawn; SystemExit if there are not as many."""
    found = sorted(models.glob("*/*.obj"))
    if len(found) < count:
        raise SystemExit(f"{models}: {len(found)} meshes, expected {count}; make them by `make demo-furniture`")
    return random.Random(0).sample(found, count)
