"""The charts on a real API server: their tests, what the controller may do, upgrades, what an uninstallation leaves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.alignments import Alignment
from tests.cluster.cluster import Cluster, CommandFailed, minutes
from tests.cluster.operator import CHARTS, Operator

_HELD = {"output": "s3://bucket/held", "suspend": True, "resources": {"workers": 2}}


def test_the_operators_own_test_passes(cluster: Cluster, operator: Operator) -> None:
    printed = _tested(cluster, operator.release, operator.namespace)
    assert "captionless-controller" in printed
    assert "spec.train.stpes" in printed
    assert "spec.train.points" in printed
    assert _left(cluster, operator.namespace, "app.kubernetes.io/component=test") == []


def test_the_runs_own_test_passes(cluster: Cluster, helm_run: Alignment) -> None:
    release, namespace = helm_run.name, helm_run.namespace
    image = f"--set=test.image={cluster.image}"  # not a release that could be pulled
    cluster.helm("upgrade", release, str(CHARTS / "alignment"), "-n", namespace, "--reuse-values", image)
    printed = _tested(cluster, release, namespace)
    assert "avg-seed0" in printed
    assert "zero_shot/top1" in printed


def test_the_runs_own_test_fails_for_a_run_that_has_not_ended(cluster: Cluster, operator: Operator) -> None:
    """So that its passing means something."""
    with cluster.namespace("held", credentials=False) as namespace:
        _install(cluster, namespace, "held", {**_HELD, "test": {"timeoutSeconds": 5, "image": cluster.image}})
        done = cluster.run("helm", "test", "held", "-n", namespace, "--timeout", minutes(2), check=False)
        assert done.returncode
        assert "FAILED: alignment held" in done.stdout + done.stderr
        assert _left(cluster, namespace, "app.kubernetes.io/component=test") == []


def test_the_controller_may_do_what_is_said_and_no_more(cluster: Cluster, operator: Operator) -> None:
    account = f"system:serviceaccount:{operator.namespace}:{operator.release}"
    listed = cluster.kubectl("auth", "can-i", "--list", "--as", account, "-n", "default")
    verbs = {
        line.split()[0]: set(line.rpartition("[")[2].rstrip("] ").split())
        for line in listed.splitlines()
        if any(g in line for g in ("captionless.dev", "jobs.batch", "pods ", "secrets"))
    }
    assert verbs == {
        "alignments.captionless.dev": {"get", "list", "watch", "delete"},
        "alignments.captionless.dev/status": {"get", "patch", "update"},
        "jobs.batch": {"get", "list", "watch", "create", "delete"},
        "pods": {"get", "list", "watch"},
    }

    def may(verb: str, what: str, namespace: str = "default") -> bool:
        """`what` is a resource, a resource/name, or a resource:subresource."""
        resource, _, below = what.partition(":")
        asked = ("auth", "can-i", verb, resource, *([f"--subresource={below}"] if below else []))
        return cluster.kubectl(*asked, "--as", account, "-n", namespace, check=False).strip() == "yes"

    granted = ["create jobs", "list pods", "patch alignments:status", "create events.events.k8s.io"]
    refused = [
        "get secrets", "list secrets", "create pods", "create pods:exec", "get pods:log", "update jobs", "patch jobs",
        "create alignments", "update alignments", "patch alignments", "list configmaps", "get leases", "get nodes",
        "create rolebindings", "impersonate serviceaccounts",
    ]  # fmt: skip
    assert [g for g in granted if not may(*g.split())] == []
    assert [r for r in refused if may(*r.split())] == []
    assert may("update", "leases/captionless-controller", operator.namespace)
    assert not may("update", "leases/other", operator.namespace)


def test_people_with_the_clusters_roles_may_use_alignments(cluster: Cluster, operator: Operator) -> None:
    """By aggregation, which a controller of the cluster does a moment after the installation."""

    def may(role: str) -> set[str]:
        found: dict[str, Any] = cluster.get("clusterroles", role)
        return {v for r in found["rules"] or () if "captionless.dev" in r.get("apiGroups", ()) for v in r["verbs"]}

    view, edit = {"get", "list", "watch"}, {"create", "delete", "get"}
    cluster.wait_for("role `view` to cover Alignments", lambda: may("view") == view, 30, state=lambda: may("view"))
    cluster.wait_for("role `edit` to cover Alignments", lambda: edit <= may("edit"), 30, state=lambda: may("edit"))


def test_a_run_is_upgraded_and_holds_to_what_it_is(cluster: Cluster, operator: Operator, tmp_path: Path) -> None:
    """From one version of the chart to the next; what may change does, and nothing else."""
    with cluster.namespace("upgrade", credentials=False) as namespace:
        _install(cluster, namespace, "held", _HELD)
        run = Alignment(cluster, namespace, "held")
        first = run.get()
        _upgrade(cluster, namespace, "held", _next(cluster, "alignment", tmp_path), _HELD)
        assert run.get()["metadata"]["uid"] == first["metadata"]["uid"]
        assert run.get()["metadata"]["labels"]["helm.sh/chart"] == "alignment-99.0.0"
        assert run.get()["metadata"]["generation"] == first["metadata"]["generation"]
        _upgrade(cluster, namespace, "held", CHARTS / "alignment", {**_HELD, "resources": {"workers": 3}})
        assert run.get()["spec"]["resources"]["workers"] == 3
        with pytest.raises(CommandFailed, match=r"spec\.train: Forbidden"):
            _upgrade(cluster, namespace, "held", CHARTS / "alignment", {**_HELD, "train": {"steps": 5}})
        assert run.get()["spec"]["train"]["steps"] != 5


def test_the_operator_is_upgraded_while_runs_continue(cluster: Cluster, operator: Operator, tmp_path: Path) -> None:
    """Alignments and their Jobs outlive it, and the next controller holds the Lease."""
    with cluster.namespace("upgrade", credentials=False) as namespace:
        _install(cluster, namespace, "held", _HELD)
        run = Alignment(cluster, namespace, "held")
        run.wait_condition("Suspended", "True", 30)
        before, pod = run.get()["metadata"]["uid"], operator.pod()
        operator.install(chart=_next(cluster, "captionless", tmp_path))
        assert operator.pod() != pod
        assert run.get()["metadata"]["uid"] == before
        lease = cluster.get("leases", "captionless-controller", operator.namespace)
        assert lease["spec"]["holderIdentity"] == operator.pod()
        labels = cluster.get("deployments", operator.release, operator.namespace)["metadata"]["labels"]
        assert labels["helm.sh/chart"] == "captionless-99.0.0"


@pytest.fixture
def second(cluster: Cluster, operator: Operator) -> Iterator[Operator]:
    """An operator of one namespace beside the first, without the CRD, which is the first's."""
    with cluster.namespace("second", credentials=False) as namespace:
        found = Operator(cluster, namespace, "second")
        yield found
        found.uninstall()


def test_an_operator_of_one_namespace_leaves_nothing(cluster: Cluster, second: Operator) -> None:
    narrow = {
        "crds.enabled": "false",
        "watchNamespaces": f"{{{second.namespace}}}",
        "monitoring.dashboards.enabled": "true",
    }
    second.install(*(f"--set={k}={v}" for k, v in narrow.items()))
    selector = f"app.kubernetes.io/instance={second.release}"
    assert "Deployment/second-captionless" in _left(cluster, second.namespace, selector)
    account = f"system:serviceaccount:{second.namespace}:second-captionless"
    elsewhere = cluster.run("kubectl", "auth", "can-i", "list", "pods", "--as", account, "-n", "default", check=False)
    assert elsewhere.stdout.strip() == "no"
    _tested(cluster, second.release, second.namespace)
    second.uninstall()
    _wait_left(cluster, second.namespace, selector, [])
    assert cluster.get("customresourcedefinitions", "alignments.captionless.dev")["metadata"]["name"]


def test_the_crd_stays_or_goes_as_requested(cluster: Cluster, tmp_path: Path) -> None:
    """On a copy of the chart for another API group, so that the cluster's Alignments are in no danger."""
    copy, group, crd = tmp_path / "captionless", "captionless.example", "alignments.captionless.example"
    shutil.copytree(CHARTS / "captionless", copy)
    template = copy / "templates" / "crd.yaml"
    template.write_text(template.read_text().replace("captionless.dev", group))

    def install(keep: str) -> None:
        cluster.helm("install", "copy", str(copy), "-n", namespace, f"--set=crds.keep={keep}")

    def there() -> bool:
        return bool(cluster.kubectl("get", "crd", crd, "--ignore-not-found"))

    with cluster.namespace("crd", credentials=False) as namespace:
        try:
            install("true")
            cluster.helm("uninstall", "copy", "-n", namespace)
            assert there()
            selector = "app.kubernetes.io/instance=copy"
            _wait_left(cluster, namespace, selector, [f"CustomResourceDefinition/{crd}"])
            install("false")  # takes the CRD over again
            cluster.helm("uninstall", "copy", "-n", namespace, "--wait", "--timeout", minutes(2))
            cluster.wait_for(f"{crd} to be gone", lambda: not there())
        finally:
            cluster.helm("uninstall", "copy", "-n", namespace, "--ignore-not-found")
            cluster.kubectl("delete", "crd", crd, "--ignore-not-found", "--wait=false")


def _tested(cluster: Cluster, release: str, namespace: str) -> str:
    """What `helm test` prints: helm's own output on stdout, the pods' on stderr."""
    done = cluster.run("helm", "test", release, "-n", namespace, "--timeout", minutes(2))
    return done.stdout + done.stderr


def _install(cluster: Cluster, namespace: str, name: str, values: dict[str, Any]) -> None:
    command = ("helm", "install", name, str(CHARTS / "alignment"), "-n", namespace, "-f", "-")
    cluster.run(*command, input=yaml.safe_dump(values))


def _upgrade(cluster: Cluster, namespace: str, name: str, chart: Path, values: dict[str, Any]) -> None:
    cluster.run("helm", "upgrade", name, str(chart), "-n", namespace, "-f", "-", input=yaml.safe_dump(values))


def _next(cluster: Cluster, chart: str, folder: Path) -> Path:
    """The chart as a package of a later version."""
    cluster.helm("package", str(CHARTS / chart), "--version", "99.0.0", "-d", str(folder))
    return folder / f"{chart}-99.0.0.tgz"


def _left(cluster: Cluster, namespace: str, selector: str) -> list[str]:
    """What discovery finds of a selector: in the namespace, and of the cluster's own kinds."""
    found = []
    for scope in (("--namespaced=true", "-n", namespace), ("--namespaced=false",)):
        kinds = cluster.kubectl("api-resources", "--verbs=list", "-o", "name", scope[0]).split()
        listed = cluster.kubectl("get", ",".join(kinds), "-l", selector, "-o", "json", "--ignore-not-found", *scope[1:])
        found += [f"{i['kind']}/{i['metadata']['name']}" for i in json.loads(listed or '{"items": []}')["items"]]
    return sorted(found)


def _wait_left(cluster: Cluster, namespace: str, selector: str, expected: list[str]) -> None:
    """Waits until `_left` finds what is expected and no more."""
    names = ", ".join(expected) or "nothing"
    cluster.wait_for(
        f"{names} to be left of {selector} in {namespace}",
        lambda: _left(cluster, namespace, selector) == expected,
        60,
        state=lambda: _left(cluster, namespace, selector),
    )
