"""`pods.patch`: what it can change in a Job and a JobSet, and what it must leave alone."""

from __future__ import annotations

import pytest
import yaml

from captionless.errors import SpecError
from captionless.kube.jobs import check_patches, patched_stages
from captionless.spec import load
from captionless.spec.alignment import AlignmentSpec
from tests.kube.jobs.build import job, spec

_RDMA = """
metadata:
  labels: {kueue.x-k8s.io/priority-class: high}
  annotations: {alpha.jobset.sigs.k8s.io/exclusive-topology: rack}
spec:
  template:
    metadata:
      annotations: {k8s.v1.cni.cncf.io/networks: rdma}
    spec:
      runtimeClassName: nvidia
      schedulerName: volcano
      hostNetwork: true
      dnsPolicy: ClusterFirstWithHostNet
      resourceClaims: [{name: gpu, resourceClaimTemplateName: gpus}]
      initContainers: [{name: proxy, image: envoy, restartPolicy: Always}]
      containers:
        - name: worker
          resources: {limits: {vpc.amazonaws.com/efa: "4", hugepages-2Mi: 1Gi}, claims: [{name: gpu}]}
          securityContext: {capabilities: {add: [IPC_LOCK]}}
          volumeMounts: [{name: hugepages, mountPath: /hugepages}]
      volumes: [{name: hugepages, emptyDir: {medium: HugePages-2Mi}}]
"""


def _with(patch: str, **stages: str) -> list[str]:
    listed = [{"stage": s, "patch": p} for s, p in stages.items()]
    return [f"pods={yaml.safe_dump({'patch': patch, 'stages': listed}, default_flow_style=True, width=10**6)}"]


@pytest.mark.parametrize("engine", ["job", "jobset"])
def test_a_jobs_metadata_and_pods_are_patched(engine: str) -> None:
    made = job("train-avg-seed0", *_with(_RDMA), f"train.engine={engine}")
    plain = job("train-avg-seed0", f"train.engine={engine}")
    assert made["metadata"]["labels"] == {**plain["metadata"]["labels"], "kueue.x-k8s.io/priority-class": "high"}
    assert made["metadata"]["annotations"] == {"alpha.jobset.sigs.k8s.io/exclusive-topology": "rack"}
    assert made["metadata"]["ownerReferences"] == plain["metadata"]["ownerReferences"]
    inner, before = (
        j["spec"]["replicatedJobs"][0]["template"]["spec"] if engine == "jobset" else j["spec"] for j in (made, plain)
    )
    assert {**inner, "template": 0} == {**before, "template": 0}
    template = inner["template"]
    assert template["metadata"]["labels"] == before["template"]["metadata"]["labels"]
    pod = template["spec"]
    assert (pod["runtimeClassName"], pod["schedulerName"], pod["hostNetwork"]) == ("nvidia", "volcano", True)
    [worker], [original] = pod["containers"], before["template"]["spec"]["containers"]
    assert worker["args"] == original["args"]
    assert worker["env"] == original["env"]
    assert worker["resources"]["limits"] == {
        **original["resources"]["limits"],
        "vpc.amazonaws.com/efa": "4",
        "hugepages-2Mi": "1Gi",
    }
    assert worker["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["IPC_LOCK"]}
    assert {m["mountPath"] for m in worker["volumeMounts"]} == {
        "/hugepages",
        *(m["mountPath"] for m in original["volumeMounts"]),
    }


def test_a_stages_own_patch_replaces_that_of_all() -> None:
    scheduler = "spec: {template: {spec: {schedulerName: %s}}}"
    given = _with(scheduler % "volcano", train=scheduler % "gangs", eval="")

    def of(stage: str) -> str:
        return str(job(stage, *given)["spec"]["template"]["spec"].get("schedulerName", ""))

    assert [of(s) for s in ("pack", "train-avg-seed0", "eval")] == ["volcano", "gangs", ""]
    assert [s.kind for s in patched_stages(spec(*given))] == [
        "list", "pack", "embed", "landmarks", "similarity", "train",
    ]  # fmt: skip


_WORKER = "spec.template.spec.containers[worker]"


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        ("metadata: {labels: {captionless.dev/stage: x}}", "metadata.labels.captionless.dev/stage"),
        ("metadata: {labels: {app.kubernetes.io/managed-by: null}}", "metadata.labels.app.kubernetes.io/managed-by"),
        ("metadata: {labels: {$patch: replace, a: b}}", "metadata.labels.app.kubernetes.io/name"),
        ("metadata: {labels: {kueue.x-k8s.io/queue-name: q}}", "metadata.labels.kueue.x-k8s.io/queue-name"),
        (
            "metadata: {annotations: {captionless.dev/disruptions: '0'}}",
            "metadata.annotations.captionless.dev/disruptions",
        ),
        (
            "spec: {template: {metadata: {labels: {captionless.dev/attempt: '9'}}}}",
            "spec.template.metadata.labels.captionless.dev/attempt",
        ),
        (
            "spec: {template: {metadata: {labels: {batch.kubernetes.io/job-completion-index: '0'}}}}",
            "spec.template.metadata.labels.batch.kubernetes.io/job-completion-index",
        ),
        ("spec: {template: {spec: {restartPolicy: OnFailure}}}", "spec.template.spec.restartPolicy"),
        ("spec: {template: {spec: {hostname: node}}}", "spec.template.spec.hostname"),
        ("spec: {template: {spec: {subdomain: null}}}", "spec.template.spec.subdomain"),
        (
            "spec: {template: {spec: {terminationGracePeriodSeconds: 5}}}",
            "spec.template.spec.terminationGracePeriodSeconds",
        ),
        ("spec: {template: {spec: {$patch: delete}}}", "spec.template.spec.restartPolicy"),
        ("spec: {template: {spec: {volumes: [{name: spec, emptyDir: {}}]}}}", "spec.template.spec.volumes[spec]"),
        ("spec: {template: {spec: {volumes: [{$patch: replace}]}}}", "spec.template.spec.volumes[spec]"),
        ("spec: {template: {spec: {containers: [{name: worker, $patch: delete}]}}}", _WORKER),
        ("spec: {template: {spec: {containers: [{$patch: replace}, {name: worker}]}}}", f"{_WORKER}.args"),
        ("spec: {template: {spec: {containers: [{name: worker, args: [x]}]}}}", f"{_WORKER}.args"),
        ("spec: {template: {spec: {containers: [{name: worker, command: [sh]}]}}}", f"{_WORKER}.command"),
        (
            "spec: {template: {spec: {containers: [{name: worker, env: [{name: JOB_COMPLETION_INDEX, value: '0'}]}]}}}",
            f"{_WORKER}.env[JOB_COMPLETION_INDEX]",
        ),
        (
            "spec: {template: {spec: {containers: [{name: worker, env: [{name: POD_NAME, $patch: delete}]}]}}}",
            f"{_WORKER}.env[POD_NAME]",
        ),
        (
            "spec: {template: {spec: {containers: [{name: worker, ports: [{containerPort: 9095, name: x}]}]}}}",
            f"{_WORKER}.ports[9095]",
        ),
        (
            "spec: {template: {spec: {containers: [{name: worker, volumeMounts: "
            "[{mountPath: /etc/captionless, $patch: delete}]}]}}}",
            f"{_WORKER}.volumeMounts[/etc/captionless]",
        ),
        (
            "spec: {template: {spec: {$patch: replace, restartPolicy: Never, subdomain: x, containers: 1}}}",
            "spec.template.spec.subdomain",
        ),
    ],
)
def test_what_the_operator_relies_on_stays(patch: str, path: str) -> None:
    with pytest.raises(SpecError) as caught:
        check_patches(spec(*_with("", train=patch)))
    line = str(caught.value)
    assert line.startswith(f"pods.stages[train].patch: {path}: must stay as the operator sets it"), line
    assert len(line.splitlines()) == 1


def test_another_field_is_named_where_there_is_one() -> None:
    with pytest.raises(SpecError, match=r"^pods\.patch: .*; set pods\.graceSeconds instead$"):
        check_patches(spec(*_with("spec: {template: {spec: {terminationGracePeriodSeconds: 5}}}")))
    with pytest.raises(SpecError, match=r"^pods\.patch: .*; set queue instead$"):
        check_patches(spec(*_with("metadata: {labels: {kueue.x-k8s.io/queue-name: q}}")))


@pytest.mark.parametrize(
    ("patch", "line"),
    [
        ("[a]", "expected fields (metadata, spec), found ['a']"),
        ("a: [", "not valid YAML: "),
        ("kind: Job", "kind: cannot be patched; expected metadata, spec"),
        ("metadata: {name: x}", "metadata.name: cannot be patched; expected metadata.labels, metadata.annotations"),
        ("metadata: {ownerReferences: []}", "metadata.ownerReferences: cannot be patched"),
        ("metadata: {labels: null}", "metadata.labels: expected fields, found None"),
        ("metadata: {labels: {a: 1}}", "metadata.labels.a: expected text, found 1; put it in quotes"),
        ("spec: {parallelism: 9}", "spec.parallelism: cannot be patched; expected spec.template"),
        ("spec: null", "spec: expected fields (template), found None"),
        ("spec: {template: {spec: [x]}}", "spec.template.spec: expected fields, found ['x']"),
        ("spec: {template: {metadata: {finalizers: [x]}}}", "spec.template.metadata.finalizers: cannot be patched"),
        ("metadata: {annotations: {day: 2026-01-01}}", "metadata.annotations.day: expected a value of JSON"),
        (
            "spec: {template: {spec: {overhead: {cpu: .inf}}}}",
            "spec.template.spec.overhead.cpu: expected a value of JSON",
        ),
        (
            "spec: {template: {spec: {nodeSelector: {1: a}}}}",
            "spec.template.spec.nodeSelector.1: expected text for the name",
        ),
        ("spec: {template: {spec: {$patch: merge}}}", "spec.template.spec.$patch: expected delete or replace"),
        (
            "spec: {template: {spec: {$setElementOrder/volumes: []}}}",
            "spec.template.spec.$setElementOrder/volumes: unknown",
        ),
        (
            "spec: {template: {spec: {volumes: [{$retainKeys: a}]}}}",
            "spec.template.spec.volumes[0].$retainKeys: expected a",
        ),
        ("spec: {template: {spec: {a: &x [y], b: *x}}}", "not valid YAML: aliases are not supported"),
        ("[" * 8000, "is nested too deeply"),
    ],
)
def test_a_patch_that_is_none_is_refused_with_the_spec(patch: str, line: str) -> None:
    with pytest.raises(SpecError) as caught:
        load.build_spec({"data": {"source": {"kind": "parametric"}}, "pods": {"patch": patch}})
    assert str(caught.value).startswith(f"spec: pods.patch: {line}"), caught.value
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "patch",
    [
        "spec: {template: {spec: {$patch: replace, containers: x, volumes: x}}}",
        "spec: {template: {spec: {containers: [{name: worker, $patch: delete}, {name: [a]}]}}}",
        "spec: {template: {spec: {containers: [{$patch: replace}, {name: worker, ports: [{containerPort: [1]}]}]}}}",
        "spec: {template: {spec: {containers: [{$patch: replace}, {name: worker, env: 7}]}}}",
    ],
)
def test_nonsense_is_refused_like_all_else(patch: str) -> None:
    with pytest.raises(SpecError, match=r"^pods\.patch: spec\.template\.spec"):
        check_patches(spec(*_with(patch)))


def test_a_patch_determines_no_result() -> None:
    given: AlignmentSpec = spec(*_with(_RDMA))
    assert given.described() == spec().described()
    assert load.build_spec(yaml.safe_load(load.dump_spec(given))) == given
