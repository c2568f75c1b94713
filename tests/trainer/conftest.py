"""What tests of the training share."""

from __future__ import annotations

import pytest

from captionless.runtime import torch_threads


@pytest.fixture
def many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test's few things are cut into parts as if there were much to do."""
    monkeypatch.setattr(torch_threads, "_MIN_ELEMENTS", 1)
