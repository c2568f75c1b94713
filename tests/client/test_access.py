"""Every way not to reach a cluster, or not to be allowed, told in a line and with the right exit code."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from captionless.client.access import Changed, Denied, NoSuchKind, NotFound, Unreachable, connect, told
from captionless.client.cluster import Cluster
from captionless.errors import SpecError
from tests.client.api import Server, kubeconfig, status
from tests.client.objects import alignment


def test_namespace_is_the_contexts_unless_it_is_given(server: Server) -> None:
    assert connect().namespace == "lab"
    assert connect("bare").namespace == "default"
    assert connect("bare", "other").namespace == "other"


def test_an_unknown_context_names_the_nearest(server: Server) -> None:
    with pytest.raises(SpecError, match=r'no context "her"; did you mean "here"\? \(contexts: bare, here\)'):
        connect("her")


def test_without_a_kubeconfig_it_says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(SpecError, match=r"no cluster is configured: .*set KUBECONFIG"):
        connect()


def test_a_server_that_is_away_may_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:  # bound but not listening: nobody else gets the port
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, f"http://127.0.0.1:{port}")))
        with pytest.raises(Unreachable) as caught:
            connect().list("Alignment")
    assert str(caught.value) == f"no answer from the API server at http://127.0.0.1:{port}: connection refused"
    assert caught.value.exit_code == 1


def test_the_token_is_sent_and_never_told(server: Server, cluster: Cluster) -> None:
    server.refusals["GET", "alignments"] = (401, status(401, "Unauthorized", "Unauthorized"))
    with pytest.raises(Denied) as caught:
        cluster.list("Alignment")
    assert "a-secret-token" not in str(caught.value)
    assert caught.value.exit_code == 64


FORBIDDEN = (
    'alignments.captionless.dev is forbidden: User "ann" cannot create resource "alignments" in API group '
    '"captionless.dev" in the namespace "lab"'
)


@pytest.mark.parametrize(
    ("code", "body", "kind", "words"),
    [
        (
            403,
            status(403, "Forbidden", FORBIDDEN),
            Denied,
            "ann may not create alignments.captionless.dev in",
        ),
        (403, status(403, "Forbidden", "exceeded quota: q"), Denied, "exceeded quota: q"),
        (404, status(404, "NotFound", 'namespaces "x" not found'), NotFound, 'namespaces "x" not found'),
        (404, "404 page not found\n", NoSuchKind, "install the operator"),
        (409, status(409, "Conflict", "modified"), Changed, "modified"),
        (503, status(503, "ServiceUnavailable", "away"), Unreachable, "cannot answer now (503): away"),
        (429, "", Unreachable, "no reason given"),
        (400, status(400, "BadRequest", 'strict decoding error: unknown field "spec.x"'), SpecError, '"spec.x"'),
    ],
)
def test_each_refusal_has_its_kind(
    code: int, body: object, kind: type[Exception], words: str, server: Server, cluster: Cluster
) -> None:
    server.refusals["GET", "alignments"] = (code, body)
    with pytest.raises(kind) as caught:
        cluster.list("Alignment")
    assert type(caught.value) is kind
    assert words in str(caught.value)


def test_wrong_fields_are_told_one_by_one() -> None:
    causes = [
        {"field": "spec.train.points", "message": "Invalid value: exceeds"},
        {"field": "spec.train.points", "message": "Invalid value: exceeds"},
        {"field": "spec.output", "message": "is not shared"},
    ]
    error = told(422, json.dumps(status(422, "Invalid", "all of it", causes=causes)))
    assert str(error).splitlines() == ["spec.train.points: Invalid value: exceeds", "spec.output: is not shared"]
    assert error.exit_code == 64


def test_snapshots_follow_every_change_and_survive_an_expired_version(server: Server, cluster: Cluster) -> None:
    server.put(alignment("a"))
    seen = cluster.snapshots("Alignment")
    assert list(next(seen)) == ["a"]
    server.put(alignment("b"))
    assert list(next(seen)) == ["a", "b"]
    server.remove("alignments", "a")
    assert list(next(seen)) == ["b"]
    server.expired = server.version + 10  # the next watch is refused, and the list is read again
    server.put(alignment("c"))
    assert list(next(seen)) == ["b", "c"]
    server.expired = 0


def test_a_watch_waits_for_a_server_that_is_away_for_a_moment(server: Server, cluster: Cluster) -> None:
    server.put(alignment("a"))
    seen = cluster.snapshots("Alignment")
    next(seen)
    server.expired = server.version + 1
    lists = iter([503, 503])

    class Refusals(dict):  # type: ignore[type-arg]
        def __contains__(self, key: object) -> bool:
            return key == ("GET", "alignments") and next(lists, None) is not None

    refusals = Refusals()
    refusals["GET", "alignments"] = (503, status(503, "ServiceUnavailable", "away"))
    server.refusals = refusals
    assert list(next(seen)) == ["a"]
    server.expired = 0
