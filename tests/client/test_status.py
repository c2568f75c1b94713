"""What is shown of runs: a table of all, one with all that is wrong with it, one until it ends."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from captionless.client.alignment_view import AlignmentView
from captionless.client.status import Meter, notes
from tests import pace
from tests.client.api import Server
from tests.client.command import in_background, k8s
from tests.client.objects import alignment, condition, pod, stage

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)

DONE = condition("Succeeded", "True", "Completed", "all 2 stages are done")
RUNNING = condition("Succeeded", "Unknown", "Running", "embed at work")
RESULTS = [
    {"run": "avg-seed0", "figures": [{"name": "zero_shot/top1", "value": "93.3"}, {"name": "mrr", "value": "0.5"}]},
    {"run": "uniform-seed0", "figures": [{"name": "zero_shot/top1", "value": "90.1"}]},
]
WORKING = [
    stage("pack", "Succeeded", done=64, total=64, unit="object", startTime="2026-11-21T09:00:00Z",
          completionTime="2026-11-21T09:01:40Z"),
    stage("embed", "Running", done=30, total=60, unit="object", startTime="2026-11-21T09:59:00Z", attempt=2),
    stage("eval", "Waiting"),
]  # fmt: skip


def test_all_runs_are_a_table(server: Server) -> None:
    stalled = condition("Progressing", "False", "ImagePullFailed", "no image x:1")
    server.put(alignment("a", conditions=[DONE], stage="eval", progress="100%", top1="93.3"))
    server.put(alignment("b", conditions=[RUNNING, stalled], stage="embed", progress="50%"))
    server.put(alignment("c"))
    lines = k8s("status").out.splitlines()
    assert lines[0].split() == ["name", "stage", "progress", "top1", "state", "age"]
    assert lines[1].split()[:5] == ["a", "eval", "100%", "93.3", "Completed"]
    assert lines[2].split()[:4] == ["b", "embed", "50%", "ImagePullFailed"]
    assert lines[2].endswith("no image x:1")
    assert lines[3].split()[:2] == ["c", "New"]


def test_no_runs_say_how_to_make_one(server: Server) -> None:
    out = k8s("status").out
    assert "namespace lab" in out
    assert "captionless k8s submit" in out


def test_one_run_shows_stages_what_is_wrong_and_figures(server: Server) -> None:
    stalled = condition("Progressing", "False", "NoProgress", "embed: no progress reported by pod p")
    server.put(alignment(conditions=[RUNNING, stalled], stages=WORKING, results=RESULTS))
    out = k8s("status", "demo").out
    assert "64/64" in out
    assert "30/60" in out
    assert "attempt 2" in out
    assert "no progress (NoProgress): embed: no progress reported by pod p" in out
    assert ["avg-seed0", "93.3", "0.5"] in [line.split() for line in out.splitlines()]
    assert ["uniform-seed0", "90.1"] in [line.split() for line in out.splitlines()]


def test_an_unknown_run_names_the_nearest(server: Server) -> None:
    server.put(alignment("demo"))
    ended = k8s("status", "dmo")
    assert ended.code == 64
    assert '"dmo" in namespace lab; did you mean "demo"?' in ended.error


def test_json_is_the_object_without_what_nobody_reads(server: Server) -> None:
    found = alignment(stages=WORKING)
    found["metadata"]["managedFields"] = [{"manager": "x"}]
    server.put(found)
    one = json.loads(k8s("status", "demo", "-o", "json").out)
    assert one["status"]["stages"] == WORKING
    assert "managedFields" not in one["metadata"]
    assert [i["kind"] for i in json.loads(k8s("status", "-o", "json").out)["items"]] == ["Alignment"]


def test_a_run_that_no_operator_sees_says_so_after_a_while() -> None:
    found = alignment()
    created = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
    assert notes(AlignmentView(found), created + timedelta(seconds=5)) == []
    for status in ({}, {"observedGeneration": -1}):  # before the default of the CRD's, and since
        view = AlignmentView({**found, "status": status})
        assert notes(view, created + timedelta(seconds=5)) == []
        assert "no operator" in notes(view, created + timedelta(seconds=60))[0]


def test_an_end_counts_only_for_the_newest_spec_and_retry() -> None:
    found = alignment(conditions=[condition("Succeeded", "False", "StageFailed", "embed: broken")])
    assert AlignmentView(found).ended
    found["metadata"]["annotations"] = {"captionless.dev/retry": "2"}
    assert not AlignmentView(found).ended
    assert "the operator" in notes(AlignmentView(found), NOW)[-1]
    found["status"]["retry"] = "2"
    assert AlignmentView(found).ended
    found["metadata"]["generation"] = 2
    assert not AlignmentView(found).ended


def test_rates_are_what_was_seen_since_the_first_look() -> None:
    meter, record = Meter(), WORKING[1]
    rows = meter.rows(AlignmentView(alignment(stages=[record])), NOW)
    assert rows[0][2] is not None
    assert rows[0][2].rate == pytest.approx(0.5)  # 30 in the minute since it began
    assert rows[0][3] == 60
    later = {**record, "done": 50}
    for seconds in (5, 10):  # what was done at 5 s was done by then, however long nothing is heard
        (row,) = meter.rows(AlignmentView(alignment(stages=[later])), NOW + timedelta(seconds=seconds))
        assert row[2] is not None
        assert row[2].rate == pytest.approx(4)
        assert row[2].eta == pytest.approx(2.5)


def test_watched_it_ends_when_the_run_does(server: Server) -> None:
    server.put(alignment(conditions=[RUNNING], stages=WORKING))
    thread, found = in_background(lambda: k8s("status", "demo", "--watch"))
    server.await_watch("alignments")
    stalled = condition("Progressing", "False", "NoProgress", "embed: no progress")
    server.put(alignment(conditions=[RUNNING, stalled], stages=WORKING))
    done = [{**s, "state": "Succeeded", "completionTime": "2026-11-21T10:00:00Z"} for s in WORKING]
    server.put(alignment(conditions=[DONE], stages=done, results=RESULTS))
    thread.join(pace.seconds(20))
    (ended,) = found
    assert ended.code == 0, ended
    assert "eval: done" in ended.err
    assert "demo: no progress (NoProgress): embed: no progress" in ended.err
    assert "demo: succeeded: " in ended.err
    assert "93.3" in ended.out


@pytest.mark.parametrize(("codes", "code"), [([0, 65], 65), ([64, 65], 64), ([2], 64), ([1], 1), ([], 1)], ids=str)
def test_watched_it_ends_with_the_code_of_what_failed(codes: list[int], code: int, server: Server) -> None:
    failed = condition("Succeeded", "False", "StageFailed", "embed: broken")
    server.put(alignment(conditions=[failed], stages=[stage("embed", "Failed", attempt=2)]))
    server.put(pod("embed", 0, "Failed", attempt=1, code=64))  # of an earlier attempt
    for index, each in enumerate(codes):
        server.put(pod("embed", index, "Failed" if each else "Succeeded", attempt=2, code=each))
    ended = k8s("status", "demo", "--watch")
    assert ended.code == code
    assert "embed: broken" in ended.error


def test_an_invalid_spec_ends_with_64(server: Server) -> None:
    server.put(alignment(conditions=[condition("Succeeded", "False", "SpecInvalid", "train.x: unknown")]))
    assert k8s("status", "demo", "--watch").code == 64


def test_watched_a_run_that_is_deleted_ends_with_1(server: Server) -> None:
    server.put(alignment(conditions=[RUNNING], stages=WORKING))
    thread, found = in_background(lambda: k8s("status", "demo", "--watch"))
    server.await_watch("alignments")
    server.remove("alignments", "demo")
    thread.join(pace.seconds(20))
    assert found[0].code == 1
    assert "demo" in found[0].error


def test_watching_needs_a_name(server: Server) -> None:
    assert k8s("status", "--watch").code == 2
