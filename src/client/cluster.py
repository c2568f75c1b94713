"""The API server as these commands need it: a few calls on plain JSON objects, in one namespace.

Through the official client, by its raw responses: its models would turn every object inside out and
back. `snapshots` is the watch of KEP-365 as a loop over the whole state: whoever uses it need not know
of events, of versions that expired (410) or of connections that broke.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import urllib3.exceptions
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from captionless.client.access import Unreachable, failed, told
from captionless.kube.crd import PLURAL
from captionless.kube.jobs.operator import VERSION

Object = dict[str, Any]

_CUSTOM = {"Alignment": (*VERSION.split("/"), PLURAL), "Job": ("batch", "v1", "jobs")}
_TIMEOUT = (5.0, 30.0)
_WATCH = 50
"""Seconds that the server holds a watch; a connection that died unnoticed costs no more."""
_QUIET = 600.0
"""Seconds without a line after which a followed log is asked for anew."""
_PATIENCE = 120.0
"""Seconds that a watch which once worked waits for the API server to come back."""


class Cluster:
    """A namespace of a cluster."""

    def __init__(self, configuration: client.Configuration, namespace: str):
        self.namespace = namespace
        self.host = str(configuration.host)
        api = client.ApiClient(configuration)
        self.stopped = threading.Event()
        self._streams: set[Any] = set()
        self._core, self._custom = client.CoreV1Api(api), client.CustomObjectsApi(api)

    def stop(self) -> None:
        """Ends all watches and followed logs, of whichever thread, for good.

        A thread that still waits for the server when the interpreter ends can take the process down with it.
        """
        self.stopped.set()
        for response in list(self._streams):
            with suppress(OSError, ValueError):  # it ended by itself meanwhile
                response.shutdown()

    def get(self, kind: str, name: str) -> Object:
        """An object; NotFound."""
        if kind == "Pod":
            return self._json(self._core.read_namespaced_pod, name, self.namespace)
        return self._json(self._custom.get_namespaced_custom_object, *self._path(kind), name)

    def list(self, kind: str, selector: str = "") -> list[Object]:
        """The objects of a kind, of those labels."""
        return list(self._page(kind, {"label_selector": selector} if selector else {})["items"])

    def create(self, kind: str, manifest: Object, dry_run: bool = False) -> Object:
        """Makes an object; a field that the server does not know is an error."""
        options = {"dry_run": "All"} if dry_run else {}
        call = self._custom.create_namespaced_custom_object
        return self._json(call, *self._path(kind), manifest, field_validation="Strict", **options)

    def patch(self, kind: str, name: str, changes: Object, dry_run: bool = False) -> Object:
        """Changes an object by a JSON merge patch (RFC 7396)."""
        options = {"dry_run": "All"} if dry_run else {}
        call = self._custom.patch_namespaced_custom_object
        return self._json(call, *self._path(kind), name, changes, field_validation="Strict", **options)

    def delete(self, kind: str, name: str, uid: str) -> None:
        """Removes the object that has that uid; the garbage collector follows with what it owns."""
        body = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        self._json(self._custom.delete_namespaced_custom_object, *self._path(kind), name, body=body)

    def log(
        self, pod: str, container: str, follow: bool, tail: int | None = None, since_seconds: int | None = None
    ) -> Iterator[bytes]:
        """The lines of a container's log, each begun by its time; not those older than so many seconds."""
        options = {k: v for k, v in (("tail_lines", tail), ("since_seconds", since_seconds)) if v is not None}
        call = partial(self._core.read_namespaced_pod_log, pod, self.namespace, container=container, timestamps=True)
        yield from self._lines(self._called(call, follow=follow, timeout=(_TIMEOUT[0], _QUIET), **options))

    def snapshots(self, kind: str, selector: str = "", name: str = "") -> Iterator[dict[str, Object]]:
        """The objects of a kind by name: now, and again after every change, until `stop`.

        An error of the first look is raised; later the server may be away for two minutes.
        """
        selectors = {"label_selector": selector, "field_selector": name and f"metadata.name={name}"}
        options = {k: v for k, v in selectors.items() if v}
        answered = 0.0
        while not self.stopped.is_set():
            try:
                page = self._page(kind, options)
                answered = time.monotonic()
                found = {str(o["metadata"]["name"]): o for o in page["items"]}
                yield dict(found)
                version = str(page["metadata"]["resourceVersion"])
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
            except _Expired:
                continue
            except Unreachable:
                if self.stopped.is_set():
                    return
                if not answered or time.monotonic() - answered > _PATIENCE:
                    raise
                self.stopped.wait(1)

    def _events(self, kind: str, version: str, options: Object) -> Iterator[Object]:
        response = self._called(
            self._lister(kind),
            watch=True,
            resource_version=version,
            allow_watch_bookmarks=True,
            timeout_seconds=_WATCH,
            timeout=(_TIMEOUT[0], _WATCH + 10.0),
            **options,
        )
        for line in self._lines(response):
            event: Object = json.loads(line)
            if event["type"] == "ERROR":
                code = int(event["object"].get("code") or 500)
                raise _Expired if code == 410 else told(code, json.dumps(event["object"]))
            yield event

    def _page(self, kind: str, options: Object) -> Object:
        return self._json(self._lister(kind), **options)

    def _lister(self, kind: str) -> Callable[..., Any]:
        if kind == "Pod":
            return partial(self._core.list_namespaced_pod, self.namespace)
        return partial(self._custom.list_namespaced_custom_object, *self._path(kind))

    def _path(self, kind: str) -> tuple[str, str, str, str]:
        group, version, plural = _CUSTOM[kind]
        return group, version, self.namespace, plural

    def _json(self, call: Callable[..., Any], *given: Any, **options: Any) -> Object:
        response = self._called(call, *given, **options)
        with self._answering():
            found: Object = json.loads(response.data)
        return found

    def _called(
        self, call: Callable[..., Any], *given: Any, timeout: tuple[float, float] = _TIMEOUT, **options: Any
    ) -> Any:
        """The raw response of a call that went well."""
        with self._answering():
            response = call(*given, _preload_content=False, _request_timeout=timeout, **options)
            if response.status >= 400:
                raise told(response.status, response.data.decode(errors="replace"))
        return response

    def _lines(self, response: Any) -> Iterator[bytes]:
        """The lines of a response as they come; the last may lack its end."""
        rest = b""
        self._streams.add(response)
        try:
            if self.stopped.is_set():
                return
            with self._answering():
                for chunk in response.stream(amt=None, decode_content=False):
                    *whole, rest = (rest + chunk).split(b"\n")
                    yield from whole
            if rest:
                yield rest
        finally:
            self._streams.discard(response)
            response.close()

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """The client's exceptions as ours."""
        try:
            yield
        except ApiException as error:
            if not error.status:
                raise failed(error, self.host) from None
            raise told(error.status, str(error.body)) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise failed(error, self.host) from None


class _Expired(Exception):
    """The version that a watch should go on from is too old."""
