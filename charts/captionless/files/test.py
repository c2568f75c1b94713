"""helm test: the controller is ready and holds the Lease, and the API server validates Alignments.

Nothing is created: the Alignments are sent as a dry run.
"""

import datetime
import json
import os
import time
import urllib.error
import urllib.request

from kubernetes import client, config

NAMESPACE, HEALTH, LEASE = os.environ["POD_NAMESPACE"], os.environ["HEALTH"], "captionless-controller"
GOOD = {"output": "s3://bucket/run", "suspend": True, "data": {"source": {"kind": "parametric"}}}


def ready(seconds):
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"{HEALTH}/readyz", timeout=5) as answer:
                return answer.status
        except OSError as error:
            if time.monotonic() > deadline:
                raise SystemExit(f"FAILED: {HEALTH}/readyz: {error}") from error
            time.sleep(1)


def leader():
    lease = client.CoordinationV1Api().read_namespaced_lease(LEASE, NAMESPACE).spec
    age = (datetime.datetime.now(datetime.UTC) - lease.renew_time).total_seconds()
    if not lease.holder_identity or age > 2 * lease.lease_duration_seconds:
        raise SystemExit(f"FAILED: lease {LEASE}: held by {lease.holder_identity or 'nobody'}, renewed {age:.0f} s ago")
    return lease.holder_identity


def answer(spec):
    """The API server's answer to an Alignment: '' or the error."""
    body = {
        "apiVersion": "captionless.dev/v1alpha1",
        "kind": "Alignment",
        "metadata": {"name": "helm-test"},
        "spec": spec,
    }
    try:
        client.CustomObjectsApi().create_namespaced_custom_object(
            "captionless.dev", "v1alpha1", NAMESPACE, "alignments", body, dry_run="All", field_validation="Strict"
        )
    except client.ApiException as error:
        return json.loads(error.body)["message"]
    return ""


def refused(spec, field):
    said = answer(spec)
    if field not in said:
        raise SystemExit(f"FAILED: expected an error that names {field}; the API server answered: {said or 'accepted'}")
    print(f"ok: an invalid Alignment is rejected: {said}")


config.load_incluster_config()
print(f"ok: the controller is ready ({ready(60)})")
print(f"ok: {leader()} holds the lease {LEASE}")
if said := answer(GOOD):
    raise SystemExit(f"FAILED: a valid Alignment was rejected: {said}")
print("ok: a valid Alignment is accepted")
refused({**GOOD, "train": {"stpes": 5}}, "spec.train.stpes")
refused({**GOOD, "train": {"points": 20000}}, "spec.train.points")
