"""A table of objects that processes share is the one that each would read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from captionless.store import embeddings
from captionless.store.embeddings import open_embeddings
from tests.embedded import write_embedded


def test_a_shared_table_is_the_stored_one_and_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, shared = str(tmp_path / "embed"), tmp_path / "shared"
    shared.mkdir()
    write_embedded(url, {"böat": 7, "an axe": 4}, points=8)
    stored = open_embeddings(url, "train")
    first = open_embeddings(url, "train", str(shared))
    monkeypatch.setattr(embeddings.object_table, "of_batches", None)  # not read again
    for found in (first, open_embeddings(url, "train", str(shared))):
        assert found.keys == stored.keys
        assert found.categories == stored.categories
        assert found.classes == stored.classes
        assert found.shards == stored.shards
        assert found.digest == stored.digest
        assert list(found.objects) == list(stored.objects)
        order = [10, 0, 3]
        np.testing.assert_array_equal(found.views(order), stored.views(order))
        np.testing.assert_array_equal(found.points(order), stored.points(order))
    monkeypatch.undo()
    assert len(open_embeddings(url, "test", str(shared))) == 0
    write_embedded(url, {"boat": 3}, points=8, seed=1)
    assert len(open_embeddings(url, "train", str(shared))) == 3
