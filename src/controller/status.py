"""The status of an Alignment, computed from the status of its stages.

Everything in it follows from the observed objects and from the previous status, which keeps what
cannot be observed any more (results of a pod that is gone, start times). Fractional numbers
are strings, as the API conventions require.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from captionless.controller.conditions import conditions, stage_names
from captionless.controller.pin import Pin
from captionless.controller.stage_status import RunStatus, StageStatus
from captionless.kube.observed_state import format_time, newest_pods
from captionless.kube.stage_record import StageRecord, StageState
from captionless.spec.variant import training_variants

TOP1 = "zero_shot/top1"
_COLUMNS = ("stage", "progress", "top1")
_FIELDS = (
    *_COLUMNS, "observedGeneration", "conditions", "stages", "results", "pinned", "retry", "startTime",
    "completionTime",
)  # fmt: skip
"""Others are of a newer operator, and left as they are."""


def status(run: RunStatus, pin: Pin | None = None) -> dict[str, Any]:
    """The whole status. `pin` is what the run is made with, if that is now."""
    before = run.alignment.status
    found: dict[str, Any] = {"observedGeneration": run.alignment.generation, "conditions": conditions(run)}
    pin = run.pin or pin
    if pin is not None:
        ran = run.images
        found["pinned"] = {**(before.get("pinned") or {}), **pin.to_status(), **({"images": ran} if ran else {})}
    found["stages"] = [*(_record(s, run).to_status() for s in run.stages), *run.foreign_records]
    results = _results(run) or before.get("results")
    if results:
        found["results"] = results
    found |= _columns(run, results or ()) if run.spec is not None else {k: before.get(k, "") for k in _COLUMNS}
    starts = [r["startTime"] for r in found["stages"] if r.get("startTime")]
    if starts:
        found["startTime"] = before.get("startTime") or min(starts)
    if run.finished:
        found["completionTime"] = before.get("completionTime") or format_time(run.now)
    if run.alignment.retry:
        found["retry"] = run.alignment.retry if run.spec is not None else before.get("retry", "")
    newer = {k: v for k, v in before.items() if k not in _FIELDS}
    return {**newer, **{k: v for k, v in found.items() if v not in ("", [], None)}}


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON merge patch (RFC 7396) from one status to the other; empty when they are equal."""
    patch: dict[str, Any] = {k: v for k, v in after.items() if before.get(k) != v}
    return patch | {k: None for k in before if k not in after}


def fraction(s: StageStatus) -> float | None:
    """How much of a stage is done, 0 to 1; None while unknown."""
    if s.state is StageState.succeeded:
        return 1.0
    done, total, _ = _progress(s)
    return done / total if total else None


def _record(s: StageStatus, run: RunStatus) -> StageRecord:
    before, workload = s.record, s.workload
    done, total, unit = _progress(s)
    over = s.state in (StageState.succeeded, StageState.failed)
    message = s.message
    if not over and s.stall_reason is not None:
        message = s.stall_reason.message
    began = workload.created if workload is not None else None
    start = before.start_time if before.attempt == s.attempt else ""
    ended = workload.ended if workload is not None and workload.ended is not None else run.now
    return StageRecord(
        name=s.stage.name,
        state=s.state,
        attempt=s.attempt,
        job=workload.name if workload is not None else before.job,
        done=total if s.state is StageState.succeeded else done,
        total=total,
        unit=unit,
        failures=workload.failures if workload is not None else before.failures,
        disruptions=s.count.disruptions,
        disruptions_without_progress=s.count.disruptions_without_progress,
        disrupted_at=s.count.disrupted_at,
        reached=s.count.reached,
        completed=s.count.completed,
        start_time=start or (format_time(began) if began is not None else before.start_time),
        completion_time=(before.completion_time or format_time(ended)) if over else "",
        reason=s.failure.reason if s.failure is not None else "",
        message=message,
    )


def _progress(s: StageStatus) -> tuple[int, int, str]:
    """Units done and in total. Node 0 reports for a training; shards are summed up.

    A shard whose progress was never read (it ended while the controller was away) counts as the others' mean.
    """
    before = s.record
    if s.stage.gang:
        first = [s.readings[p.uid] for p in newest_pods(s.current).values() if p.index == 0 and p.uid in s.readings]
        return (first[0].done, first[0].total, first[0].unit) if first else (before.done, before.total, before.unit)
    known = {p.index: s.readings[p.uid] for p in newest_pods(s.current).values() if p.uid in s.readings}
    if not known:
        return before.done, before.total, before.unit
    finished = s.workload.completed if s.workload is not None else frozenset()
    done = sum(r.total if i in finished else r.done for i, r in known.items())
    total = sum(r.total for r in known.values())
    mean = round(total / len(known))
    done += mean * len(finished - set(known))
    total += mean * (s.stage.workers - len(known))
    return done, total, next(iter(known.values())).unit


def _columns(run: RunStatus, results: Any) -> dict[str, str]:
    """What `kubectl get` shows: the stage that failed or is running, its progress, the first training's accuracy."""
    found = dict.fromkeys(_COLUMNS, "")
    shown = (
        [s for s in run.stages if s.state is StageState.failed]
        or [s for s in run.stages if s.state is StageState.running]
        or [s for s in run.stages if s.state is StageState.suspended]
    )
    if shown:
        known = [f for f in map(fraction, shown) if f is not None]
        found["stage"] = stage_names(shown)
        found["progress"] = f"{int(100 * sum(known) / len(known))}%" if known else ""
    elif run.succeeded:
        found["stage"], found["progress"] = run.stages[-1].stage.name, "100%"
    if run.spec is not None:
        first = training_variants(run.spec)[0].name
        figures = next((r.get("figures", ()) for r in results if r.get("run") == first), ())
        found["top1"] = next((str(f.get("value", "")) for f in figures if f.get("name") == TOP1), "")
    return found


def _results(run: RunStatus) -> list[dict[str, Any]]:
    """The figures in the termination message of the evaluation's pod, by training."""
    ends = [p.end for s in run.stages if s.stage.name == "eval" for p in s.current if p.end is not None]
    reported = [e.termination.figures for e in ends if e.termination is not None and e.termination.figures]
    figures: Mapping[str, float] = reported[0] if reported else {}
    by_run: dict[str, list[dict[str, str]]] = {}
    for path, value in figures.items():
        name, _, figure = path.partition("/")
        by_run.setdefault(name, []).append({"name": figure, "value": f"{value:.6g}"})
    return [{"run": name, "figures": found} for name, found in by_run.items()]
