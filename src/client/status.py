"""The status of runs: a table of all, or the stages of one, once or live.

What is shown is the Alignment's status, which the operator updates; live, it comes by a watch, and between two
changes only the time changes. The rate is measured since the first observation; with a single
one it is the work done divided by the stage's age.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from captionless.client import alignment_view
from captionless.client.alignment_view import AlignmentView
from captionless.client.watch_feed import WatchFeed
from captionless.errors import CaptionlessError, Interrupted
from captionless.kube.api_errors import INSTALL
from captionless.kube.jobs.operator import KIND
from captionless.kube.observed_state import parse_time
from captionless.kube.stage_record import StageRecord, StageState
from captionless.runtime.signals import Stopped
from captionless.telemetry import progress
from captionless.terminal import console as terminal_console
from captionless.terminal.live_view import LiveView, Row, table

if TYPE_CHECKING:
    from captionless.kube.api import KubernetesApi, Object

_UNSEEN = 30.0
"""Seconds after which an Alignment without a status has apparently no operator."""
_WORDS = {
    StageState.waiting: "waiting",
    StageState.running: "running",
    StageState.suspended: "suspended",
    StageState.succeeded: "done",
    StageState.failed: "failed",
}


def show_all(api: KubernetesApi) -> None:
    """Prints a table of the namespace's runs."""
    found = [AlignmentView(o) for o in api.list(KIND)]
    if not found:
        print(f"no alignments in namespace {api.namespace}; create one: captionless k8s submit SPEC")
        return
    now = datetime.now(UTC)
    rows = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("name", "stage", "progress", "top1", "state", "age"):
        rows.add_column(title, no_wrap=True)
    rows.add_column("", overflow="fold")
    for run in sorted(found, key=lambda r: r.created):
        status = [str(run.status.get(k, "")) for k in ("stage", "progress", "top1")]
        # The most important first: what hinders it, rather than that it is running.
        state = run.hindrance or run.summary
        words = state.message if state.reason not in ("Completed", "Running") else ""
        age = progress.duration(_since(run.created, now))
        rows.add_row(run.name, *status, state.reason or "New", age, words, style=_style(run))
    terminal_console.results_console(200).print(rows)


def show(api: KubernetesApi, name: str) -> None:
    """Prints the stages of a run, its problems, and its results."""
    run, console = alignment_view.find(api, name), terminal_console.results_console(200)
    now = datetime.now(UTC)
    if run.stages:
        console.print(table(Meter().rows(run, now)))
    for line in notes(run, now):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    show_figures(run, console)


def show_json(api: KubernetesApi, name: str | None) -> None:
    """Prints the Alignment, or a list of all, as the API server returns it."""
    if name is not None:
        print(json.dumps(_tidy(alignment_view.find(api, name).found), indent=1))
        return
    items = [_tidy(o) for o in api.list(KIND)]
    print(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=1))


def follow(api: KubernetesApi, name: str, view: LiveView) -> None:
    """Shows a run until it ends; a failed run raises a CaptionlessError with the exit code of what failed."""
    run, meter, shown = alignment_view.find(api, name), Meter(), list[str]()
    uid = run.found["metadata"]["uid"]
    try:
        with view, WatchFeed(api, {"alignment": api.snapshots(KIND, name=name)}, tick=1.0) as feed:
            for event in feed:
                if event is not None:
                    objects = event[1]
                    if name not in objects or objects[name]["metadata"]["uid"] != uid:
                        raise CaptionlessError(f"alignment {name} was deleted")
                    run = AlignmentView(objects[name])
                now = datetime.now(UTC)
                before, shown = shown, notes(run, now)
                for line in shown:
                    if line not in before:
                        view.say(f"{name}: {line}")
                view.show(meter.rows(run, now), last=run.ended)
                if run.ended:
                    break
    except (KeyboardInterrupt, Stopped):
        raise Interrupted(f"stopped watching; {name} continues (captionless k8s status {name} --watch)") from None
    show_figures(run, terminal_console.results_console(200))
    if not run.summary.true:
        raise alignment_view.failure(api, run)


def notes(run: AlignmentView, now: datetime) -> list[str]:
    """Notes for the table, one line each."""
    if not run.status.get("conditions"):
        old = (_since(run.created, now) or 0.0) > _UNSEEN
        return [f"no operator has processed it yet; is one installed? {INSTALL}"] if old else []
    found = []
    if (hindrance := run.hindrance) is not None:
        found.append(f"no progress ({hindrance.reason}): {hindrance.message}")
    if run.suspended.true and not run.ended:
        found.append(f"suspended ({run.suspended.reason}): {run.suspended.message}")
    if run.summary.status == "False":
        found.append(f"failed ({run.summary.reason}): {run.summary.message}")
    elif run.summary.true:
        found.append(f"succeeded: {run.summary.message}")
    for stage in run.stages:
        if stage.message and not any(stage.message in line for line in found):
            found.append(f"{stage.name}: {stage.message}")
    if not run.up_to_date:
        found.append("the operator has not processed the last change yet")
    return found


def show_figures(run: AlignmentView, console: Console) -> None:
    """Prints the evaluation's figures, one row per training."""
    figures = run.figures()
    if not figures:
        return
    columns = list(dict.fromkeys(n for row in figures.values() for n in row))
    rows = Table(box=None, pad_edge=False, header_style="dim")
    rows.add_column("", no_wrap=True)
    for column in columns:
        rows.add_column("\n".join(column.rsplit("/", 1)), justify="right", no_wrap=True)
    for name, row in figures.items():
        rows.add_row(name, *(row.get(c, "") for c in columns))
    console.print(rows)


@dataclass
class Meter:
    """Turns stage records into rows of the live view, with the rates since the first observation."""

    first: dict[tuple[str, int], tuple[int, datetime]] = field(default_factory=dict)
    """By stage and attempt: progress at the first observation, and when that was."""
    last: dict[tuple[str, int], tuple[int, datetime]] = field(default_factory=dict)

    def rows(self, run: AlignmentView, now: datetime) -> list[Row]:
        return [self._row(s, now) for s in run.stages]

    def _row(self, stage: StageRecord, now: datetime) -> Row:
        ended = parse_time(stage.completion_time) or now
        seconds = _since(stage.start_time, ended) or 0.0
        counts = {"attempt": stage.attempt, "failures": stage.failures, "disruptions": stage.disruptions}
        info = {k: v for k, v in counts.items() if v > (k == "attempt")}
        state = None
        if stage.total and stage.state is not StageState.waiting:
            rate = self._rate(stage, seconds, now)
            state = progress.ProgressState(
                stage.name, stage.unit or "unit", stage.total, stage.done, rate, info=info,
                before=stage.done,  # unknown: a record does not tell how many units an earlier run had completed
            )  # fmt: skip
        return stage.name, _WORDS[stage.state], state, seconds

    def _rate(self, stage: StageRecord, seconds: float, now: datetime) -> float:
        key = (stage.name, stage.attempt)
        first = self.first.setdefault(key, (stage.done, now))
        if self.last.get(key, (-1, now))[0] != stage.done:
            self.last[key] = (stage.done, now)
        done, at = self.last[key]
        if done > first[0]:
            return (done - first[0]) / max((at - first[1]).total_seconds(), 1e-9)
        return stage.done / seconds if seconds else 0.0


def _since(time: str, now: datetime) -> float | None:
    begun = parse_time(time)
    return max(0.0, (now - begun).total_seconds()) if begun is not None else None


def _style(run: AlignmentView) -> str:
    if run.summary.status == "False":
        return "bold red"
    return "green" if run.summary.true else "yellow" if run.hindrance else ""


def _tidy(found: Object) -> Object:
    metadata = {k: v for k, v in found["metadata"].items() if k != "managedFields"}
    return {"apiVersion": found.get("apiVersion"), "kind": KIND, **found, "metadata": metadata}
