"""The run folders that an earlier release has left: see tests/data/run-5b344d5/README.md."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path
from typing import Any

from captionless.spec.alignment import AlignmentSpec
from captionless.spec.load import load_spec

DATA = Path(__file__).parent / "data" / "run-5b344d5"
INTERRUPTED = ("output=interrupted", "train.steps=40", "train.weights=[avg]")
"""What the spec of the interrupted training has instead."""
CHECKPOINT_STEP = 8


def unpack(folder: Path) -> Path:
    """Puts both runs and their source into a folder, with the times that their files had."""
    with tarfile.open(DATA / "run.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def spec_of(folder: Path, *changes: str) -> AlignmentSpec:
    """The spec of the finished run, with absolute places and changed fields."""
    places = [f"output={folder}/finished"]
    return load_spec(str(folder / "spec.yaml"), [*places, *changes])


def contents(folder: Path) -> dict[str, tuple[str, int]]:
    """The sha256 and the time of every file of a run that holds data rather than says what there is."""
    data = (".tar", ".sim", ".npy", ".npz", ".pt", ".jsonl", ".faiss")
    return {str(p.relative_to(folder)): _state(p) for p in sorted(folder.rglob("*")) if p.suffix in data}


def records(folder: Path) -> dict[str, str]:
    """The sha256 of every file of a run that says what there is."""
    kinds = (".json", ".index", ".parquet")
    return {str(p.relative_to(folder)): _state(p)[0] for p in sorted(folder.rglob("*")) if p.suffix in kinds}


def outcome(line: str) -> dict[str, Any]:
    """What `--json` printed, without the seconds."""
    import json

    found: dict[str, Any] = json.loads(line)
    return {name: value for name, value in found.items() if name != "seconds"}


def _state(path: Path) -> tuple[str, int]:
    return hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns
