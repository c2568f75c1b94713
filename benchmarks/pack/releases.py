"""Packing by this release and by the first, taken from git, in two processes that take turns."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FIRST = "5b344d5"
ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def release(code: Path, one: Path, several: Path, out: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that packs with the package below `code`, see `stage`; on one core."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "LP_NUM_THREADS"), "1")
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("stage.py")), str(one), str(several), str(out)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **threads, "PYTHONPATH": str(code), "CAPTIONLESS_QUIET": "1"},
    ) as process:
        yield process


def first_release(folder: Path) -> Path:
    """The folder with the first release as the package `captionless`."""
    archive = subprocess.run(["git", "archive", FIRST, "src"], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    (folder / "src").rename(folder / "captionless")
    return folder


def today(folder: Path) -> Path:
    folder.mkdir()
    (folder / "captionless").symlink_to(ROOT / "src")
    return folder


def rounds(folder: Path, one: Path, several: Path, count: int) -> tuple[dict[str, dict[str, float]], NDArray[np.uint8]]:
    """The least processor seconds an object of each release, by step; and the views of both, (2, meshes, ...)."""
    releases = {FIRST: first_release(folder / "first"), "today": today(folder / "today")}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in releases}
    with contextlib.ExitStack() as stack:
        processes = {
            name: stack.enter_context(release(code, one, several, folder / f"out-{name}"))
            for name, code in releases.items()
        }
        for _ in range(count):
            for name, process in processes.items():
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write("\n")
                process.stdin.flush()
                found[name].append(json.loads(process.stdout.readline()))
        for process in processes.values():
            assert process.stdin is not None
            process.stdin.close()
    views = np.stack([np.load(folder / f"out-{name}.npy") for name in releases])
    return {name: least(of) for name, of in found.items()}, views


def least(found: Sequence[dict[str, float]]) -> dict[str, float]:
    return {step: min(of[step] for of in found) for step in found[0]}
