"""The API server's errors: one family, by what the caller can do about them.

    Refused        the server understood the request and rejects it: a person must change something  (exit code 64)
      Forbidden    not allowed: a quota, an admission policy
        NoPermission   no role of the user's allows it
      NotFound     there is no such object, or no such namespace
      NoSuchKind   the server does not serve the kind: the operator or JobSet is not installed
    Unauthorized   the server does not accept the credentials                                        (64)
    Untrusted      the server's certificate is not signed by the expected authority                  (64)
    Conflict       the object was changed by another client: read it again                           (1)
      AlreadyExists
    Expired        the resource version or continue token is too old: list again                     (1)
    Unavailable    no answer, or the server is overloaded: try again later                           (1)

Messages are made from the server's answer, never from the request, which may contain tokens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from captionless.errors import CaptionlessError, Retryable, SpecError
from captionless.kube.jobs.names import GROUP
from captionless.kube.jobs.operator import KIND

INSTALL = "helm install captionless charts/captionless --namespace captionless --create-namespace"
"""Installs the operator."""

_DENIED = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]*)" in API group "(?P<group>[^"]*)"'
    r'(?: in the namespace "(?P<namespace>[^"]*)")?'
)


class ApiError(CaptionlessError):
    """The API server did not do what it was asked to do.

    reason: why, as one CamelCase word (Forbidden, Invalid, ...). detail: the server's own message.
    """

    def __init__(self, message: str, reason: str = "", detail: str = ""):
        super().__init__(message)
        self.reason, self.detail = reason or type(self).__name__, detail or message


class Refused(ApiError, SpecError):
    """The server understood the request and rejects it; repeating it is useless."""


class Forbidden(Refused):
    """Permissions, a quota or an admission policy forbid it."""


class NoPermission(Forbidden):
    """No role of the user's allows it."""


class NotFound(Refused):
    """There is no such object, or no such namespace."""


class NoSuchKind(Refused):
    """The server does not serve the kind."""


class Unauthorized(ApiError, SpecError):
    """The server does not accept the credentials."""


class Untrusted(ApiError, SpecError):
    """The server's certificate is not signed by the expected authority."""


class Conflict(ApiError, Retryable):
    """The object was changed by another client, or is not the intended one."""


class AlreadyExists(Conflict):
    """There is an object of that name already."""


class Expired(ApiError, Retryable):
    """The resource version or the continue token is too old."""


class Unavailable(ApiError, Retryable):
    """The API server does not answer, or is overloaded. retry_after: seconds to wait, where the server says so."""

    def __init__(self, message: str, reason: str = "", detail: str = "", retry_after: float = 0.0):
        super().__init__(message, reason, detail)
        self.retry_after = retry_after


def from_response(status: int, body: str, kind: str = "", phrase: str = "", retry_after: str = "") -> ApiError:
    """The error in an answer: its HTTP status, body, reason phrase and Retry-After. `kind` is what was asked for."""
    try:
        answer: dict[str, Any] = dict(json.loads(body or "{}"))
    except (TypeError, ValueError):
        answer = {}
    detail = _line(answer.get("message") or body or phrase or "no reason given")
    reason = "".join(filter(str.isalnum, str(answer.get("reason") or phrase)))
    if status == 401:
        words = "the API server does not accept the credentials (401); log in again"
        return Unauthorized(words, reason, detail)
    if status == 403:
        denied = _denied(detail)
        return NoPermission(denied, reason, detail) if denied else Forbidden(detail, reason, detail)
    if status == 404:
        # A path that is not served has a text body; a missing object has a Status.
        if answer.get("kind") == "Status" and answer.get("details"):
            return NotFound(detail, reason, detail)
        return NoSuchKind(_not_served(kind), "NotFound")
    if status == 409:
        return (AlreadyExists if reason == "AlreadyExists" else Conflict)(detail, reason, detail)
    if status == 410:
        return Expired(detail, reason, detail)
    if status == 429 or status >= 500:
        words = f"the API server is overloaded or unavailable ({status}): {detail}"
        return Unavailable(words, reason, detail, float(retry_after) if retry_after.isdigit() else 0.0)
    causes = (answer.get("details") or {}).get("causes") or ()
    return Refused("\n".join(_causes(causes)) or detail, reason, detail)


def from_failure(error: BaseException, host: str) -> ApiError:
    """The error of a request that got no answer."""
    words = _line(error)
    if "CERTIFICATE_VERIFY_FAILED" in words or "certificate verify failed" in words:
        return Untrusted(f"{host}: the certificate is not signed by the authority in the kubeconfig")
    reason = next((r for r in _REASONS if r in words), "")
    return Unavailable(f"no answer from the API server at {host}: {_REASONS.get(reason, words)}")


_REASONS = {
    "Connection refused": "connection refused",
    "timed out": "timed out",
    "Name or service not known": "unknown host",
    "Temporary failure in name resolution": "unknown host",
    "No route to host": "no route to host",
    "Network is unreachable": "network is unreachable",
    "RemoteDisconnected": "connection closed",
    "Connection reset": "connection reset",
}


def _not_served(kind: str) -> str:
    if kind != KIND:
        return f"the API server does not serve the kind {kind or 'that was asked for'}"
    return (
        f"this cluster has no Alignments ({GROUP}); install the operator: {INSTALL}\n"
        "or run without it: captionless render SPEC | kubectl apply -f -"
    )


def _denied(detail: str) -> str:
    """That a role is missing, in one line; empty if it is a quota or an admission policy that forbids something."""
    match = _DENIED.search(detail)
    if match is None:
        return ""
    resource = match["resource"] + (f".{match['group']}" if match["group"] else "")
    where = f" in namespace {match['namespace']}" if match["namespace"] else ""
    return f"no permission: {match['user']} may not {match['verb']} {resource}{where}; ask for a role that allows it"


def _causes(causes: Iterable[dict[str, Any]]) -> Iterable[str]:
    lines = (f"{c.get('field', '')}: {_line(c.get('message', ''))}".removeprefix(": ") for c in causes)
    return dict.fromkeys(lines)


def _line(words: object) -> str:
    return " ".join(str(words).split())
