"""The cluster that all tests of this folder share; `make test-cluster` runs them, plain pytest does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import cluster as clusters
from tests.cluster.cluster import Cluster


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test of this folder: plain pytest leaves `cluster` out, `-m cluster` asks for it."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster; what the session wrote to S3 is deleted at its end."""
    found = clusters.find()
    yield found
    for page in found.s3.get_paginator("list_objects_v2").paginate(Bucket=found.bucket, Prefix=f"{found.prefix}/"):
        if keys := [{"Key": o["Key"]} for o in page.get("Contents", [])]:
            found.s3.delete_objects(Bucket=found.bucket, Delete={"Objects": keys})


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace for one test, with the restricted pod security standard and S3's Secret."""
    hint = request.node.name.removeprefix("test_").replace("_", "-")[:30].strip("-[]")
    with cluster.namespace(hint) as name:
        yield name
