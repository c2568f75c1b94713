"""Where pods may run."""

from __future__ import annotations

from tests.kube.jobs.build import pod


def test_a_lost_node_is_left_after_half_a_minute() -> None:
    lost = {t["key"]: t["tolerationSeconds"] for t in pod("embed")["tolerations"]}
    assert lost == {"node.kubernetes.io/not-ready": 30, "node.kubernetes.io/unreachable": 30}


def test_selectors_tolerations_and_priority_are_the_specs() -> None:
    found = pod(
        "embed",
        "pods.nodeSelector={pool: gpu}",
        "pods.tolerations=[{key: gpu, operator: Exists, effect: NoSchedule}, {key: a, value: b, tolerationSeconds: 5}]",
        "pods.priorityClass=low",
    )
    assert found["nodeSelector"] == {"pool": "gpu"}
    assert found["priorityClassName"] == "low"
    assert found["tolerations"][:2] == [
        {"operator": "Exists", "key": "gpu", "effect": "NoSchedule"},
        {"operator": "Equal", "key": "a", "value": "b", "tolerationSeconds": 5},
    ]


def test_a_training_keeps_together_in_a_domain_and_shards_do_not_care() -> None:
    zone = "pods.topologyKey=topology.kubernetes.io/zone"
    assert "affinity" not in pod("embed", zone)
    assert "affinity" not in pod("train-avg-seed0")
    preferred = pod("train-avg-seed0", zone)["affinity"]["podAffinity"]
    [term] = preferred["preferredDuringSchedulingIgnoredDuringExecution"]
    selector = term["podAffinityTerm"]["labelSelector"]["matchLabels"]
    assert selector == {
        "captionless.dev/alignment": "shapes",
        "captionless.dev/stage": "train-avg-seed0",
        "captionless.dev/attempt": "1",
    }
    required = pod("train-avg-seed0", zone, "pods.topology=required")["affinity"]["podAffinity"]
    [term] = required["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term == {"labelSelector": {"matchLabels": selector}, "topologyKey": "topology.kubernetes.io/zone"}


def test_only_pods_that_request_a_gpu_are_bound_to_gpu_nodes() -> None:
    given = (
        "pods.nodeSelector={zone: a, pool: cpu}",
        "pods.tolerations=[{key: spot, operator: Exists}]",
        "pods.gpu={nodeSelector: {pool: gpu}, tolerations: [{key: gpu, operator: Exists}]}",
        "resources.device=cuda",
    )

    def placed(stage: str, *more: str) -> tuple[dict[str, str], list[str]]:
        found = pod(stage, *given, *more)
        return found["nodeSelector"], [t["key"] for t in found["tolerations"][:-2]]

    on_gpu = {"zone": "a", "pool": "gpu"}, ["spot", "gpu"]
    elsewhere = {"zone": "a", "pool": "cpu"}, ["spot"]
    assert placed("train-avg-seed0") == on_gpu
    for stage in ("list", "pack", "similarity-i2i"):
        assert placed(stage, "clip.device=cuda") == elsewhere
    for stage in ("embed", "landmarks", "eval"):
        assert placed(stage) == elsewhere
        assert placed(stage, "clip.device=cuda") == on_gpu


def test_a_stages_own_gpu_nodes_replace_the_others() -> None:
    given = (
        "pods.gpu={nodeSelector: {gpu: small}, tolerations: [{key: gpu, operator: Exists}]}",
        "pods.stages=[{stage: train, gpu: {nodeSelector: {gpu: large}}}]",
        "resources.device=cuda",
        "clip.device=cuda",
    )
    assert pod("embed", *given)["nodeSelector"] == {"gpu": "small"}
    training = pod("train-avg-seed0", *given)
    assert training["nodeSelector"] == {"gpu": "large"}
    assert len(training["tolerations"]) == 2
