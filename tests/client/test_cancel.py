"""Cancelling deletes one Alignment, by its uid, and waits until nothing of it runs."""

from __future__ import annotations

from captionless.errors import SpecError
from tests import pace
from tests.client.api import Server, status
from tests.client.command import in_background, k8s
from tests.client.objects import alignment, job, pod


def test_it_waits_until_jobs_and_pods_are_gone(server: Server) -> None:
    server.put(alignment())
    server.put(alignment("other"))
    server.put(job("embed"))
    server.put(pod("embed", 0))
    thread, found = in_background(lambda: k8s("cancel", "demo", "--yes"))
    for plural in ("jobs", "pods"):
        server.await_watch(plural)
    assert "demo" not in server.objects["alignments"]
    server.remove("jobs", "demo-embed-1")
    assert not found
    server.remove("pods", "demo-embed-1-0-a")
    thread.join(pace.seconds(20))
    (ended,) = found
    assert ended.code == 0
    assert "demo: waiting for 1 pod" in ended.err
    assert "s3://b/demo" in ended.out
    assert list(server.objects["alignments"]) == ["other"]
    ((_, body),) = server.sent("DELETE")
    assert body["preconditions"] == {"uid": "uid-of-demo"}
    assert body["propagationPolicy"] == "Background"


def test_a_pod_whose_node_does_not_answer_is_named(server: Server) -> None:
    server.put(alignment())
    lost = pod("embed", 0)
    lost["metadata"]["deletionTimestamp"] = "2026-11-21T08:00:00Z"
    server.put(lost)
    thread, found = in_background(lambda: k8s("cancel", "demo", "--yes"))
    server.await_watch("pods")
    server.remove("pods", "demo-embed-1-0-a")
    thread.join(pace.seconds(20))
    assert "node-1" in found[0].err
    assert "demo-embed-1-0-a" in found[0].err


def test_without_a_terminal_nothing_is_deleted(server: Server) -> None:
    server.put(alignment())
    ended = k8s("cancel", "demo")
    assert ended.code == 2
    assert "--yes" in ended.err
    assert server.sent("DELETE") == []


def test_an_unknown_run_is_named(server: Server) -> None:
    ended = k8s("cancel", "demo", "--yes")
    assert ended.code == SpecError.exit_code
    assert '"demo" in namespace lab' in ended.error


def test_a_missing_permission_is_named(server: Server) -> None:
    server.put(alignment())
    words = (
        'alignments.captionless.dev "demo" is forbidden: User "ann" cannot delete resource "alignments" in API group '
        '"captionless.dev" in the namespace "lab"'
    )
    server.refusals["DELETE", "alignments"] = (403, status(403, "Forbidden", words))
    assert "ann may not delete alignments.captionless.dev" in k8s("cancel", "demo", "--yes").error
