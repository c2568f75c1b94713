"""Which pods' lines are printed, and that following them misses and repeats none."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import pytest

from captionless.client import logs
from tests import pace
from tests.client.api import Server, status
from tests.client.command import in_background, k8s
from tests.client.objects import alignment, condition, job, pod, stage

ENDED = condition("Succeeded", "False", "StageFailed", "embed: broken")


def running(*stages: dict[str, object]) -> dict[str, object]:
    return alignment(conditions=[condition("Succeeded", "Unknown", "Running")], stages=list(stages))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_AGAIN", 0.05)


def test_of_several_pods_at_work_each_line_says_whose_it_is(server: Server) -> None:
    server.put(running(stage("pack", "Succeeded"), stage("embed", "Running")))
    server.put(pod("pack", 0, "Succeeded"))
    for index in (0, 1):
        server.put(pod("embed", index))
        server.say(f"demo-embed-1-{index}-a", "begun", f"object {index}")
    assert k8s("logs", "demo").out.splitlines() == [
        "[embed/0] begun", "[embed/0] object 0", "[embed/1] begun", "[embed/1] object 1",
    ]  # fmt: skip
    assert k8s("logs", "demo", "--index", "1", "--tail", "1").out == "object 1\n"


def test_of_a_failed_stage_only_what_failed_and_only_its_last_pod(server: Server) -> None:
    server.put(alignment(conditions=[ENDED], stages=[stage("embed", "Failed")]))
    server.put(pod("embed", 0, "Succeeded"))
    server.put(pod("embed", 1, "Failed", suffix="first", code=1))
    server.put(pod("embed", 1, "Failed", suffix="last", code=65, message="object o7 is broken", failures=1, second=9))
    for name in ("0-a", "1-first", "1-last"):
        server.say(f"demo-embed-1-{name}", f"lines of {name}", end=True)
    ended = k8s("logs", "demo")
    assert ended.out == "lines of 1-last\n"
    assert "index 0" in ended.err
    assert "demo-embed-1-1-last ended with exit code 65" in ended.err
    assert k8s("logs", "demo", "--index", "0").out == "lines of 0-a\n"
    every = k8s("logs", "demo", "--previous-attempts").out
    assert every.splitlines() == ["[embed/0] lines of 0-a", "[embed/1] lines of 1-first", "[embed/1] lines of 1-last"]


def test_an_earlier_attempt_is_shown_only_when_asked_for(server: Server) -> None:
    server.put(running(stage("embed", "Running", attempt=2)))
    server.put(pod("embed", 0, "Failed", attempt=1, code=1))
    server.put(pod("embed", 0, attempt=2, second=9))
    server.say("demo-embed-1-0-a", "old", end=True)
    server.say("demo-embed-2-0-a", "new")
    assert k8s("logs", "demo").out == "new\n"
    ended = k8s("logs", "demo", "--previous-attempts")
    assert ended.out == "old\nnew\n"
    assert "pod demo-embed-1-0-a, attempt 1" in ended.err


def test_where_the_last_attempt_has_no_pods_it_says_whose_lines_these_are(server: Server) -> None:
    server.put(running(stage("embed", "Running", attempt=2)))
    server.put(pod("embed", 0, "Failed", attempt=1, code=1))
    server.say("demo-embed-1-0-a", "old", end=True)
    note = k8s("logs", "demo").err.splitlines()[0]
    assert "embed" in note
    assert re.findall(r"attempt (\d)", note) == ["2", "1"]


def test_where_pods_are_gone_the_status_still_says_why(server: Server) -> None:
    server.put(alignment(conditions=[ENDED], stages=[stage("embed", "Failed", message="object o7 is broken")]))
    ended = k8s("logs", "demo")
    assert ended.out == ""
    assert "object o7 is broken" in ended.err


def test_before_anything_has_begun_it_says_so(server: Server) -> None:
    server.put(alignment())
    ended = k8s("logs", "demo")
    assert (ended.code, ended.out) == (0, "")
    assert "no stage" in ended.err


def test_a_pod_that_has_not_started_says_what_it_waits_for(server: Server) -> None:
    server.put(running(stage("embed", "Running")))
    server.put(pod("embed", 0, "Pending"))
    (note,) = k8s("logs", "demo").err.splitlines()
    assert "demo-embed-1-0-a" in note
    assert "ImagePullBackOff: Back-off pulling image" in note


def test_where_the_node_does_not_answer_the_pods_own_message_is_shown(server: Server) -> None:
    server.put(alignment(conditions=[ENDED], stages=[stage("embed", "Failed")]))
    server.put(pod("embed", 0, "Failed", code=64, message="no bucket b"))
    server.refusals["GET", "pods"] = (200, {"metadata": {}, "items": list(server.objects["pods"].values())})
    ended = k8s("logs", "demo")  # the log's answer is no log: the list, on one line
    assert "exit code 64" in ended.err
    del server.refusals["GET", "pods"]
    ended = k8s("logs", "demo")
    assert "pod demo-embed-1-0-a ended with exit code 64: no bucket b" in ended.err


def test_unknown_names_suggest_the_nearest(server: Server) -> None:
    server.put(running(stage("embed", "Running")))
    assert 'no alignment "dem"' in k8s("logs", "dem").error
    assert '"embde"; did you mean "embed"?' in k8s("logs", "demo", "--stage", "embde").error


def test_rendered_jobs_have_logs_without_an_alignment(server: Server) -> None:
    server.installed = False
    server.put(pod("pack", 0, "Succeeded"))
    server.put(pod("embed", 0, "Failed", code=1, second=5))
    server.say("demo-pack-1-0-a", "packed", end=True)
    server.say("demo-embed-1-0-a", "broken", end=True)
    assert k8s("logs", "demo").out == "broken\n"
    assert k8s("logs", "demo", "--stage", "pack").out == "packed\n"
    server.put(job("pack", condition="Complete"))
    server.put(job("embed", condition="Failed"))
    assert k8s("logs", "demo", "--follow").out == "[embed/0] broken\n"


def test_followed_it_goes_on_with_replacements_and_the_next_stage(server: Server) -> None:
    server.put(running(stage("embed", "Running"), stage("eval", "Waiting")))
    server.put(pod("embed", 0))
    server.say("demo-embed-1-0-a", "one", "two")
    thread, found = in_background(lambda: k8s("logs", "demo", "--follow", "--tail", "1"))
    server.await_watch("demo-embed-1-0-a")
    server.say("demo-embed-1-0-a", "three", end=True)
    server.put(pod("embed", 0, "Failed", code=1))
    server.put(pod("embed", 0, "Pending", suffix="b", failures=1, second=5))
    server.put(pod("embed", 0, "Running", suffix="b", failures=1, second=5))
    server.say("demo-embed-1-0-b", "again", "done", end=True)
    server.put(pod("embed", 0, "Succeeded", suffix="b", failures=1, second=5))
    server.put(running(stage("embed", "Succeeded"), stage("eval", "Running")))
    server.put(pod("eval", 0, second=9))
    server.say("demo-eval-1-0-a", "figures", end=True)
    server.put(pod("eval", 0, "Succeeded", second=9))
    server.put(alignment(conditions=[condition("Succeeded", "True", "Completed")], stages=[]))
    thread.join(pace.seconds(20))
    lines = found[0].out.splitlines()
    assert [line for line in lines if line.startswith("[embed")] == [
        "[embed/0] two", "[embed/0] three", "[embed/0] again", "[embed/0] done",
    ]  # fmt: skip
    assert [line for line in lines if line.startswith("[eval")] == ["[eval/0] figures"]


def test_a_stage_that_is_followed_ends_the_command(server: Server) -> None:
    server.put(running(stage("embed", "Running"), stage("eval", "Waiting")))
    server.put(pod("embed", 0))
    server.say("demo-embed-1-0-a", "one")
    thread, found = in_background(lambda: k8s("logs", "demo", "-f", "--stage", "embed", "--index", "0"))
    server.await_watch("pods")
    server.say("demo-embed-1-0-a", "two", end=True)
    server.put(pod("embed", 0, "Succeeded"))
    ended = stage("embed", "Succeeded", completionTime="2026-11-21T10:01:00Z")
    server.put(running(ended, stage("eval", "Running")))
    thread.join(pace.seconds(20))
    assert found[0].out == "one\ntwo\n"


def test_a_log_that_breaks_off_goes_on_after_its_last_line(server: Server) -> None:
    server.put(alignment(conditions=[condition("Succeeded", "True", "Completed")], stages=[stage("embed", "Running")]))
    server.put(pod("embed", 0))
    server.say("demo-embed-1-0-a", "one", "two", "three", end=True)
    server.put(pod("embed", 0, "Succeeded"))
    server.broken_logs = 1
    ended = k8s("logs", "demo", "--follow")
    assert ended.out.splitlines() == [f"[embed/0] {n}" for n in ("one", "two", "three")]


def test_a_missing_permission_is_named(server: Server) -> None:
    server.put(running(stage("embed", "Running")))
    words = 'pods is forbidden: User "ann" cannot list resource "pods" in API group "" in the namespace "lab"'
    server.refusals["GET", "pods"] = (403, status(403, "Forbidden", words))
    ended = k8s("logs", "demo")
    assert ended.code == 64
    assert "ann may not list pods in namespace lab" in ended.error


def test_a_reader_that_has_seen_enough_ends_it_quietly(server: Server) -> None:
    server.put(running(stage("embed", "Running")))
    server.put(pod("embed", 0))
    server.say("demo-embed-1-0-a", "one", "two")
    command = [sys.executable, "-m", "captionless", "k8s", "logs", "demo", "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "[embed/0] one\n"
        following.stdout.close()
        server.say("demo-embed-1-0-a", *(f"line {i}" for i in range(3, 60)))
        assert following.stderr is not None
        assert following.stderr.read() == ""


def test_interrupted_it_says_that_the_run_continues(server: Server) -> None:
    server.put(running(stage("embed", "Running")))
    server.put(pod("embed", 0))
    server.say("demo-embed-1-0-a", "one")
    command = [sys.executable, "-m", "captionless", "k8s", "logs", "demo", "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "[embed/0] one\n"
        following.send_signal(signal.SIGINT)
        _, err = pace.communicate(following, 20)
    assert following.returncode == 75
    assert len(err.splitlines()) == 1
    assert "demo" in err
