"""A store's manifest is replaced by the run that knows the one before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from captionless.errors import Retryable
from captionless.store.tiles import FORMAT


def test_workers_that_finish_together_publish_the_same_and_another_run_nothing(tmp_path: Path) -> None:
    url = str(tmp_path)
    for _ in range(2):
        FORMAT.replace(url, {"stamp": "a"}, None)
    with pytest.raises(Retryable, match="another run"):
        FORMAT.replace(url, {"stamp": "b"}, None)
    FORMAT.replace(url, {"stamp": "b"}, FORMAT.manifest_bytes(url))
