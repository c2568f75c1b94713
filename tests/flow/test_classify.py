"""A classifier's training stopped from outside, as a process."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests import clouds, pace
from tests.flow.conftest import call, command, environment
from tests.stages.test_classify import write_spec

pytestmark = pytest.mark.flow


@pytest.mark.soak
def test_a_stopped_training_stores_a_checkpoint_and_resumes_to_the_same_end(tmp_path: Path) -> None:
    clouds.write(tmp_path / "train.npz")
    spec = write_spec(tmp_path, classify={"steps": 400, "validateEvery": 100})
    process = subprocess.Popen(
        command("classify", str(spec)), env=environment(CAPTIONLESS_PROGRESS=str(tmp_path / "progress")),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

    def trains() -> bool:
        assert process.poll() is None, process.communicate()[1]
        return bool(_steps(tmp_path / "progress"))

    pace.wait_for("the training's first step", trains, 120)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate()
    assert process.returncode == 75, error
    (checkpoint,) = (tmp_path / "run" / "checkpoints").iterdir()
    stopped = int(checkpoint.name[5:13])
    assert 0 < stopped < 400
    done = call("classify", str(spec), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{stopped} of 400" in done.stderr
    whole = call("classify", str(spec), "--set", f"output={tmp_path}/whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    assert (tmp_path / "run" / "model.pt").read_bytes() == (tmp_path / "whole" / "model.pt").read_bytes()
    wrong = call("classify", str(spec), "--set", "classify.points=9999", cwd=tmp_path)
    assert wrong.returncode == 65
    assert re.match(r"captionless: .*\b36\b.*data\.maxSkipped", wrong.stderr.splitlines()[-1])
    assert "Traceback" not in wrong.stderr


def _steps(progress: Path) -> int:
    """Steps done, once the training has begun."""
    try:
        state = json.loads(progress.read_text())
    except (OSError, ValueError):
        return 0
    return int(state["done"]) if state["unit"] == "step" else 0
