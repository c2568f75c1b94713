"""The cluster that all tests of this folder share; `make test-cluster` runs them, plain pytest does not."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import yaml

from tests.cluster import cluster as clusters
from tests.cluster.alignments import SMALL, Alignment, merged
from tests.cluster.cluster import Cluster
from tests.cluster.operator import CHARTS, Operator, Reference


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster, one session at a time; what the session wrote to S3 is deleted at its end."""
    found = clusters.find()
    found.sweep()
    yield found
    found.wait_for("all namespaces of tests to end", lambda: not found.namespaces(), 120, state=found.namespaces)
    for page in found.s3.get_paginator("list_objects_v2").paginate(Bucket=found.bucket, Prefix=f"{found.prefix}/"):
        if keys := [{"Key": o["Key"]} for o in page.get("Contents", [])]:
            found.s3.delete_objects(Bucket=found.bucket, Delete={"Objects": keys})


@pytest.fixture(autouse=True)
def tidy(cluster: Cluster) -> None:
    """Nothing that an earlier test left, because it failed, disturbs this one."""
    cluster.remove_leftovers()


def called(request: pytest.FixtureRequest, longest: int) -> str:
    """The test's name as a DNS label."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())
    return words[:longest].strip("-")


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace for one test, with the restricted pod security standard and S3's Secret."""
    with cluster.namespace(called(request, 30)) as name:
        yield name


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reference]:
    """The same run on this machine, in the background until its figures are asked for."""
    found = Reference(tmp_path_factory.mktemp("reference"))
    yield found
    found.process.kill()
    found.process.wait()


@pytest.fixture(scope="session")
def operator(cluster: Cluster) -> Iterator[Operator]:
    """The operator, installed by its chart in a restricted namespace; uninstalled at the end."""
    with cluster.namespace("operator", credentials=False) as namespace:
        found = Operator(cluster, namespace)
        found.install()
        cluster.restorers.append(found.restore)
        yield found
        cluster.restorers.remove(found.restore)
        # While there is an operator: without it, a namespace with runs at work does not end.
        found.restore()
        cluster.wait_for("the runs' namespaces to end", lambda: cluster.namespaces() == [namespace], 120)
        found.uninstall()


@pytest.fixture(scope="session")
def helm_run(cluster: Cluster, operator: Operator, request: pytest.FixtureRequest) -> Iterator[Alignment]:
    """A finished run, installed by the chart `alignment`."""
    with cluster.namespace("run") as namespace:
        values = yaml.safe_dump(merged(SMALL, {"output": cluster.url("helm")}))
        cluster.run("helm", "install", "my-run", str(CHARTS / "alignment"), "-n", namespace, "-f", "-", input=values)
        found = Alignment(cluster, namespace, "my-run")
        found.wait_succeeded(300)
        request.getfixturevalue("reference")  # begins now, beside the tests that mostly wait
        yield found


@pytest.fixture(scope="session")
def precomputed(helm_run: Alignment) -> str:
    """The folder on S3 with the finished run's outputs."""
    return "helm"
