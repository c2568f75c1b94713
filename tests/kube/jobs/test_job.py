"""What is made for a stage: a sharded Job, a training's Job and Service, a JobSet, and all of it in a queue."""

from __future__ import annotations

import yaml

from captionless.kube.jobs import Owner
from captionless.spec import load
from tests.kube.jobs.build import job, objects, spec


def test_a_sharded_stage() -> None:
    config, made = objects("embed", "resources.workers=4")
    assert (config["kind"], made["kind"]) == ("ConfigMap", "Job")
    body = made["spec"]
    assert (body["completionMode"], body["completions"], body["parallelism"]) == ("Indexed", 4, 4)
    assert body["backoffLimitPerIndex"] == 3
    assert body["podReplacementPolicy"] == "Failed"
    assert "maxFailedIndexes" not in body  # a bad shard does not stop the others
    assert "successPolicy" not in body
    assert "suspend" not in body


def test_a_training() -> None:
    config, service, made = objects("train-avg-seed0", "resources.nodes=3")
    assert [o["kind"] for o in (config, service, made)] == ["ConfigMap", "Service", "Job"]
    assert made["spec"]["completions"] == made["spec"]["parallelism"] == 3
    assert made["spec"]["maxFailedIndexes"] == 0
    assert made["spec"]["successPolicy"] == {"rules": [{"succeededIndexes": "0"}]}
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    template = made["spec"]["template"]
    assert template["spec"]["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()


def test_everything_belongs_to_the_alignment_and_can_be_found_by_label() -> None:
    for made in objects("train-avg-seed0"):
        [owner] = made["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"]) == ("Alignment", "shapes", "uid-1")
        assert owner["controller"] is True
        assert owner["blockOwnerDeletion"] is False  # no right to set finalizers is needed
        assert "finalizers" not in made["metadata"]
        assert made["metadata"]["namespace"] == "lab"
        assert made["metadata"]["labels"]["captionless.dev/alignment"] == "shapes"
    for made in objects("embed", owner=Owner("shapes")):
        assert "ownerReferences" not in made["metadata"]
        assert "namespace" not in made["metadata"]


def test_the_pods_read_the_spec_that_was_given() -> None:
    config, _ = objects("embed", "train.steps=77")
    assert config["immutable"] is True
    assert load.build_spec(yaml.safe_load(config["data"]["spec.yaml"])) == spec("train.steps=77")


def test_a_queue_gets_the_job_suspended_and_labelled() -> None:
    made = job("embed", "queue=lab")
    assert made["spec"]["suspend"] is True
    assert made["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "lab"
    assert "kueue.x-k8s.io/queue-name" not in made["spec"]["template"]["metadata"]["labels"]


def test_a_jobset_holds_the_same_job() -> None:
    overrides = ("resources.nodes=2", "train.engine=jobset")
    config, made = objects("train-avg-seed0", *overrides)
    assert (config["kind"], made["kind"]) == ("ConfigMap", "JobSet")  # JobSet brings the Service
    [replicated] = made["spec"]["replicatedJobs"]
    alone = job("train-avg-seed0", "resources.nodes=2")["spec"]
    inner = replicated["template"]["spec"]
    for field in ("completions", "parallelism", "podFailurePolicy", "successPolicy", "maxFailedIndexes"):
        assert inner[field] == alone[field]
    [rendezvous] = [
        e["value"] for e in inner["template"]["spec"]["containers"][0]["env"] if e["name"] == "CAPTIONLESS_RENDEZVOUS"
    ]
    name = made["metadata"]["name"]
    assert rendezvous == f"{name}-nodes-0-0.{name}:29400"
    assert made["spec"]["network"]["publishNotReadyAddresses"] is True
    assert job("embed", "train.engine=jobset")["kind"] == "Job"  # shards need no gang


def test_a_queued_jobset_is_queued_once() -> None:
    made = job("train-avg-seed0", "train.engine=jobset", "queue=lab")
    assert made["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "lab"
    assert made["spec"]["suspend"] is True
    [replicated] = made["spec"]["replicatedJobs"]
    assert "kueue.x-k8s.io/queue-name" not in replicated["template"]["metadata"]["labels"]
    assert "suspend" not in replicated["template"]["spec"]
