"""What is reported as events, and under which names."""

from __future__ import annotations

from captionless.controller.events import Event, Moment, events
from captionless.controller.stage_status import RunStatus
from captionless.controller.status import status
from captionless.kube.observed_state import Failed
from tests.controller.seen import NOW, ago, alignment, done, ended, pod, record, run, workload


def reported(found: RunStatus) -> list[tuple[str, str]]:
    return [(e.reason, e.note) for e in events(found, status(found))]


def test_a_stage_that_began() -> None:
    ((reason, note),) = reported(run(workload()))
    assert reason == "StageStarted"
    assert "pack: " in note
    assert "Job shapes-pack-1 with 2 pods" in note
    queued = dict(reported(run(workload(suspended=True))))
    assert "suspended" in queued["StageStarted"]
    assert "pack" in queued["Queued"]


def test_what_the_status_records_is_not_reported_again() -> None:
    seen = run(workload())
    again = run(workload(), status=status(seen))
    assert reported(again) == []


def test_the_end_of_a_stage_and_of_the_run() -> None:
    job = workload(failed=Failed("PodFailurePolicy", ""), ended=ago(5))
    found = reported(run(job, pods=[pod(**ended(64, "no bucket"))], status={"stages": [record("pack", "Running")]}))
    assert ("StageFailed", "pack: no bucket") in found
    assert ("PodFailed", "pack: pod shapes-pack-1-0-x: no bucket") in found
    assert ("Failed", "pack: no bucket") in found
    before = done("pack", "embed", "landmarks", "similarity-i2i", "similarity-i2l", "train-avg-seed0")
    job = workload("eval", complete=True, ended=ago(60))
    assert "8 stages" in dict(reported(run(job, status=before)))["Completed"]


def test_disruptions_are_one_event_that_counts() -> None:
    seen = run(workload(), pods=[pod(ignored=4, disruption="EvictionByEvictionAPI", **ended(75))])
    found = [e for e in events(seen, status(seen)) if e.reason == "PodDisrupted"]
    assert [e.count for e in found] == [5]
    assert "EvictionByEvictionAPI" in found[0].note
    manifest = found[0].manifest(seen.alignment, "me", "2026-01-01T00:00:00.000000Z")
    assert manifest["series"]["count"] == 5


def test_an_old_failure_is_not_reported_again_by_a_new_controller() -> None:
    end = pod(**ended(1, "why"))
    status_ = {"stages": [record("pack", "Running")]}
    assert ("PodFailed", "pack: pod shapes-pack-1-0-x: why") in reported(run(workload(), pods=[end], status=status_))
    assert end.end is not None
    old = pod(phase="Failed", end=type(end.end)(1, "", ago(3600), end.end.termination))
    assert "PodFailed" not in dict(reported(run(workload(), pods=[old], status=status_)))


def test_names_follow_from_what_happened_and_when() -> None:
    first = Event("StageStarted", "note", "CreateJob", (0, 1, Moment.begun), ("pack", "1"))
    assert first.name(alignment()) == Event("StageStarted", "other", "x", (0, 1, Moment.begun), ("pack", "1")).name(
        alignment()
    )
    later = Event("StageSucceeded", "note", "ObserveJob", (0, 1, Moment.ended), ("pack", "1"))
    next_ = Event("StageStarted", "note", "CreateJob", (1, 1, Moment.begun), ("embed", "1"))
    names = [e.name(alignment()) for e in (first, later, next_)]
    assert names == sorted(names), "kubectl describe orders them by name"


def test_the_manifest_keeps_the_api_servers_limits() -> None:
    found = Event("StageFailed", "x" * 5000, "ObserveJob", (0, 1, Moment.ended), warning=True)
    manifest = found.manifest(alignment(), "me", "2026-01-01T00:00:00.000000Z")
    assert len(manifest["note"]) <= 1024
    assert manifest["type"] == "Warning"
    assert manifest["regarding"]["uid"] == "uid-a"
    assert manifest["reportingController"]
    assert manifest["action"]


def test_a_stall_is_reported_once_for_its_cause() -> None:
    waiting = pod(phase="Pending", started=None, waiting=("ErrImagePull", "x"))
    seen = run(workload(), pods=[waiting], status={"stages": [record("pack", "Running")]})
    assert [e.reason for e in events(seen, status(seen)) if e.warning] == ["ImagePullFailed"]
    again = run(workload(), pods=[waiting], status=status(seen))
    assert reported(again) == []
    assert NOW
