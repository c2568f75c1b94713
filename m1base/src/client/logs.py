"""The logs of a run: which pods, and their lines.

By default these are the failed stage or else the running ones, and the last pod of each index; of a failed
stage only the failed pods. A failed Job keeps its pods, so their logs remain available; if a
pod is gone, its termination message may still be in the Alignment's status.

With `follow`, new pods are included as they appear (replacements, the next stage) until the run, or the selected
stage, ends. A log whose connection breaks is resumed after its last line: the API server is asked for
timestamps, which are removed here.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from captionless.client import alignment_view
from captionless.client.alignment_view import AlignmentView
from captionless.client.watch_feed import WatchFeed
from captionless.errors import CaptionlessError, Interrupted, SpecError, did_you_mean
from captionless.kube.api_errors import NoSuchKind, NotFound, Unavailable
from captionless.kube.jobs.failure import WORKER
from captionless.kube.jobs.operator import KIND
from captionless.kube.observed_state import Pod, newest_pods, parse_time, pod, workload
from captionless.kube.stage_record import StageState
from captionless.runtime.signals import Stopped

if TYPE_CHECKING:
    from captionless.kube.api import KubernetesApi, Object

_AGAIN = 1.0
"""Seconds before a broken log stream is requested again."""
_TRIES = 60
"""How many consecutive failures are tolerated."""
_SKEW = 300
"""Seconds by which the clocks of this machine and of a node may differ."""


@dataclass(frozen=True)
class Selection:
    """What to show. `stage` empty: chosen by state; `index` None: all; `tail` None: all lines."""

    stage: str = ""
    index: int | None = None
    previous: bool = False
    tail: int | None = None

    def of(self, found: Sequence[Pod]) -> list[Pod]:
        """The selected pods: the last of each index in the last attempt, or all with `previous`."""
        mine = [p for p in found if self.stage in ("", p.stage) and self.index in (None, p.index)]
        if self.previous:
            return mine
        last = {s: max(p.attempt for p in mine if p.stage == s) for s in {p.stage for p in mine}}
        kept: list[Pod] = []
        for stage, attempt in last.items():
            kept += newest_pods(p for p in mine if p.stage == stage and p.attempt == attempt).values()
        return [p for p in mine if p in kept]


def show(api: KubernetesApi, name: str, selection: Selection) -> None:
    """Prints the pods' logs so far. NotFound if there is nothing of that name."""
    run, found = _look(api, name)
    _check_stage(selection.stage, run, found)
    stages = [selection.stage] if selection.stage else _stages(run, found)
    chosen = [p for s in stages for p in _worth(Selection(s, selection.index, selection.previous).of(found), selection)]
    for record in run.stages if run is not None else ():
        there = {p.attempt for p in chosen if p.stage == record.name}
        if there and max(there) < record.attempt:
            _note(f"{record.name}: attempt {record.attempt} has no pods; showing attempt {max(there)}")
    many = len({(p.stage, p.index) for p in chosen}) > 1
    for one in chosen:
        printer = Printer(_prefix(one) if many else "")
        if len(chosen) > 1 and not many:
            _note(f"pod {one.name}, attempt {one.attempt}")
        _print(api, one, printer, selection.tail)
    if not chosen:
        _without_pods(run, stages, selection)


def follow(api: KubernetesApi, name: str, selection: Selection) -> None:
    """Prints the pods' logs until the run, or the selected stage, has ended."""
    run, found = _look(api, name)
    _check_stage(selection.stage, run, found)
    stages = [selection.stage] if selection.stage else _stages(run, found)
    # Pods of other stages that had ended before are not shown; all later ones are.
    old = {p.uid for p in found if p.stage not in stages and p.finished}
    before = {p.uid for p in found}
    alone = selection.stage and selection.index is not None
    labels = alignment_view.selector(name, selection.stage)
    ends = api.snapshots(KIND, name=name) if run is not None else api.snapshots("Job", labels)
    followers: dict[str, threading.Thread] = {}
    ended = looked = False
    try:
        with WatchFeed(api, {"pods": api.snapshots("Pod", labels), "end": ends}, tick=_AGAIN) as feed:
            for event in feed:
                if event is None:
                    if ended and looked and not any(t.is_alive() for t in followers.values()):
                        return
                    continue
                what, objects = event
                if what == "end":
                    ended = _ended(objects, name, selection.stage, run is not None)
                    continue
                looked = True
                for one in selection.of([p for p in alignment_view.pods(objects.values()) if p.uid not in old]):
                    if one.uid not in followers and (one.started is not None or one.end is not None):
                        printer = Printer("" if alone else _prefix(one))
                        tail = selection.tail if one.uid in before else None
                        followers[one.uid] = feed.thread(_follow, api, one.name, printer, tail)
    except (KeyboardInterrupt, Stopped):
        raise Interrupted(f"stopped following; {name} continues") from None


class Printer:
    """Prints whole lines of one pod, interleaved with those of others."""

    _lock = threading.Lock()

    def __init__(self, prefix: str):
        self._prefix = prefix

    def line(self, text: str) -> None:
        with self._lock:
            print(f"{self._prefix}{text}", flush=True)


def _look(api: KubernetesApi, name: str) -> tuple[AlignmentView | None, list[Pod]]:
    """The Alignment and its pods. Rendered Jobs have pods without an Alignment."""
    found = alignment_view.pods(api.list("Pod", alignment_view.selector(name)))
    try:
        return alignment_view.find(api, name), found
    except (NotFound, NoSuchKind):
        if not found:
            raise
        return None, found


def _stages(run: AlignmentView | None, found: Sequence[Pod]) -> list[str]:
    """The stages to show by default: those that failed, or are running, or the last one that ran."""
    if run is not None:
        for state in (StageState.failed, StageState.running, StageState.suspended):
            if chosen := run.in_state(state):
                return [s.name for s in chosen]
    else:
        for chosen_phases in (("Failed",), ("Running", "Pending")):
            if names := [p.stage for p in newest_of(found) if p.phase in chosen_phases]:
                return list(dict.fromkeys(names))
    return [found[-1].stage] if found else []


def newest_of(found: Sequence[Pod]) -> list[Pod]:
    """The last pod of every index of every stage."""
    return Selection().of(found)


def _worth(found: list[Pod], selection: Selection) -> list[Pod]:
    """Of a failed stage, the failed pods: the others' lines would only hide theirs."""
    broken = [p for p in found if p.phase == "Failed" and not p.disrupted]
    if selection.index is not None or selection.previous or not broken or any(not p.finished for p in found):
        return found
    if left := sorted(p.index for p in found if p not in broken):
        _note(f"{found[0].stage}: not showing {_indexes(left)}, which did not fail (use --index)")
    return broken


def _print(api: KubernetesApi, one: Pod, printer: Printer, tail: int | None) -> None:
    """Prints a pod's log so far, or what else is known about the pod if there is no log."""
    printed = False
    try:
        for line in api.log(one.name, WORKER, follow=False, tail=tail):
            printer.line(_split_time(line)[1])
            printed = True
    except (SpecError, Unavailable) as error:
        # Gone, not started (400), or on a node that does not respond (500): the pod's status may say more.
        waits = one.unschedulable or ": ".join(filter(None, one.waiting))
        _note(f"pod {one.name} is waiting: {waits}" if waits else f"no log of pod {one.name}: {error}")
    if one.end is not None and one.end.exit_code:
        reported = one.end.termination.message if one.end.termination is not None and not printed else ""
        why = "; ".join(reported.splitlines()) or one.end.reason.removeprefix("Error")
        _note(f"pod {one.name} ended with exit code {one.end.exit_code}{': ' if why else ''}{why}")


def _follow(api: KubernetesApi, name: str, printer: Printer, tail: int | None) -> None:
    """Prints a pod's log until its container has ended, or the pod is gone."""
    last, errors = "", 0
    while errors < _TRIES and not api.stopped.is_set():
        # After a break, only later lines: with a margin for clock skew.
        have = {"tail": tail} if not last else {"since_seconds": _age(last) + _SKEW}
        known = last
        try:
            for line in api.log(name, WORKER, follow=True, **have):
                at, text = _split_time(line)
                if at > known:
                    last = at
                    printer.line(text)
            found = api.get("Pod", api.namespace, name)
            if found is None or pod(found).finished:
                return
            errors = 0
        except NotFound:
            return
        except CaptionlessError as error:
            errors += 1
            if errors == _TRIES and not api.stopped.is_set():
                _note(f"cannot follow the log of pod {name} any longer: {error}")
        api.stopped.wait(_AGAIN)


def _ended(found: dict[str, Object], name: str, stage: str, operated: bool) -> bool:
    """Whether the run, or the stage, has ended, according to its Alignment or else its Jobs."""
    if not operated:
        return bool(found) and all(workload(o).finished for o in found.values())
    if name not in found:
        return True
    run = AlignmentView(found[name])
    return run.ended or (run.up_to_date and any(s.name == stage and s.completion_time for s in run.stages))


def _without_pods(run: AlignmentView | None, stages: Sequence[str], selection: Selection) -> None:
    """What is known if there are no pods, or none yet."""
    records = [s for s in run.stages if s.name in stages] if run is not None else []
    if selection.index is not None and records:
        _note(f"{stages[0]} has no pod with index {selection.index}")
    for record in records:
        if record.message:
            _note(f"{record.name}: its pods are gone; their last message: {record.message}")
        else:
            _note(f"{record.name}: {record.state.value.lower()}, without pods at the moment")
    if not records:
        _note("no stage has started yet, so there are no logs")


def _check_stage(stage: str, run: AlignmentView | None, found: Sequence[Pod]) -> None:
    known = [s.name for s in run.stages] if run is not None else []
    known = list(dict.fromkeys([*known, *(p.stage for p in found)]))
    if stage and stage not in known:
        raise SpecError(f'no stage "{stage}"{did_you_mean(stage, known)} (stages: {", ".join(known) or "none yet"})')


def _split_time(line: bytes) -> tuple[str, str]:
    """A line's time and its text. Times are RFC 3339 with nanoseconds, so that they sort as text."""
    at, _, text = line.decode(errors="replace").partition(" ")
    return at, text


def _age(at: str) -> int:
    begun = parse_time(f"{at[:19]}Z") or datetime.now(UTC)
    return max(0, int((datetime.now(UTC) - begun).total_seconds()))


def _prefix(one: Pod) -> str:
    return f"[{one.stage}/{one.index}] "


def _indexes(numbers: Sequence[int]) -> str:
    return ("index " if len(numbers) == 1 else "indexes ") + ", ".join(map(str, numbers))


def _note(text: str) -> None:
    sys.stdout.flush()
    print(f"captionless: {text}", file=sys.stderr, flush=True)
