"""Progress: a file for the runner, plain lines without a terminal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from captionless.runtime import env
from captionless.telemetry import progress


def test_the_runner_reads_what_a_stage_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p"
    monkeypatch.setenv(env.PROGRESS, str(path))
    assert progress.read(str(path)) is None
    with progress.Progress("embed", total=10, unit="object", done=4) as told:
        told.advance(3, loss=1.5)
    state = progress.read(str(path))
    assert state is not None
    assert (state.done, state.total, state.info) == (7, 10, {"loss": 1.5})
    assert state.rate > 0


def test_plain_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.Progress("pack", total=2) as told:
        told.advance(2)
    assert "pack: 2/2 objects (100 %)" in capsys.readouterr().err


def test_a_file_and_plain_lines_go_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(env.PROGRESS, str(tmp_path / "p"))
    with progress.Progress("pack", total=2) as told:
        begun = told.state.advanced
        told.advance(0, loss=1.0)
        assert told.state.advanced == begun
        told.advance(2)
    state = progress.read(str(tmp_path / "p"))
    assert state is not None
    assert state.done == 2
    assert state.advanced > begun
    assert "pack: 2/2 objects (100 %)" in capsys.readouterr().err


def test_quiet_is_for_eyes_and_not_for_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(env.PROGRESS, str(tmp_path / "p"))
    monkeypatch.setenv(env.QUIET, "1")
    with progress.Progress("pack", total=2) as told:
        told.advance(2)
    progress.say("worker 0 of 2")
    state = progress.read(str(tmp_path / "p"))
    assert state is not None
    assert state.done == 2
    assert capsys.readouterr().err == ""


def test_durations() -> None:
    assert [progress.duration(s) for s in (None, 5, 65, 3725)] == ["-:--", "0:05", "1:05", "1:02:05"]


def test_a_terminal_shows_rate_and_what_stands_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("rich.console.Console", lambda **options: console)
    with progress.Progress("classify", total=4, unit="step") as told:
        told.advance(3, loss=1.25, accuracy=0.5)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "3/4" in shown
    assert "steps/s" in shown
    assert "loss 1.25  accuracy 0.5" in shown
