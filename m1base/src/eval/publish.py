"""Pushes a finished evaluation's figures to a Prometheus Pushgateway.

An evaluation is a batch job: by the time Prometheus scrapes, its process is gone. So the figures are pushed to a
Pushgateway, into a separate group that each push replaces as a whole, with the labels `job="captionless"`, `alignment`
and, in a cluster, `namespace`. The group exists until it is deleted; the controller deletes it when a run is removed.

Every column of the results table becomes a ratio from 0 to 1, e.g. captionless_eval_zero_shot_top1_ratio and
captionless_eval_gallery_image_to_shape_recall_at_1_ratio (`telemetry.catalog.EVAL_FIGURE`); the size of the test set
and the time of the push are pushed as well.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from prometheus_client import CollectorRegistry, Gauge, push_to_gateway
from prometheus_client.exposition import basic_auth_handler, default_handler

from captionless.errors import Retryable, SpecError, one_line
from captionless.eval import tables
from captionless.runtime.redaction import public
from captionless.runtime.retry import Backoff, Transient, retry
from captionless.telemetry import catalog

JOB = "captionless"
_GROUP = ("namespace", "alignment")
_BACKOFF = Backoff(first=1.0, longest=8.0, attempts=5)
_TIMEOUT_SECONDS = 15.0


def publish(gateway: str, alignment: str, namespace: str, results: Mapping[str, Any]) -> None:
    """Pushes the figures of `results` (see `eval.results`) to the Pushgateway at the URL `gateway`.

    SpecError for an invalid URL; Retryable when five attempts over 15 s failed.
    """
    registry = _registry(results)
    group = {"alignment": alignment} | ({"namespace": namespace} if namespace else {})

    def push() -> None:
        try:
            where, login = address(gateway)
            push_to_gateway(where, JOB, registry, group, _TIMEOUT_SECONDS, _handler(login))
        except (ValueError, http.client.InvalidURL) as error:
            raise SpecError(f"eval.pushgateway: {gateway}: {one_line(error)}; expected http://HOST:PORT") from None
        except (OSError, http.client.HTTPException) as error:  # urllib's errors are OSErrors
            raise Transient(one_line(error)) from error

    try:
        retry(push, _BACKOFF)
    except Transient as error:
        raise Retryable(
            f"{gateway}: the Pushgateway did not accept the figures ({error}); "
            "they are stored in results.json: rerun eval to push them"
        ) from error.__cause__


def _registry(results: Mapping[str, Any]) -> CollectorRegistry:
    registry = CollectorRegistry()
    about = results["provenance"]
    source = about["dataset"]
    dataset = public(source.get("url") or source["kind"])
    gauges: dict[tuple[str, ...], Gauge] = {}
    for figure in tables.run_figures(results):
        if figure.value is None:
            continue
        path = figure.column.path
        if path not in gauges:
            name = catalog.EVAL_FIGURE.name.format(figure="_".join(path).replace("@", "_at_"))
            text = f"{figure.column.heading.replace('→', 'to')} {figure.column.name} on the test objects."
            gauges[path] = Gauge(name, text, _own(catalog.EVAL_FIGURE), registry=registry)
        labels = (figure.run, figure.mode, figure.seed, dataset, about["prompt"]["name"],
                  about["protocol"]["gallery"]["views"])  # fmt: skip
        gauges[path].labels(*labels).set(figure.value)
    count, when = catalog.EVAL_OBJECTS, catalog.EVAL_LAST_SUCCESS
    objects = Gauge(count.name, count.text, _own(count), registry=registry)
    objects.labels(dataset).set(results["figures"]["objects"])
    Gauge(when.name, when.text, registry=registry).set_to_current_time()
    return registry


def _own(metric: catalog.Metric) -> tuple[str, ...]:
    """The labels that are not grouping labels."""
    return tuple(label for label in metric.labels if label not in _GROUP)


def address(gateway: str) -> tuple[str, tuple[str, str] | None]:
    """The URL without credentials, and the user and password if it has any. ValueError for an invalid URL."""
    parts = urlsplit(gateway)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not an http or https URL")
    if parts.username is None:
        return gateway, None
    login = (unquote(parts.username), unquote(parts.password or ""))
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(), login


def _handler(login: tuple[str, str] | None) -> Callable[..., Callable[[], None]]:
    """The request handler for a push, with basic authentication if the URL has credentials."""
    if login is None:
        return default_handler

    def authorised(
        url: str, method: str, timeout: float | None, headers: list[tuple[str, str]], data: bytes
    ) -> Callable[[], None]:
        return basic_auth_handler(url, method, timeout, headers, data, *login)

    return authorised
