"""The tiny run that the flow tests share: every stage and loss, seconds instead of minutes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock

TINY: dict[str, Any] = {
    "name": "tiny",
    "data": {
        "source": {
            "kind": "parametric",
            "objects": 18,
            "testObjects": 9,
            "categories": ["chair", "table", "lamp"],
        },
        "views": 6,
        "imageSize": 64,
        "points": 128,
        "shardObjects": 8,
    },
    "clip": {"model": "captionless-demo"},
    "landmarks": {"count": 16},
    "train": {
        "weights": ["uniform", "avg"],
        "steps": 8,
        "batchSize": 6,
        "points": 64,
        "encoder": {"width": 8, "nsample": 8},
        "checkpointEvery": 2,
    },
    "resources": {"workers": 2},
}


def environment(**extra: str) -> dict[str, str]:
    """The tests' own environment, without what a surrounding run would pass on."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("CAPTIONLESS_", "JOB_COMPLETION", "AWS_"))}
    return {**kept, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "COLUMNS": "200", **extra}


def command(*arguments: str) -> list[str]:
    """The console script of this environment."""
    return [str(Path(sys.executable).parent / "captionless"), *arguments]


def call(*arguments: str, cwd: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    """Runs the console script to its end."""
    return subprocess.run(command(*arguments), cwd=cwd, env=environment(**extra), capture_output=True, text=True)


def comparable(results: bytes) -> dict[str, Any]:
    """results.json without what may differ between two equal runs: times and the host."""
    found: dict[str, Any] = json.loads(results)
    return {k: v for k, v in found.items() if k not in ("timing", "host")}


@dataclass(frozen=True)
class Finished:
    """A finished tiny run."""

    folder: Path
    spec: Path
    results: dict[str, Any]
    output: str


def write_spec(folder: Path, output: str = "", **changes: Any) -> Path:
    """The tiny spec with top-level sections replaced, as a file in `folder`."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**TINY, "output": output or str(folder / "out"), **changes}))
    return path


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The undisturbed run that others are compared with; one for all of pytest's processes, where there are several."""
    several = "PYTEST_XDIST_WORKER" in os.environ
    folder = (
        tmp_path_factory.getbasetemp().parent / "undisturbed" if several else tmp_path_factory.mktemp("undisturbed")
    )
    folder.mkdir(exist_ok=True)
    output = folder / "output.txt"
    with FileLock(folder / "lock"):
        if not output.exists():
            done = call("run", str(write_spec(folder)), cwd=folder)
            assert done.returncode == 0, done.stdout + done.stderr
            output.write_text(done.stdout + done.stderr)
    results = (folder / "out" / "eval" / "results.json").read_bytes()
    return Finished(folder, folder / "tiny.yaml", comparable(results), output.read_text())
