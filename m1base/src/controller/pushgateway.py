"""Deleting the metrics of deleted Alignments from the Pushgateway.

An evaluation pushes its figures under `job="captionless"`, its namespace and the Alignment's name, and a
Pushgateway keeps them forever. An Alignment's deletion does not wait for their removal (there is no
finalizer); instead the groups are periodically compared with the existing Alignments.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator
from urllib.parse import quote

import urllib3

from captionless.eval.publish import JOB, address
from captionless.kube.observed_state import Key

log = logging.getLogger(__name__)

_http = urllib3.PoolManager(num_pools=1, timeout=urllib3.Timeout(connect=2.0, read=10.0), retries=1)


def sweep(url: str, alive: Collection[Key], namespaces: Collection[str]) -> int:
    """Deletes the groups of Alignments that are not `alive`, in these namespaces (empty: all); returns how many.

    If the gateway does not answer, that is logged and the next sweep tries again.
    """
    removed = 0
    try:
        for namespace, name in list(groups(url)):
            if (namespace, name) in alive or (namespaces and namespace not in namespaces):
                continue
            path = f"/metrics/job/{JOB}/namespace/{quote(namespace, safe='')}/alignment/{quote(name, safe='')}"
            answer = _request("DELETE", url, path)
            if answer.status >= 300:
                raise ValueError(f"DELETE {path}: status {answer.status}")
            log.info("%s/%s: deleted its metrics from the Pushgateway", namespace, name)
            removed += 1
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        log.warning("Pushgateway: %s", error)
    return removed


def groups(url: str) -> Iterator[Key]:
    """The Alignments whose metrics the gateway has. ValueError for any other answer."""
    answer = _request("GET", url, "/api/v1/metrics")
    if answer.status != 200:
        raise ValueError(f"GET /api/v1/metrics: status {answer.status}")
    for group in json.loads(answer.data).get("data") or ():
        labels = group.get("labels") or {}
        if labels.get("job") == JOB and labels.get("alignment") and labels.get("namespace"):
            yield (labels["namespace"], labels["alignment"])


def _request(method: str, gateway: str, path: str) -> urllib3.BaseHTTPResponse:
    url, login = address(gateway)
    headers = urllib3.make_headers(basic_auth=":".join(login)) if login else None
    return _http.request(method, url.rstrip("/") + path, headers=headers)
