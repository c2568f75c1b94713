"""Killed at any moment and rerun, a run ends with the same results."""

from __future__ import annotations

import random
import signal
import subprocess
from pathlib import Path

import pytest

from tests import pace
from tests.flow.conftest import Finished, call, command, comparable, environment, write_spec
from tests.flow.kill import run_and_kill

pytestmark = pytest.mark.flow

KILLS = 10


@pytest.mark.soak
def test_killed_ten_times_at_random_moments_it_ends_with_the_same_results(finished: Finished, tmp_path: Path) -> None:
    spec = write_spec(tmp_path)
    seed = random.randrange(1 << 30)
    print(f"seed of the moments: {seed}")
    moments = random.Random(seed)
    killed = sum(run_and_kill(spec, pace.now() * moments.uniform(0.5, 7.0)) for _ in range(KILLS))
    assert killed > 0
    done = call("run", str(spec), cwd=tmp_path)
    assert done.returncode == 0, f"seed {seed}: {done.stderr}"
    assert comparable((tmp_path / "out" / "eval" / "results.json").read_bytes()) == finished.results, f"seed {seed}"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_ends_it_with_75_and_one_line(number: signal.Signals, tmp_path: Path) -> None:
    spec = write_spec(tmp_path)
    process = subprocess.Popen(
        command("run", str(spec)), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        pace.wait_for("the run's first stage", (tmp_path / "out" / "logs" / "pack.0.log").exists, 60)
        process.send_signal(number)
        _, error = pace.communicate(process, 60)
    finally:
        process.kill()
    assert process.returncode == 75, error
    assert "Traceback" not in error


def test_two_runs_in_one_place_are_refused(tmp_path: Path) -> None:
    spec = write_spec(tmp_path)
    first = subprocess.Popen(
        command("run", str(spec)), cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        pace.wait_for("the first run's first stage", (tmp_path / "out" / "logs" / "pack.0.log").exists, 60)
        second = call("run", str(spec), cwd=tmp_path)
        assert second.returncode == 1
        assert str(tmp_path / "out") in second.stderr
    finally:
        first.send_signal(signal.SIGTERM)
        first.wait(pace.seconds(60))
