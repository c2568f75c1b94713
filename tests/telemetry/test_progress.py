"""Progress: a file for the runner, plain lines without a terminal."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from captionless.runtime import env
from captionless.telemetry import progress


def test_the_runner_reads_what_a_stage_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p"
    monkeypatch.setenv(env.PROGRESS, str(path))
    assert progress.read(str(path)) is None
    with progress.Progress("embed", total=10, unit="object", done=4) as shown:
        shown.advance(3, loss=1.5)
    state = progress.read(str(path))
    assert state is not None
    assert (state.done, state.total, state.info) == (7, 10, {"loss": 1.5})
    assert state.rate > 0


def test_plain_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.Progress("pack", total=2) as shown:
        shown.advance(2)
    assert "pack: 2/2 objects (100 %)" in capsys.readouterr().err


def test_a_file_and_plain_lines_go_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(env.PROGRESS, str(tmp_path / "p"))
    with progress.Progress("pack", total=2) as shown:
        begun = shown.state.advanced
        shown.advance(0, loss=1.0)
        assert shown.state.advanced == begun
        shown.advance(2)
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
    with progress.Progress("pack", total=2) as shown:
        shown.advance(2)
    progress.say("worker 0 of 2")
    state = progress.read(str(tmp_path / "p"))
    assert state is not None
    assert state.done == 2
    assert capsys.readouterr().err == ""


def test_durations() -> None:
    assert [progress.duration(s) for s in (None, 5, 65, 3725)] == ["-:--", "0:05", "1:05", "1:02:05"]


def test_a_terminal_shows_rate_and_info(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("rich.console.Console", lambda **options: console)
    with progress.Progress("classify", total=4, unit="step") as shown:
        shown.advance(3, loss=1.25, accuracy=0.5)
    drawn = console.file.getvalue()  # type: ignore[attr-defined]
    assert "3/4" in drawn
    assert "steps/s" in drawn
    assert "loss 1.25  accuracy 0.5" in drawn


@dataclass
class Clock:
    """The clock that progress reads."""

    now: float = 1000.0

    def time(self) -> float:
        return self.now

    monotonic = time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(progress, "time", found)
    return found


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The file that the progress is written to."""
    monkeypatch.setenv(env.PROGRESS, str(tmp_path / "p"))
    return str(tmp_path / "p")


def read(path: str) -> progress.ProgressState:
    state = progress.read(path)
    assert state is not None
    return state


def test_a_slow_first_unit_gives_no_eta_and_does_not_count(
    clock: Clock, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.Progress("embed", total=125, done=30) as shown:
        clock.now += 32.7  # loading the model
        shown.advance()
        assert read(path).rate == 0
        assert read(path).eta is None
        line = capsys.readouterr().err
        assert "31/125" in line
        assert not re.search("/s|ETA", line)
        for _ in range(4):
            clock.now += 0.5
            shown.advance()
        assert read(path).rate == pytest.approx(2)
        assert read(path).eta == pytest.approx(45)
        clock.now += 10
        shown.advance(20)
        assert f"ETA {progress.duration(35)}" in capsys.readouterr().err


def test_units_completed_at_once_give_no_rate_yet(clock: Clock, path: str) -> None:
    with progress.Progress("pack", total=100) as shown:
        clock.now += 5
        for _ in range(2):  # by two threads
            shown.advance()
            clock.now += 0.3
        shown.advance()
        assert read(path).rate == 0


def test_at_the_end_the_rate_is_the_mean_of_the_whole(
    clock: Clock, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.Progress("embed", total=125, done=5) as shown:
        clock.now += 20
        shown.advance()
        clock.now += 20
        shown.advance(119)
        assert read(path).rate == pytest.approx(3)
        clock.now += 20
    assert read(path).rate == pytest.approx(2)
    last = capsys.readouterr().err.splitlines()[-1]
    assert "125/125 objects (100 %), 2/s" in last
    assert "ETA" not in last


def test_nothing_done_has_no_rate(clock: Clock, path: str) -> None:
    with progress.Progress("train", total=100, unit="step", done=100):
        clock.now += 1
    assert "/s" not in progress.line(read(path))


def test_the_bar_shows_the_eta_once_known_and_the_mean_rate_at_the_end(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("rich.console.Console", lambda **options: console)
    with progress.Progress("embed", total=125) as shown:
        (task,) = shown._bar.tasks
        clock.now += 30
        shown.advance()
        assert (task.fields["rate"], task.fields["eta"]) == ("", "ETA -:--")
        clock.now += 12
        shown.advance(24)
        assert (task.fields["rate"], task.fields["eta"]) == ("2 objects/s", "ETA 0:50")
        clock.now += 58
        shown.advance(100)
        assert (task.fields["rate"], task.fields["eta"]) == ("1.25 objects/s", "")
