"""A finished evaluation's figures for Prometheus, by way of a Pushgateway.

An evaluation is a batch's outcome: when Prometheus comes to scrape, its process is gone. So the figures are left with
a Pushgateway, in a group of their own that each push replaces as a whole, under `job="captionless"`, `alignment` and,
in a cluster, `namespace`. It keeps them until somebody deletes the group, as the controller does when a run is removed.

A figure is a share, 0 to 1, of every column of the table, as captionless_eval_zero_shot_top1_ratio and
captionless_eval_gallery_image_to_shape_recall_at_1_ratio (`metrics.EVAL_FIGURE`); beside them are the size of the test
set and when they were pushed.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from prometheus_client import CollectorRegistry, Gauge, push_to_gateway
from prometheus_client.exposition import basic_auth_handler, default_handler

from captionless.errors import Retryable, SpecError, one_line
from captionless.eval import tables
from captionless.runtime.redaction import redacted
from captionless.telemetry import catalog

JOB = "captionless"
_GROUP = ("namespace", "alignment")
_PAUSES_SECONDS = (1.0, 2.0, 4.0, 8.0)
_TIMEOUT_SECONDS = 15.0


def publish(gateway: str, alignment: str, namespace: str, results: Mapping[str, Any]) -> None:
    """Leaves the figures of `results` (see `eval.results`) with the Pushgateway whose URL is `gateway`.

    SpecError for what is no URL; Retryable when the gateway did not take them, tried five times over 15 s.
    """
    registry = _registry(results)
    group = {"alignment": alignment} | ({"namespace": namespace} if namespace else {})
    for pause in (*_PAUSES_SECONDS, None):
        try:
            where, login = address(gateway)
            push_to_gateway(where, JOB, registry, group, _TIMEOUT_SECONDS, _handler(login))
            return
        except (ValueError, http.client.InvalidURL) as error:
            raise SpecError(f"eval.pushgateway: {gateway}: {one_line(error)}; expected http://HOST:PORT") from None
        except (OSError, http.client.HTTPException) as error:  # urllib's errors are of OSError
            if pause is None:
                raise Retryable(
                    f"{gateway}: the Pushgateway did not take the figures ({one_line(error)}); "
                    "they are stored in results.json, run eval again to push them"
                ) from error
        time.sleep(pause)


def _registry(results: Mapping[str, Any]) -> CollectorRegistry:
    registry = CollectorRegistry()
    about = results["provenance"]
    source = about["dataset"]
    dataset = redacted(source.get("url") or source["kind"])
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
    """The labels that are not the group's."""
    return tuple(label for label in metric.labels if label not in _GROUP)


def address(gateway: str) -> tuple[str, tuple[str, str] | None]:
    """The URL without its user and password, and these. ValueError for what is no URL."""
    parts = urlsplit(gateway)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not a URL of http or https")
    if parts.username is None:
        return gateway, None
    login = (unquote(parts.username), unquote(parts.password or ""))
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(), login


def _handler(login: tuple[str, str] | None) -> Callable[..., Callable[[], None]]:
    """What sends a push, with the user and password as a header if there are any."""
    if login is None:
        return default_handler

    def authorised(
        url: str, method: str, timeout: float | None, headers: list[tuple[str, str]], data: bytes
    ) -> Callable[[], None]:
        return basic_auth_handler(url, method, timeout, headers, data, *login)

    return authorised
