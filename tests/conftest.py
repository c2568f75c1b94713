"""What all tests share: one thread per library, so that results do not depend on the machine's load; and which of
them need a cluster."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("NO_COLOR", "1")
os.environ.setdefault("COLUMNS", "160")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

_ON_A_CLUSTER = [Path(__file__).parent / folder for folder in ("charts", "cluster")]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of these folders: plain pytest leaves `cluster` out, `-m cluster` asks for it."""
    for item in items:
        if any(folder in item.path.parents for folder in _ON_A_CLUSTER):
            item.add_marker(pytest.mark.cluster)
