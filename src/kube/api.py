"""The API server as the controller needs it: a few calls, and errors that say what to do.

    Refused       the server understood and will not: a person must change something
    Conflict      the object has changed meanwhile: look again
    Unavailable   try again later: it is away, or too busy

Objects are plain JSON both ways: the official client's models would read and write the same with ten
times the memory. Calls are retried here where that is safe and short; what goes on longer is for the
work queue.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import urllib3.exceptions
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from captionless.errors import CaptionlessError
from captionless.kube.jobs.jobset import API_VERSION as JOBSET_VERSION
from captionless.kube.jobs.names import MANAGED_BY
from captionless.kube.jobs.operator import VERSION

MANAGED = f"{MANAGED_BY}=captionless"
_PAGE = 500
_MERGE = "application/merge-patch+json"

Object = dict[str, Any]


class Refused(CaptionlessError):
    """The API server will not do it; `reason` is its word for why (Forbidden, Invalid, ...)."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


class Conflict(CaptionlessError):
    """The object was changed, or is another than was meant."""


class Unavailable(CaptionlessError):
    """The API server does not answer, or asks for patience."""


class Api(Protocol):
    """What the controller asks of a cluster. Names of kinds are Kubernetes'."""

    def list(self, kind: str) -> Iterator[Object]:
        """All objects of a kind in the namespaces that are watched: Alignments, and what we manage."""

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """An object, or None."""

    def ends(self, namespace: str) -> bool:
        """Whether a namespace is being deleted, or gone."""

    def create(self, manifest: Object) -> Object | None:
        """Makes an object; None when there is one of that name. Unknown fields are refused."""

    def delete(self, kind: str, namespace: str, name: str, uid: str = "", wait: bool = False) -> Object | None:
        """Removes an object (only if it has that uid), with what it owns: with `wait` it stays until that is gone.
        Its last state, or None when it is not there."""

    def patch_status(self, namespace: str, name: str, version: str, changes: Object) -> Object | None:
        """Changes an Alignment's status (a JSON merge patch), if it is of that version still; None when it is gone."""

    def patch(self, kind: str, namespace: str, name: str, changes: Object) -> None:
        """Changes an object by a JSON merge patch; nothing when it is gone."""


_CUSTOM = {
    "Alignment": (VERSION, "alignments"),
    "Job": ("batch/v1", "jobs"),
    "JobSet": (JOBSET_VERSION, "jobsets"),
    "Event": ("events.k8s.io/v1", "events"),
    "Lease": ("coordination.k8s.io/v1", "leases"),
}
_CORE = {"ConfigMap": "config_map", "Service": "service", "Pod": "pod"}


class KubernetesApi:
    """A real one, through the official client.

    namespaces: those to list; empty: all. guard: called before every request, may end the process.
    timeout: seconds to connect and to wait for an answer. tries: how often a call is made.
    """

    def __init__(
        self,
        api: client.ApiClient,
        namespaces: tuple[str, ...] = (),
        guard: Callable[[], None] = lambda: None,
        timeout: tuple[float, float] = (5.0, 30.0),
        tries: int = 4,
    ):
        self.namespaces, self.guard, self.timeout, self.tries = namespaces, guard, timeout, tries
        self.core, self.custom = client.CoreV1Api(api), client.CustomObjectsApi(api)

    def list(self, kind: str) -> Iterator[Object]:
        for namespace in self.namespaces or ("",):
            yield from self._pages(kind, namespace)

    def _pages(self, kind: str, namespace: str) -> Iterator[Object]:
        chosen: Object = {} if kind == "Alignment" else {"label_selector": MANAGED}
        token = ""
        while True:
            more: Object = {"_continue": token} if token else {}
            page = self._called(self._list_page, kind, namespace, limit=_PAGE, **chosen, **more)
            version = page.get("apiVersion", "")
            for item in page.get("items") or ():
                yield {"apiVersion": version, "kind": kind, **item}
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return

    def _list_page(self, kind: str, namespace: str, **options: Any) -> Object:
        if kind in _CORE:
            every = getattr(self.core, f"list_{_CORE[kind]}_for_all_namespaces")
            call = every if not namespace else getattr(self.core, f"list_namespaced_{_CORE[kind]}")
            return _json(call(*((namespace,) if namespace else ()), **options, _preload_content=False))
        version, plural = _CUSTOM[kind]
        group, v = version.split("/")
        if namespace:
            return _object(self.custom.list_namespaced_custom_object(group, v, namespace, plural, **options))
        return _object(self.custom.list_cluster_custom_object(group, v, plural, **options))

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        try:
            if kind in _CORE:
                call = getattr(self.core, f"read_namespaced_{_CORE[kind]}")
                found = self._called(lambda **o: _json(call(name, namespace, _preload_content=False, **o)))
            else:
                call = self.custom.get_namespaced_custom_object
                found = self._called(call, *self._path(kind, namespace), name)
        except NotFound:
            return None
        return {**found, "kind": kind}

    def ends(self, namespace: str) -> bool:
        try:
            found = self._called(lambda **o: _json(self.core.read_namespace(namespace, _preload_content=False, **o)))
        except NotFound:
            return True
        return bool((found.get("status") or {}).get("phase") == "Terminating")

    def create(self, manifest: Object) -> Object | None:
        kind, namespace = manifest["kind"], manifest["metadata"]["namespace"]
        try:
            if kind in _CORE:
                call = getattr(self.core, f"create_namespaced_{_CORE[kind]}")
                made = self._called(
                    lambda **o: _json(call(namespace, manifest, field_validation="Strict", _preload_content=False, **o))
                )
            else:
                call = self.custom.create_namespaced_custom_object
                made = self._called(call, *self._path(kind, namespace), manifest, field_validation="Strict")
        except _Exists:
            return None
        except NotFound as error:  # of the kind, or of the namespace
            raise Refused("NotFound", f"{kind} {manifest['metadata']['name']}: {error}") from None
        return {**made, "kind": kind}

    def delete(self, kind: str, namespace: str, name: str, uid: str = "", wait: bool = False) -> Object | None:
        body = client.V1DeleteOptions(
            propagation_policy="Foreground" if wait else "Background",
            preconditions=client.V1Preconditions(uid=uid) if uid else None,
        )
        try:
            if kind in _CORE:
                call = getattr(self.core, f"delete_namespaced_{_CORE[kind]}")
                gone = self._called(lambda **o: _json(call(name, namespace, body=body, _preload_content=False, **o)))
            else:
                call = self.custom.delete_namespaced_custom_object
                gone = self._called(call, *self._path(kind, namespace), name, body=body)
        except NotFound:
            return None
        return {**gone, "kind": kind} if "metadata" in gone and gone.get("kind") != "Status" else None

    def patch_status(self, namespace: str, name: str, version: str, changes: Object) -> Object | None:
        body = {"metadata": {"resourceVersion": version}, "status": changes}
        call = self.custom.patch_namespaced_custom_object_status
        try:
            options = {"field_validation": "Strict", "_content_type": _MERGE}
            return dict(self._called(call, *self._path("Alignment", namespace), name, body, **options))
        except NotFound:
            return None

    def patch(self, kind: str, namespace: str, name: str, changes: Object) -> None:
        try:
            call = self.custom.patch_namespaced_custom_object
            self._called(call, *self._path(kind, namespace), name, changes, _content_type=_MERGE)
        except NotFound:
            return

    def replace(self, manifest: Object) -> Object:
        """Puts an object in the place of the version that it was read as."""
        kind, metadata = manifest["kind"], manifest["metadata"]
        call = self.custom.replace_namespaced_custom_object
        found = self._called(call, *self._path(kind, metadata["namespace"]), metadata["name"], manifest)
        return {**found, "kind": kind}

    def _path(self, kind: str, namespace: str) -> tuple[str, str, str, str]:
        version, plural = _CUSTOM[kind]
        group, v = version.split("/")
        return group, v, namespace, plural

    def _called(self, call: Callable[..., Any], *given: Any, **options: Any) -> Any:
        """Makes a call, again where the server is busy or away for a moment; its errors become ours."""
        for left in reversed(range(self.tries)):
            self.guard()
            try:
                return call(*given, _request_timeout=self.timeout, **options)
            except ApiException as error:
                again = error.status in (429, 500, 502, 503, 504)
                if not again or not left:
                    raise translated(error) from None
                wait = float((error.headers or {}).get("Retry-After") or 0)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                if not left:
                    raise Unavailable(f"the API server does not answer: {error}") from None
                wait = 0.0
            time.sleep(max(wait, random.uniform(0.5, 1.0) * 2 ** (self.tries - 1 - left) / 4))
        raise AssertionError


class NotFound(CaptionlessError):
    """There is no such object, or no such kind."""


class _Exists(CaptionlessError):
    """There is an object of that name."""


def _object(found: Any) -> Object:
    return dict(found)


def _json(response: Any) -> Object:
    return dict(json.loads(response.data))


def translated(error: ApiException) -> CaptionlessError:
    """The client's exception as one of ours."""
    try:
        told: Mapping[str, Any] = json.loads(error.body or "")
    except (TypeError, ValueError):
        told = {}
    reason, message = str(told.get("reason") or error.reason or ""), str(told.get("message") or error.reason or "")
    if error.status == 404:
        return NotFound(message)
    if error.status == 409 and reason == "AlreadyExists":
        return _Exists(message)
    if error.status == 409:
        return Conflict(message)
    if error.status in (400, 403, 405, 406, 413, 415, 422):
        return Refused("".join(filter(str.isalnum, reason)) or "Refused", message)
    return Unavailable(f"{error.status} {message}")
