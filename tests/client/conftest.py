"""A small API server for each test, and a kubeconfig that leads to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from captionless.kube.api import KubernetesApi
from captionless.kube.connection import connect
from tests.client.api import Server, serving


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    with serving(tmp_path) as found:
        yield found


@pytest.fixture
def api(server: Server) -> KubernetesApi:
    return connect()
