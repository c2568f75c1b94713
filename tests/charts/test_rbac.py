"""What the charts' roles grant, to the verb; a wider rule than these is a fault."""

from __future__ import annotations

from itertools import product
from typing import Any

from tests.charts.conftest import Render

Grant = tuple[str, str, str, str]  # group, resource, verb, resource name

_CONTROLLER: set[Grant] = {
    *(("captionless.dev", "alignments", v, "") for v in ("get", "list", "watch", "delete")),
    *(("captionless.dev", "alignments/status", v, "") for v in ("get", "patch", "update")),
    *(("batch", "jobs", v, "") for v in ("get", "list", "watch", "create", "delete")),
    *(("", r, v, "") for r, v in product(("configmaps", "services"), ("get", "create", "delete"))),
    *(("", "pods", v, "") for v in ("get", "list", "watch")),
    ("", "namespaces", "get", ""),
    *(("events.k8s.io", "events", v, "") for v in ("create", "patch")),
}
_JOBSETS = {("jobset.x-k8s.io", "jobsets", v, "") for v in ("get", "list", "watch", "create", "delete")}
_LEASE = {
    *(("coordination.k8s.io", "leases", v, "captionless-controller") for v in ("get", "list", "watch", "update")),
    ("coordination.k8s.io", "leases", "create", ""),
}


def _grants(role: dict[str, Any]) -> set[Grant]:
    return {
        grant
        for rule in role["rules"]
        for grant in product(rule["apiGroups"], rule["resources"], rule["verbs"], rule.get("resourceNames", [""]))
    }


def _roles(objects: list[dict[str, Any]]) -> dict[tuple[str, str, str], set[Grant]]:
    return {
        (o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]): _grants(o)
        for o in objects
        if o["kind"] in ("Role", "ClusterRole") and "helm.sh/hook" not in o["metadata"].get("annotations", {})
    }


def _bound(objects: list[dict[str, Any]]) -> set[tuple[str, str, str, str]]:
    """kind and name of the role, the binding's namespace, the account."""
    return {
        (
            o["roleRef"]["kind"],
            o["roleRef"]["name"],
            o["metadata"].get("namespace", ""),
            f"{s['namespace']}/{s['name']}",
        )
        for o in objects
        if o["kind"] in ("RoleBinding", "ClusterRoleBinding")
        and "helm.sh/hook" not in o["metadata"].get("annotations", {})
        for s in o["subjects"]
    }


def test_the_controller_over_the_cluster(render: Render) -> None:
    objects = render("captionless", {})
    roles = _roles(objects)
    assert roles.pop(("ClusterRole", "", "r-captionless")) == _CONTROLLER
    assert roles.pop(("Role", "lab", "r-captionless-lease")) == _LEASE
    assert set(roles) == {("ClusterRole", "", "r-captionless-view"), ("ClusterRole", "", "r-captionless-edit")}
    assert _bound(objects) == {
        ("ClusterRole", "r-captionless", "", "lab/r-captionless"),
        ("Role", "r-captionless-lease", "lab", "lab/r-captionless"),
    }


def test_the_controller_of_some_namespaces_has_no_cluster_role(render: Render) -> None:
    objects = render("captionless", {"watchNamespaces": ["a", "b"], "rbac": {"userRoles": False}})
    assert _roles(objects) == {
        ("Role", "a", "r-captionless"): _CONTROLLER,
        ("Role", "b", "r-captionless"): _CONTROLLER,
        ("Role", "lab", "r-captionless-lease"): _LEASE,
    }
    assert _bound(objects) == {
        ("Role", "r-captionless", "a", "lab/r-captionless"),
        ("Role", "r-captionless", "b", "lab/r-captionless"),
        ("Role", "r-captionless-lease", "lab", "lab/r-captionless"),
    }


def test_jobsets_only_where_they_are_wanted(render: Render) -> None:
    roles = _roles(render("captionless", {"jobset": {"enabled": True}}))
    assert roles["ClusterRole", "", "r-captionless"] == _CONTROLLER | _JOBSETS


def test_people_may_do_with_alignments_what_they_may_with_the_rest(render: Render) -> None:
    objects = render("captionless", {})
    roles = _roles(objects)
    assert roles["ClusterRole", "", "r-captionless-view"] == {
        ("captionless.dev", r, v, "") for r, v in product(("alignments", "alignments/status"), ("get", "list", "watch"))
    }
    assert roles["ClusterRole", "", "r-captionless-edit"] == {
        ("captionless.dev", "alignments", v, "") for v in ("create", "update", "patch", "delete", "deletecollection")
    }
    labels = {o["metadata"]["name"]: o["metadata"]["labels"] for o in objects if o["kind"] == "ClusterRole"}
    aggregated = {n: {k.rpartition("-to-")[2] for k in found if "aggregate-to" in k} for n, found in labels.items()}
    assert aggregated == {
        "r-captionless": set(),
        "r-captionless-view": {"view"},
        "r-captionless-edit": {"edit", "admin"},
    }


def test_a_run_brings_no_rights(render: Render) -> None:
    objects = render("alignment", {"output": "s3://b/r"})
    assert _roles(objects) == {}
    assert _bound(objects) == set()


def test_the_tests_rights_are_hooks_and_small(render: Render) -> None:
    for chart, values, expected in (
        (
            "captionless",
            {},
            {
                ("coordination.k8s.io", "leases", "get", "captionless-controller"),
                ("captionless.dev", "alignments", "create", ""),
            },
        ),
        ("alignment", {"output": "s3://b/r"}, {("captionless.dev", "alignments", "get", "r")}),
    ):
        hooks = [o for o in render(chart, values) if "helm.sh/hook" in o["metadata"].get("annotations", {})]
        assert {o["metadata"]["annotations"]["helm.sh/hook"] for o in hooks} == {"test"}
        [role] = [o for o in hooks if o["kind"] == "Role"]
        assert _grants(role) == expected
        assert all("hook-succeeded" in o["metadata"]["annotations"]["helm.sh/hook-delete-policy"] for o in hooks)
