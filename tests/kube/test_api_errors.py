"""Every answer that is an error becomes one class, with the exit code that people get."""

from __future__ import annotations

import json

import pytest

from captionless.kube.api_errors import (
    AlreadyExists,
    Conflict,
    Expired,
    Forbidden,
    NoPermission,
    NoSuchKind,
    NotFound,
    Refused,
    Unauthorized,
    Unavailable,
    Untrusted,
    from_failure,
    from_response,
)
from tests.client.api import status

FORBIDDEN = (
    'alignments.captionless.dev is forbidden: User "ann" cannot create resource "alignments" in API group '
    '"captionless.dev" in the namespace "lab"'
)
NO_KIND = "404 page not found\n"


@pytest.mark.parametrize(
    ("code", "body", "kind", "exit_code", "named"),
    [
        pytest.param(400, status(400, "BadRequest", 'unknown field "spec.x"'), Refused, 64, '"spec.x"', id="400"),
        pytest.param(401, status(401, "Unauthorized", "x"), Unauthorized, 64, "401", id="401"),
        pytest.param(
            403,
            status(403, "Forbidden", FORBIDDEN),
            NoPermission,
            64,
            "ann may not create alignments.captionless.dev in namespace lab",
            id="403-rbac",
        ),
        pytest.param(403, status(403, "Forbidden", "exceeded quota: q"), Forbidden, 64, "quota: q", id="403-quota"),
        pytest.param(404, status(404, "NotFound", 'namespaces "x" not found'), NotFound, 64, '"x"', id="404-object"),
        pytest.param(404, NO_KIND, NoSuchKind, 64, "helm install", id="404-kind"),
        pytest.param(409, status(409, "Conflict", "modified"), Conflict, 1, "modified", id="409"),
        pytest.param(409, status(409, "AlreadyExists", "exists"), AlreadyExists, 1, "exists", id="409-exists"),
        pytest.param(410, status(410, "Expired", "too old"), Expired, 1, "too old", id="410"),
        pytest.param(413, "", Refused, 64, "", id="413-without-body"),
        pytest.param(422, status(422, "Invalid", "spec.output"), Refused, 64, "spec.output", id="422"),
        pytest.param(429, "", Unavailable, 1, "429", id="429-without-body"),
        pytest.param(500, status(500, "InternalError", "etcd"), Unavailable, 1, "etcd", id="500"),
        pytest.param(503, status(503, "ServiceUnavailable", "away"), Unavailable, 1, "503", id="503"),
    ],
)
def test_each_answer_has_its_class(code: int, body: object, kind: type, exit_code: int, named: str) -> None:
    error = from_response(code, body if isinstance(body, str) else json.dumps(body), "Alignment")
    assert type(error) is kind
    assert error.exit_code == exit_code
    assert named in str(error)


def test_a_kind_other_than_alignment_is_not_the_operators() -> None:
    error = from_response(404, NO_KIND, "JobSet")
    assert isinstance(error, NoSuchKind)
    assert "JobSet" in str(error)
    assert "helm" not in str(error)
    assert error.reason == "NotFound"


def test_wrong_fields_are_listed_one_by_one() -> None:
    causes = [
        {"field": "spec.train.points", "message": "Invalid value: exceeds"},
        {"field": "spec.train.points", "message": "Invalid value: exceeds"},
        {"field": "spec.output", "message": "is not shared"},
    ]
    error = from_response(422, json.dumps(status(422, "Invalid", "all of it", causes=causes)))
    assert str(error).splitlines() == ["spec.train.points: Invalid value: exceeds", "spec.output: is not shared"]
    assert (error.reason, error.detail) == ("Invalid", "all of it"), "on one line, for a condition"


@pytest.mark.parametrize("wait", [("3", 3.0), ("", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0)], ids=lambda w: w[0])
def test_a_busy_server_says_how_long_to_wait(wait: tuple[str, float]) -> None:
    error = from_response(429, "", retry_after=wait[0])
    assert isinstance(error, Unavailable)
    assert error.retry_after == wait[1]


@pytest.mark.parametrize(
    ("words", "kind", "exit_code"),
    [
        pytest.param("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed", Untrusted, 64, id="certificate"),
        pytest.param("Failed to connect: Connection refused", Unavailable, 1, id="refused"),
        pytest.param("Read timed out", Unavailable, 1, id="timeout"),
    ],
)
def test_no_answer_names_the_host(words: str, kind: type, exit_code: int) -> None:
    error = from_failure(OSError(words), "https://host:6443")
    assert type(error) is kind
    assert error.exit_code == exit_code
    assert "https://host:6443" in str(error)
