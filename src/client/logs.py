"""The logs of a run: which pods, and their lines.

Without a choice it is the stage that failed, or else those at work, and of each index its last pod; of a stage
that failed only the pods that did. A failed Job keeps its pods, so their logs are there afterwards too; where a
pod is gone, what it told at its end may still stand in the Alignment's status.

Followed, new pods are taken up as they come (replacements, the next stage) until the run, or the chosen stage,
ends. A log whose connection breaks is taken up again after its last line: the API server is asked for the
times of lines, which are taken off again here.
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
from captionless.client.feed import Feed
from captionless.errors import CaptionlessError, Interrupted, SpecError, did_you_mean
from captionless.kube.api_errors import NoSuchKind, NotFound, Unavailable
from captionless.kube.jobs.failure import WORKER
from captionless.kube.jobs.operator import KIND
from captionless.kube.observed_state import Pod, newest_pods, pod, time_of, workload
from captionless.kube.stage_record import StageState
from captionless.runtime.signals import Stopped

if TYPE_CHECKING:
    from captionless.kube.api import KubernetesApi, Object

_AGAIN = 1.0
"""Seconds before a log that broke off is asked for again."""
_TRIES = 60
"""How often in a row that may fail."""
_SKEW = 300
"""Seconds by which this machine's clock and a node's may differ."""


@dataclass(frozen=True)
class Choice:
    """What the person asked for. `stage` empty: found by itself; `index` None: all; `tail` None: all lines."""

    stage: str = ""
    index: int | None = None
    previous: bool = False
    tail: int | None = None

    def of(self, found: Sequence[Pod]) -> list[Pod]:
        """The pods of these that were asked for: each index's last of the last attempt, unless all were."""
        mine = [p for p in found if self.stage in ("", p.stage) and self.index in (None, p.index)]
        if self.previous:
            return mine
        last = {s: max(p.attempt for p in mine if p.stage == s) for s in {p.stage for p in mine}}
        kept: list[Pod] = []
        for stage, attempt in last.items():
            kept += newest_pods(p for p in mine if p.stage == stage and p.attempt == attempt).values()
        return [p for p in mine if p in kept]


def show(api: KubernetesApi, name: str, choice: Choice) -> None:
    """Prints what the pods have said so far. NotFound where there is nothing of that name."""
    run, found = _look(api, name)
    _check_stage(choice.stage, run, found)
    stages = [choice.stage] if choice.stage else _stages(run, found)
    chosen = [p for s in stages for p in _worth(Choice(s, choice.index, choice.previous).of(found), choice)]
    for record in run.stages if run is not None else ():
        there = {p.attempt for p in chosen if p.stage == record.name}
        if there and max(there) < record.attempt:
            _note(f"{record.name}: attempt {record.attempt} has no pods; these are of attempt {max(there)}")
    many = len({(p.stage, p.index) for p in chosen}) > 1
    for one in chosen:
        printer = Printer(_prefix(one) if many else "")
        if len(chosen) > 1 and not many:
            _note(f"pod {one.name}, attempt {one.attempt}")
        _print(api, one, printer, choice.tail)
    if not chosen:
        _without_pods(run, stages, choice)


def follow(api: KubernetesApi, name: str, choice: Choice) -> None:
    """Prints what the pods say until the run, or the stage that was chosen, has ended."""
    run, found = _look(api, name)
    _check_stage(choice.stage, run, found)
    stages = [choice.stage] if choice.stage else _stages(run, found)
    # Whatever had ended before and is not wanted; all that comes from now on is.
    old = {p.uid for p in found if p.stage not in stages and p.finished}
    before = {p.uid for p in found}
    alone = choice.stage and choice.index is not None
    labels = alignment_view.selector(name, choice.stage)
    ends = api.snapshots(KIND, name=name) if run is not None else api.snapshots("Job", labels)
    followers: dict[str, threading.Thread] = {}
    ended = looked = False
    try:
        with Feed(api, {"pods": api.snapshots("Pod", labels), "end": ends}, tick=_AGAIN) as feed:
            for event in feed:
                if event is None:
                    if ended and looked and not any(t.is_alive() for t in followers.values()):
                        return
                    continue
                what, objects = event
                if what == "end":
                    ended = _ended(objects, name, choice.stage, run is not None)
                    continue
                looked = True
                for one in choice.of([p for p in alignment_view.pods(objects.values()) if p.uid not in old]):
                    if one.uid not in followers and (one.started is not None or one.end is not None):
                        printer = Printer("" if alone else _prefix(one))
                        tail = choice.tail if one.uid in before else None
                        followers[one.uid] = feed.thread(_follow, api, one.name, printer, tail)
    except (KeyboardInterrupt, Stopped):
        raise Interrupted(f"no longer following; {name} goes on") from None


class Printer:
    """Prints the lines of one pod, whole ones only, among those of others."""

    _lock = threading.Lock()

    def __init__(self, prefix: str):
        self._prefix = prefix

    def line(self, text: str) -> None:
        with self._lock:
            print(f"{self._prefix}{text}", flush=True)


def _look(api: KubernetesApi, name: str) -> tuple[AlignmentView | None, list[Pod]]:
    """The Alignment and the pods of its name. Jobs that were rendered have pods without an Alignment."""
    found = alignment_view.pods(api.list("Pod", alignment_view.selector(name)))
    try:
        return alignment_view.find(api, name), found
    except (NotFound, NoSuchKind):
        if not found:
            raise
        return None, found


def _stages(run: AlignmentView | None, found: Sequence[Pod]) -> list[str]:
    """The stages that a person wants to see: those that failed, or that are at work, or the last that was."""
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
    return Choice().of(found)


def _worth(found: list[Pod], choice: Choice) -> list[Pod]:
    """Of a stage that failed, the pods that did: the others' lines would only hide theirs."""
    broken = [p for p in found if p.phase == "Failed" and not p.disrupted]
    if choice.index is not None or choice.previous or not broken or any(not p.finished for p in found):
        return found
    if left := sorted(p.index for p in found if p not in broken):
        _note(f"{found[0].stage}: not shown are {_indexes(left)}, which did not fail (--index shows one)")
    return broken


def _print(api: KubernetesApi, one: Pod, printer: Printer, tail: int | None) -> None:
    """Prints a pod's lines so far; where there are none to be had, what else is known of it."""
    printed = False
    try:
        for line in api.log(one.name, WORKER, follow=False, tail=tail):
            printer.line(_parted(line)[1])
            printed = True
    except (SpecError, Unavailable) as error:
        # Gone, not begun (400), or on a node that does not answer (500): the pod itself may say more.
        waits = one.unschedulable or ": ".join(filter(None, one.waiting))
        _note(f"pod {one.name} waits: {waits}" if waits else f"no log of pod {one.name}: {error}")
    if one.end is not None and one.end.exit_code:
        told = one.end.termination.message if one.end.termination is not None and not printed else ""
        why = "; ".join(told.splitlines()) or one.end.reason.removeprefix("Error")
        _note(f"pod {one.name} ended with exit code {one.end.exit_code}{': ' if why else ''}{why}")


def _follow(api: KubernetesApi, name: str, printer: Printer, tail: int | None) -> None:
    """Prints a pod's lines until its container has ended, or the pod is gone."""
    last, errors = "", 0
    while errors < _TRIES and not api.stopped.is_set():
        # Having been there once, only what came since: by far enough to allow for clocks that differ.
        have = {"tail": tail} if not last else {"since_seconds": _age(last) + _SKEW}
        known = last
        try:
            for line in api.log(name, WORKER, follow=True, **have):
                at, text = _parted(line)
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
                _note(f"no more of the log of pod {name}: {error}")
        api.stopped.wait(_AGAIN)


def _ended(found: dict[str, Object], name: str, stage: str, operated: bool) -> bool:
    """Whether the run, or the stage, has ended, by its Alignment or else by its Jobs."""
    if not operated:
        return bool(found) and all(workload(o).finished for o in found.values())
    if name not in found:
        return True
    run = AlignmentView(found[name])
    return run.ended or (run.seen and any(s.name == stage and s.completion_time for s in run.stages))


def _without_pods(run: AlignmentView | None, stages: Sequence[str], choice: Choice) -> None:
    """What is known where no pod is left, or none came yet."""
    records = [s for s in run.stages if s.name in stages] if run is not None else []
    if choice.index is not None and records:
        _note(f"{stages[0]} has no pod of index {choice.index} any more, or never had")
    for record in records:
        if record.message:
            _note(f"{record.name}: its pods are gone; what they told last: {record.message}")
        else:
            _note(f"{record.name}: {record.state.value.lower()}, and it has no pods now")
    if not records:
        _note("no stage has begun yet, so there are no logs")


def _check_stage(stage: str, run: AlignmentView | None, found: Sequence[Pod]) -> None:
    known = [s.name for s in run.stages] if run is not None else []
    known = list(dict.fromkeys([*known, *(p.stage for p in found)]))
    if stage and stage not in known:
        raise SpecError(f'no stage "{stage}"{did_you_mean(stage, known)} (stages: {", ".join(known) or "none yet"})')


def _parted(line: bytes) -> tuple[str, str]:
    """A line's time and its text. Times are RFC 3339 with nanoseconds, so that they sort as text."""
    at, _, text = line.decode(errors="replace").partition(" ")
    return at, text


def _age(at: str) -> int:
    begun = time_of(f"{at[:19]}Z") or datetime.now(UTC)
    return max(0, int((datetime.now(UTC) - begun).total_seconds()))


def _prefix(one: Pod) -> str:
    return f"[{one.stage}/{one.index}] "


def _indexes(numbers: Sequence[int]) -> str:
    return ("index " if len(numbers) == 1 else "indexes ") + ", ".join(map(str, numbers))


def _note(text: str) -> None:
    sys.stdout.flush()
    print(f"captionless: {text}", file=sys.stderr, flush=True)
