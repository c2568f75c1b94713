"""Which cluster, as whom, and where in it; and the one place that turns the API's errors into lines for people.

A kubeconfig is read as kubectl reads it (KUBECONFIG, then ~/.kube/config); within a pod its service account
serves. Errors that a person must mend end with 64, those that may pass by themselves with 1. What is
told comes from the server's own words, never from requests: these may hold tokens.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captionless.errors import CaptionlessError, Retryable, SpecError, did_you_mean
from captionless.kube.jobs.names import GROUP

if TYPE_CHECKING:
    from kubernetes.client import Configuration

    from captionless.client.cluster import Cluster

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_DENIED = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]*)" in API group "(?P<group>[^"]*)"'
    r'(?: in the namespace "(?P<namespace>[^"]*)")?'
)
INSTALL = "helm install captionless charts/captionless --namespace captionless --create-namespace"


class NotFound(SpecError):
    """There is no such object."""


class NoSuchKind(SpecError):
    """The API server does not know Alignments: the operator is not installed."""


class Denied(SpecError):
    """The person may not do it."""


class Unreachable(Retryable):
    """The API server does not answer, or asks for patience."""


class Changed(Retryable):
    """The object was changed by somebody else meanwhile, or is there already."""


def connect(context: str | None = None, namespace: str | None = None) -> Cluster:
    """The cluster of a kubeconfig's context (its current one by default). SpecError when there is none."""
    try:
        from kubernetes import config
        from kubernetes.config import ConfigException
    except ImportError:
        raise SpecError("the Kubernetes client is not installed: pip install 'captionless[kubernetes]'") from None
    from captionless.client.cluster import Cluster

    file = os.environ.get("KUBECONFIG") or "~/.kube/config"
    try:
        contexts, active = config.list_kube_config_contexts(file)
    except ConfigException as error:
        if context is None and _NAMESPACE_FILE.exists():
            configuration = _configuration()
            config.load_incluster_config(client_configuration=configuration)
            return Cluster(configuration, namespace or _NAMESPACE_FILE.read_text().strip())
        raise SpecError(f"no cluster is configured: {_line(error)}; set KUBECONFIG, or log in to a cluster") from None
    known = {str(c["name"]): c for c in contexts}
    if context is not None and context not in known:
        raise SpecError(f'no context "{context}"{did_you_mean(context, known)} (contexts: {", ".join(sorted(known))})')
    chosen = known[context] if context is not None else active
    configuration = _configuration()
    try:
        config.load_kube_config(file, context=chosen["name"], client_configuration=configuration)
    except ConfigException as error:
        raise SpecError(f"context {chosen['name']}: {_line(error)}") from None
    return Cluster(configuration, namespace or (chosen.get("context") or {}).get("namespace") or "default")


def _configuration() -> Configuration:
    """Without urllib3's own retries, which warn on stderr: an error is told once, by us."""
    import urllib3
    from kubernetes import client

    found = client.Configuration()
    found.retries = urllib3.Retry(0, redirect=3)
    found.connection_pool_maxsize = 64
    return found


def told(status: int, text: str) -> CaptionlessError:
    """An answer of the API server that is an error, by its HTTP status and its body."""
    try:
        body: dict[str, Any] = json.loads(text)
    except ValueError:
        body = {}
    message = _line(body.get("message") or text or "no reason given")
    if status == 401:
        return Denied("the API server does not accept the credentials (401); log in again")
    if status == 403:
        return Denied(_denied(message))
    if status == 404:
        # A path that is not served has a text body; a missing object has a Status.
        return NotFound(message) if body.get("kind") == "Status" and body.get("details") else NoSuchKind(no_operator())
    if status == 409:
        return Changed(message)
    if status in (429, 500, 502, 503, 504):
        return Unreachable(f"the API server cannot answer now ({status}): {message}")
    causes = (body.get("details") or {}).get("causes") or ()
    return SpecError("\n".join(_causes(causes)) or message)


def no_operator() -> str:
    """What to do where there are no Alignments."""
    return (
        f"this cluster has no Alignments ({GROUP}); install the operator: {INSTALL}\n"
        "or do without it: captionless render SPEC | kubectl apply -f -"
    )


def failed(error: Exception, host: str) -> CaptionlessError:
    """A call that brought no answer."""
    words = _line(error)
    if "CERTIFICATE_VERIFY_FAILED" in words or "certificate verify failed" in words:
        return SpecError(f"{host}: its certificate is not signed by the authority that the kubeconfig names")
    reason = next((r for r in _REASONS if r in words), "")
    return Unreachable(f"no answer from the API server at {host}: {_REASONS.get(reason, words)}")


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


def _denied(message: str) -> str:
    match = _DENIED.search(message)
    if match is None:
        return message  # a quota, an admission policy: their words
    resource = match["resource"] + (f".{match['group']}" if match["group"] else "")
    where = f" in namespace {match['namespace']}" if match["namespace"] else ""
    return f"no permission: {match['user']} may not {match['verb']} {resource}{where}; ask for a role that allows it"


def _causes(causes: Iterable[dict[str, Any]]) -> Iterable[str]:
    lines = (f"{c.get('field', '')}: {_line(c.get('message', ''))}".removeprefix(": ") for c in causes)
    return dict.fromkeys(lines)


def _line(words: object) -> str:
    return " ".join(str(words).split())
