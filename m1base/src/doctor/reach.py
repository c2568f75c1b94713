"""Checks of remote services: object storage, a cluster with the operator, a Pushgateway."""

from __future__ import annotations

import os
import time
import uuid

from captionless.doctor.finding import Finding, Subject, Verdict
from captionless.errors import CaptionlessError
from captionless.store import objects, ranged_reads

_NAME = "captionless-doctor"


def storage(subject: Subject) -> Finding:
    """Writes a small object, reads ranges of it, and deletes it."""
    if not subject.storage:
        return Finding(Verdict.absent, "not specified", "pass --storage URL, or a SPEC with an output")
    objects.check(subject.storage)
    url = objects.join(subject.storage, f"{_NAME}-{uuid.uuid4().hex}")
    data = os.urandom(1 << 16)
    began = time.monotonic()
    objects.write_bytes(url, data)
    try:
        read = ranged_reads.read_ranges(url, [(100, 200), (40_000, 60_000)])
        names = objects.list_names(subject.storage)
    finally:
        objects.remove(url)
    if read != [data[100:200], data[40_000:60_000]] or url.rpartition("/")[2] not in names:
        return Finding(
            Verdict.failed, f"{subject.storage} returns different bytes than were written", "use another storage"
        )
    milliseconds = (time.monotonic() - began) * 1000
    return Finding(Verdict.ok, f"{subject.storage}: write, range read, list and delete took {milliseconds:.0f} ms")


def cluster(subject: Subject) -> Finding:
    """Whether the operator is installed and would accept an Alignment of this user, as a dry run."""
    from captionless.kube.api_errors import INSTALL, NoSuchKind
    from captionless.kube.connection import connect
    from captionless.kube.jobs.operator import KIND, VERSION

    try:
        reached = connect(subject.context or None, subject.namespace or None)
    except CaptionlessError as error:
        if subject.context or os.environ.get("KUBECONFIG"):
            raise
        return Finding(Verdict.absent, str(error), "only needed for runs on a cluster")
    manifest = {
        "apiVersion": VERSION, "kind": KIND, "metadata": {"name": _NAME},
        "spec": {"output": "s3://bucket/folder", "data": {"source": {"kind": "parametric"}}},
    }  # fmt: skip
    where = f"{reached.host}, namespace {reached.namespace}"
    try:
        any(reached.list(KIND))
        reached.create(manifest, reached.namespace, dry_run=True)
    except NoSuchKind:
        return Finding(Verdict.warning, f"{where}: the operator is not installed", f"install the operator: {INSTALL}")
    return Finding(Verdict.ok, f"{where}: accepts Alignments (dry run)")


def pushgateway(subject: Subject) -> Finding:
    """Whether it is ready."""
    import http.client
    import urllib.request

    from captionless.eval.publish import address

    if not subject.pushgateway:
        return Finding(Verdict.absent, "not specified", "to push figures to Prometheus, set eval.pushgateway")
    try:
        where, _ = address(subject.pushgateway)
        with urllib.request.urlopen(f"{where.rstrip('/')}/-/ready", timeout=10) as answer:
            return Finding(Verdict.ok, f"{where}: ready (HTTP {answer.status})")
    except ValueError as error:
        return Finding(Verdict.failed, f"eval.pushgateway: {error}", "expected http://HOST:PORT")
    except (OSError, http.client.HTTPException) as error:
        found = f"{where}: {getattr(error, 'reason', None) or error}"
        return Finding(Verdict.failed, found, "figures remain in results.json; check that it is running", passing=True)
