"""Real torchrun rounds: results, causes, interruption and lost ranks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from tests.trainer import synthetic

from captionless.errors import DataError, Retryable, SpecError
from captionless.trainer import checkpoint, supervise
from captionless.trainer.job import Job


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("supervise")
    synthetic.write(path, train=24)
    supervise.run(long(path, "undisturbed"), 2, path / "undisturbed.log")
    return path


def long(root: Path, run: str) -> Job:
    return synthetic.job(root, run, steps=60, checkpoint_every=5)


def start(job: Job, nproc: int, log: Path) -> subprocess.Popen[bytes]:
    """`supervise.run` in a process of its own, which exits as a command of the project does."""
    code = """
import sys
from pathlib import Path
from captionless.errors import CaptionlessError
from captionless.trainer import supervise
from captionless.trainer.job import Job
try:
    supervise.run(Job.model_validate_json(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
except CaptionlessError as error:
    print(error)
    sys.exit(error.exit_code)
"""
    command = [sys.executable, "-c", code, job.model_dump_json(), str(nproc), str(log)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def wait_for_checkpoint(job: Job) -> None:
    deadline = time.monotonic() + 120
    while not list(Path(job.run).glob("checkpoints/step-*")):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ranks(job: Job) -> list[int]:
    """Process ids of the job's workers, found by their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if b"captionless.trainer.worker" in words and b"torch.distributed.run" not in words:
                    document = Path(words[words.index(b"--job") + 1].decode()).read_text()
                    found += [int(entry.name)] * (Job.model_validate_json(document).run == job.run)
            except (OSError, ValueError):
                continue
    return found


def same(root: Path, run: str) -> None:
    (whole, _), (again, _) = (checkpoint.load_model(str(root / name)) for name in ("undisturbed", run))
    for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert (root / "undisturbed" / "history.json").read_bytes() == (root / run / "history.json").read_bytes()


def test_two_ranks_train_what_one_trains(root: Path) -> None:
    """Equal up to rounding; with dropout the masks belong to a rank, so it is off."""
    histories = []
    for world in (1, 2):
        encoder = {"width": 4, "nsample": 4, "radius": 0.4, "dropout": 0.0}
        job = synthetic.job(root, f"world{world}", steps=4, encoder=encoder)
        supervise.run(job, world, root / "world.log")
        histories.append(json.loads((Path(job.run) / "history.json").read_text()))
        assert checkpoint.load_model(job.run)[1]["provenance"]["processes"] == world
    assert histories[0]["loss"] == pytest.approx(histories[1]["loss"], rel=2e-3)


def test_sigterm_stops_both_ranks_with_a_checkpoint_and_the_run_goes_on(root: Path) -> None:
    job = long(root, "terminated")
    process = start(job, 2, root / "terminated.log")
    wait_for_checkpoint(job)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 75
    assert b"run again to go on" in said
    assert not ranks(job)
    supervise.run(job, 2, root / "terminated.log")
    same(root, "terminated")


def test_a_killed_rank_loses_the_round_but_not_the_run(root: Path) -> None:
    job = long(root, "lost")
    killed = threading.Thread(target=lambda: (wait_for_checkpoint(job), os.kill(ranks(job)[-1], signal.SIGKILL)))
    killed.start()
    with pytest.raises(Retryable, match="train i2i seed 0"):
        supervise.run(job, 2, root / "lost.log")
    killed.join()
    supervise.run(job, 2, root / "lost.log")
    same(root, "lost")


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_no_orphan_outlives_a_killed_supervisor(root: Path) -> None:
    job = long(root, "orphan")
    process = start(job, 2, root / "orphan.log")
    wait_for_checkpoint(job)
    workers = ranks(job)
    assert len(workers) == 2
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{w}/cmdline").exists() and Path(f"/proc/{w}/cmdline").read_bytes() for w in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not (Path(job.run) / "model.pt").exists()
    supervise.run(job, 2, root / "orphan.log")
    same(root, "orphan")


def test_causes_become_errors_of_one_line(root: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(SpecError, match=r"train\.points: 9999"):
        supervise.run(synthetic.job(root, "points", points=9999), 2, log)
    synthetic.write(tmp_path, train=8)
    tar = tmp_path / "embed" / "train" / "00000.tar"
    tar.write_bytes(tar.read_bytes()[:1000])
    with pytest.raises(DataError, match="truncated") as caught:
        supervise.run(synthetic.job(tmp_path), 1, log)
    assert "\n" not in str(caught.value)
    assert "SpecError" not in log.read_text()  # expected errors leave no traceback in the log either
