"""The live view: what its table and its lines say of a stage."""

from __future__ import annotations

import pytest
from rich.console import Console

from captionless.telemetry.progress import ProgressState
from captionless.terminal.live_view import LiveView, Row, table


def cells(row: Row) -> dict[str, str]:
    """The cells of a stage's row that have a title."""
    found = table([row])
    return {str(column.header): str(next(iter(column.cells))) for column in found.columns if column.header}


def test_a_running_stage_shows_rate_and_eta_once_they_are_known() -> None:
    state = ProgressState("embed", "object", 125, 31, before=30)
    shown = cells(("embed", "running", state, 33.0))
    assert (shown["rate"], shown["ETA"]) == ("", "-:--")
    state.rate = 2.0
    shown = cells(("embed", "running", state, 33.0))
    assert (shown["rate"], shown["ETA"]) == ("2 objects/s", "0:47")


def test_a_finished_stage_shows_its_mean_rate() -> None:
    state = ProgressState("embed", "object", 125, 125, before=25)
    shown = cells(("embed", "done", state, 50.0))
    assert (shown["rate"], shown["ETA"]) == ("2 objects/s", "")
    assert cells(("embed", "done", ProgressState("embed", "object", 125, 125, before=125), 1.0))["rate"] == ""


@pytest.mark.parametrize("status", ["waiting", "failed", "stopped"])
def test_a_stage_that_does_not_run_shows_neither(status: str) -> None:
    shown = cells(("embed", status, ProgressState("embed", "object", 125, 31, rate=2.0), 33.0))
    assert (shown["rate"], shown["ETA"]) == ("", "")


def test_without_a_terminal_a_stage_gets_a_line_when_it_starts_and_ends(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("captionless.terminal.live_view.Console", lambda **options: Console(force_terminal=False))
    with LiveView() as view:
        for status in ("waiting", "running", "running", "done"):
            view.show([("pack", status, ProgressState("pack", "object", 4, 4), 65.0)])
    assert capsys.readouterr().err.splitlines() == ["pack: running", "pack: done after 1:05 (4 objects)"]
