"""The Kubernetes API, as the controller and `captionless k8s` use it: a few calls on plain JSON objects.

It uses the raw responses of the official client, whose models would take ten times the memory for the same content.
Errors are those of `api_errors`. Calls are retried here if that is safe and short; the work queue retries the rest.

`snapshots` is a watch (KEP-365) as a loop over the whole state: its caller need not handle events, expired resource
versions (410) or broken connections.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Protocol

import urllib3.exceptions
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from captionless.kube.api_errors import (
    AlreadyExists,
    Expired,
    NoSuchKind,
    NotFound,
    Unavailable,
    from_failure,
    from_response,
)
from captionless.kube.jobs.jobset import API_VERSION as JOBSET_VERSION
from captionless.kube.jobs.names import MANAGED_BY
from captionless.kube.jobs.operator import KIND, PLURAL, VERSION
from captionless.runtime.retry import Backoff, Transient, retry

Object = dict[str, Any]

MANAGED = f"{MANAGED_BY}=captionless"
RETRIES = Backoff(first=0.25, longest=600.0, attempts=4, jitter=0.5)
"""For calls that nobody waits for. The pauses stay below a second, unless the server asks for more."""
ONCE = Backoff(first=0.0, longest=0.0, attempts=1)

_PAGE = 500
_MERGE = "application/merge-patch+json"
_WATCH = 50
"""Seconds that the server holds a watch, which bounds how long a dead connection goes unnoticed."""
_QUIET = 600.0
"""Seconds without a line after which a followed log is requested again."""
_PATIENCE = 120.0
"""Seconds that a watch which worked before waits for the API server to come back."""


class Api(Protocol):
    """What the controller asks of a cluster. Names of kinds are Kubernetes'."""

    def list(self, kind: str, *, namespace: str = "") -> Iterator[Object]:
        """All objects of a kind in a namespace, or in all that are watched: Alignments, and what we manage."""

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """An object, or None."""

    def namespace_terminating(self, namespace: str) -> bool:
        """Whether a namespace is being deleted, or gone."""

    def create(self, manifest: Object, *, dry_run: bool = False) -> Object | None:
        """Creates an object; None when there is one of that name. Unknown fields are refused."""

    def delete(self, kind: str, namespace: str, name: str, uid: str = "", wait: bool = False) -> Object | None:
        """Deletes an object (only if it has that uid), with what it owns: with `wait` it stays until that is gone.
        The object while it stays, the server's Status when it is gone at once, None when it was not there."""

    def patch_status(self, namespace: str, name: str, version: str, changes: Object) -> Object | None:
        """Changes an Alignment's status by a JSON merge patch, if it still is of that version; None when it is gone."""

    def patch(self, kind: str, namespace: str, name: str, changes: Object) -> Object | None:
        """Changes an object by a JSON merge patch (RFC 7396); None when it is gone. Unknown fields are refused."""


_CUSTOM = {
    KIND: (VERSION, PLURAL),
    "Job": ("batch/v1", "jobs"),
    "JobSet": (JOBSET_VERSION, "jobsets"),
    "Event": ("events.k8s.io/v1", "events"),
    "Lease": ("coordination.k8s.io/v1", "leases"),
}
_CORE = {"ConfigMap": "config_map", "Service": "service", "Pod": "pod"}


class KubernetesApi:
    """A real one, through the official client.

    namespaces: those to list; empty: all. guard: called before every request, may end the process.
    timeout: seconds to connect and to wait for an answer. backoff: how requests are retried.
    """

    def __init__(
        self,
        api: client.ApiClient,
        namespaces: tuple[str, ...] = (),
        guard: Callable[[], None] = lambda: None,
        timeout: tuple[float, float] = (5.0, 30.0),
        backoff: Backoff = RETRIES,
    ):
        self.host, self.namespaces = str(api.configuration.host), namespaces
        self.guard, self.timeout, self.backoff = guard, timeout, backoff
        self.stopped = threading.Event()
        self._core, self._custom = client.CoreV1Api(api), client.CustomObjectsApi(api)
        self._streams: set[Any] = set()

    @property
    def namespace(self) -> str:
        """The namespace of a client that works in one."""
        (only,) = self.namespaces
        return only

    # -- objects

    def list(self, kind: str, selector: str = "", namespace: str = "") -> Iterator[Object]:
        """The objects of a kind: Alignments, and of other kinds what we manage or what the label selector chooses.
        namespace: one of those to list, if not all."""
        for each in (namespace,) if namespace else self.namespaces or ("",):
            for page in self._pages(kind, each, _selected(kind, selector)):
                yield from _items(kind, page)

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """An object, or None when there is none of that name."""
        try:
            if kind in _CORE:
                call = partial(getattr(self._core, f"read_namespaced_{_CORE[kind]}"), name, namespace)
            else:
                call = partial(self._custom.get_namespaced_custom_object, *_path(kind, namespace), name)
            return {**self._json(kind, call), "kind": kind}
        except NotFound:
            return None

    def namespace_terminating(self, namespace: str) -> bool:
        """Whether a namespace is being deleted, or gone."""
        try:
            found = self._json("Namespace", partial(self._core.read_namespace, namespace))
        except NotFound:
            return True
        return bool((found.get("status") or {}).get("phase") == "Terminating")

    def create(self, manifest: Object, namespace: str = "", dry_run: bool = False) -> Object | None:
        """Creates an object; None if one of that name exists. A field that the server doesn't know is an error.

        `namespace` applies if the manifest has none.
        """
        kind, namespace = manifest["kind"], namespace or manifest["metadata"]["namespace"]
        if kind in _CORE:
            call = partial(getattr(self._core, f"create_namespaced_{_CORE[kind]}"), namespace, manifest)
        else:
            call = partial(self._custom.create_namespaced_custom_object, *_path(kind, namespace), manifest)
        try:
            made = self._json(kind, call, field_validation="Strict", **_dry(dry_run))
        except AlreadyExists:
            return None
        return {**made, "kind": kind}

    def patch(self, kind: str, namespace: str, name: str, changes: Object, dry_run: bool = False) -> Object | None:
        """Changes an object by a JSON merge patch (RFC 7396); None when it is gone. Unknown fields are refused."""
        call = partial(self._custom.patch_namespaced_custom_object, *_path(kind, namespace), name, changes)
        try:
            return self._json(kind, call, field_validation="Strict", _content_type=_MERGE, **_dry(dry_run))
        except (NotFound, NoSuchKind):
            return None

    def patch_status(self, namespace: str, name: str, version: str, changes: Object) -> Object | None:
        """Changes an Alignment's status by a JSON merge patch, if it still is of that version; None when it is gone."""
        body = {"metadata": {"resourceVersion": version}, "status": changes}
        call = partial(self._custom.patch_namespaced_custom_object_status, *_path(KIND, namespace), name, body)
        try:
            return self._json(KIND, call, field_validation="Strict", _content_type=_MERGE)
        except (NotFound, NoSuchKind):
            return None

    def replace(self, manifest: Object) -> Object:
        """Replaces the version of an object that was read. Conflict when it was changed since."""
        kind, metadata = manifest["kind"], manifest["metadata"]
        call = self._custom.replace_namespaced_custom_object
        path = _path(kind, metadata["namespace"])
        return {**self._json(kind, partial(call, *path, metadata["name"], manifest)), "kind": kind}

    def delete(self, kind: str, namespace: str, name: str, uid: str = "", wait: bool = False) -> Object | None:
        """Deletes an object (only if it has that uid); the garbage collector follows with what it owns.

        With `wait` the object exists until everything that it owns is deleted. Returns the object if it still exists,
        the server's Status if it was deleted at once, None if there was no such object.
        """
        body: Object = {"propagationPolicy": "Foreground" if wait else "Background"}
        if uid:
            body["preconditions"] = {"uid": uid}
        if kind in _CORE:
            call = partial(getattr(self._core, f"delete_namespaced_{_CORE[kind]}"), name, namespace)
        else:
            call = partial(self._custom.delete_namespaced_custom_object, *_path(kind, namespace), name)
        try:
            return self._json(kind, call, body=body)
        except (NotFound, NoSuchKind):
            return None

    # -- streams, of the one namespace

    def stop(self) -> None:
        """Ends all watches and followed logs, of whichever thread, for good.

        A thread that still waits for the server when the interpreter ends can take the process down with it.
        """
        self.stopped.set()
        for response in list(self._streams):
            with suppress(OSError, ValueError):  # it ended by itself meanwhile
                response.shutdown()

    def log(
        self, pod: str, container: str, follow: bool, tail: int | None = None, since_seconds: int | None = None
    ) -> Iterator[bytes]:
        """The lines of a container's log, each with its time in front; not those older than `since_seconds`."""
        options = {k: v for k, v in (("tail_lines", tail), ("since_seconds", since_seconds)) if v is not None}
        call = partial(self._core.read_namespaced_pod_log, pod, self.namespace, container=container, timestamps=True)
        response = self._requested("Pod", call, follow=follow, timeout=(self.timeout[0], _QUIET), **options)
        yield from self._lines("Pod", response)

    def snapshots(self, kind: str, selector: str = "", name: str = "") -> Iterator[dict[str, Object]]:
        """The objects of a kind by name: now, and again after every change, until `stop`.

        An error of the first request is raised; later the server may be unavailable for two minutes.
        """
        selectors = {"label_selector": selector, "field_selector": name and f"metadata.name={name}"}
        options = {k: v for k, v in selectors.items() if v}
        answered = 0.0
        while not self.stopped.is_set():
            try:
                found, version = dict[str, Object](), ""
                for page in self._pages(kind, self.namespace, options):
                    found |= {str(o["metadata"]["name"]): o for o in _items(kind, page)}
                    version = str(page["metadata"]["resourceVersion"])
                answered = time.monotonic()
                yield dict(found)
                while not self.stopped.is_set():
                    for event in self._events(kind, version, options):
                        item = event["object"]
                        version = str(item["metadata"]["resourceVersion"])
                        if event["type"] == "BOOKMARK":
                            continue
                        if event["type"] == "DELETED":
                            found.pop(item["metadata"]["name"], None)
                        else:
                            found[item["metadata"]["name"]] = item
                        yield dict(found)
                    answered = time.monotonic()
            except Expired:
                continue
            except Unavailable:
                if self.stopped.is_set():
                    return
                if not answered or time.monotonic() - answered > _PATIENCE:
                    raise
                self.stopped.wait(1)

    def _events(self, kind: str, version: str, options: Mapping[str, str]) -> Iterator[Object]:
        response = self._requested(
            kind,
            self._lister(kind, self.namespace),
            watch=True,
            resource_version=version,
            allow_watch_bookmarks=True,
            timeout_seconds=_WATCH,
            timeout=(self.timeout[0], _WATCH + 10.0),
            **options,
        )
        for line in self._lines(kind, response):
            event: Object = json.loads(line)
            if event["type"] == "ERROR":
                raise from_response(int(event["object"].get("code") or 500), json.dumps(event["object"]), kind)
            yield event

    def _lines(self, kind: str, response: Any) -> Iterator[bytes]:
        """The lines of a response as they come; the last may lack its end."""
        rest = b""
        self._streams.add(response)
        try:
            if self.stopped.is_set():
                return
            with self._translating(kind):
                for chunk in response.stream(amt=None, decode_content=False):
                    *whole, rest = (rest + chunk).split(b"\n")
                    yield from whole
            if rest:
                yield rest
        finally:
            self._streams.discard(response)
            response.close()

    # -- requests

    def _pages(self, kind: str, namespace: str, options: Mapping[str, str]) -> Iterator[Object]:
        token = ""
        while True:
            more = {"_continue": token} if token else {}
            page = self._json(kind, self._lister(kind, namespace), limit=_PAGE, **options, **more)
            yield page
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return

    def _lister(self, kind: str, namespace: str) -> Callable[..., Any]:
        """The call that lists a kind in a namespace, or in all."""
        if kind in _CORE and namespace:
            return partial(getattr(self._core, f"list_namespaced_{_CORE[kind]}"), namespace)
        if kind in _CORE:
            found: Callable[..., Any] = getattr(self._core, f"list_{_CORE[kind]}_for_all_namespaces")
            return found
        group, version, _, plural = _path(kind, namespace)
        if namespace:
            return partial(self._custom.list_namespaced_custom_object, group, version, namespace, plural)
        return partial(self._custom.list_cluster_custom_object, group, version, plural)

    def _json(self, kind: str, call: Callable[..., Any], **options: Any) -> Object:
        """The object in the answer to a call."""
        return dict(self._retried(kind, lambda: json.loads(_response(call, self.timeout, options).data)))

    def _requested(self, kind: str, call: Callable[..., Any], timeout: tuple[float, float], **options: Any) -> Any:
        """The response to a call, to be read piece by piece."""
        return self._retried(kind, lambda: _response(call, timeout, options))

    def _retried(self, kind: str, request: Callable[[], Any]) -> Any:
        """Makes a request, and repeats it while the server is overloaded or unavailable."""

        def attempt() -> Any:
            self.guard()
            try:
                with self._translating(kind):
                    return request()
            except Unavailable as error:
                raise Transient(str(error), error.retry_after) from error

        try:
            return retry(attempt, self.backoff)
        except Transient as error:
            raise error.__cause__ or error from None

    @contextmanager
    def _translating(self, kind: str) -> Iterator[None]:
        """Raises the official client's exceptions as those of `api_errors`."""
        try:
            yield
        except ApiException as error:
            if not error.status:
                raise from_failure(error, self.host) from None
            wait = (error.headers or {}).get("Retry-After") or ""
            raise from_response(error.status, str(error.body or ""), kind, str(error.reason or ""), wait) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise from_failure(error, self.host) from None


def _response(call: Callable[..., Any], timeout: tuple[float, float], options: Mapping[str, Any]) -> Any:
    return call(_preload_content=False, _request_timeout=timeout, **options)


def _selected(kind: str, selector: str) -> dict[str, str]:
    chosen = selector or ("" if kind == KIND else MANAGED)
    return {"label_selector": chosen} if chosen else {}


def _items(kind: str, page: Object) -> Iterator[Object]:
    """The objects of a list, each with the kind and version that only the list has."""
    return ({"apiVersion": page.get("apiVersion", ""), "kind": kind, **item} for item in page.get("items") or ())


def _path(kind: str, namespace: str) -> tuple[str, str, str, str]:
    version, plural = _CUSTOM[kind]
    group, v = version.split("/")
    return group, v, namespace, plural


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dry_run": "All"} if dry_run else {}
