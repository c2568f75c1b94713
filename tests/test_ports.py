"""The charts and the docs name the ports on which the code listens."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from captionless.controller import health, metrics
from captionless.kube.jobs.pod import METRICS_PORT

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("path", "ports"),
    [
        ("charts/alignment/templates/networkpolicy.yaml", {METRICS_PORT}),
        ("charts/captionless/templates/networkpolicy.yaml", {METRICS_PORT}),
        ("charts/captionless/templates/deployment.yaml", {health.PORT, metrics.PORT}),
        ("charts/captionless/templates/service.yaml", {health.PORT, metrics.PORT}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_templates(path: str, ports: set[int]) -> None:
    found = {int(port) for port in re.findall(r"\b(?:port|containerPort): (\d{4,})$", (ROOT / path).read_text(), re.M)}
    assert found == ports


def test_docs() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    assert f"in pods {METRICS_PORT}, named" in page
    assert f"on port {metrics.PORT} |" in page
