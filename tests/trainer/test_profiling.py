"""Which steps are traced, where the trace is, and that it moves no bit."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from captionless.trainer import loop, profiling
from captionless.trainer.profiling import StepProfile
from tests.trainer import synthetic
from tests.trainer.test_loop import outcome


@pytest.mark.parametrize(
    ("steps", "done", "wanted", "traced"),
    [
        (20, 0, 4, [3, 4, 5, 6]),
        (20, 10, 2, [13, 14]),
        (6, 0, 4, [2, 3, 4, 5]),
        (6, 4, 4, [4, 5]),
        (6, 6, 4, []),
        (20, 0, 0, []),
    ],
)
def test_some_steps_after_the_first_are_traced(
    steps: int, done: int, wanted: int, traced: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = synthetic.job(tmp_path, steps=steps).model_copy(update={"profile": wanted})
    found: list[int] = []
    on = False

    class Profiler:
        def start(self) -> None:
            nonlocal on
            on = True

        def stop(self) -> None:
            nonlocal on
            on = False

    monkeypatch.setattr("torch.profiler.profile", lambda **given: Profiler())
    profile, whole = StepProfile(job, "a" * 64, done, True), []
    for step in range(done, steps):
        with profile.step(step):
            found += [step] if on else []
        whole += [step] if profile.is_whole(step + 1) else []
    assert found == traced
    assert whole == traced[-1:]
    assert not on


def test_a_trace_is_stored_beside_the_run_and_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    synthetic.write(tmp_path, train=12)
    job = synthetic.job(tmp_path, "traced", steps=5)
    loop.train(job.model_copy(update={"profile": 1}))
    [path] = (tmp_path / "traced" / "profile").iterdir()
    assert path.name.endswith("-00000003.json.gz")
    names = {str(event.get("name")) for event in json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]}
    assert any("_SetAbstraction" in name for name in names)
    assert f"step 3 traced in {path}" in capfd.readouterr().err
    loop.train(synthetic.job(tmp_path, "untraced", steps=5))
    assert outcome(tmp_path, "traced")[1] == outcome(tmp_path, "untraced")[1]
    assert profiling.StepProfile(job, "a" * 64, 0, False)._profiler is None
