"""A watch as snapshots of the whole state, against an API server of our own."""

from __future__ import annotations

from captionless.kube.api import KubernetesApi
from tests.client.api import Server, status
from tests.client.objects import alignment


def test_snapshots_follow_every_change_and_survive_an_expired_version(server: Server, api: KubernetesApi) -> None:
    server.put(alignment("a"))
    seen = api.snapshots("Alignment")
    assert list(next(seen)) == ["a"]
    server.put(alignment("b"))
    assert list(next(seen)) == ["a", "b"]
    server.remove("alignments", "a")
    assert list(next(seen)) == ["b"]
    server.expired = server.version + 10  # the next watch is refused, and the list is read again
    server.put(alignment("c"))
    assert list(next(seen)) == ["b", "c"]
    server.expired = 0


def test_a_watch_waits_for_a_server_that_is_away_for_a_moment(server: Server, api: KubernetesApi) -> None:
    server.put(alignment("a"))
    seen = api.snapshots("Alignment")
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
