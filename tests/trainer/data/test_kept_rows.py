"""Rows that the ranks of a node keep together, and that a later round finds."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from captionless.runtime import env
from captionless.trainer.data.kept_rows import KeptRows
from captionless.trainer.data.node_cache import NodeCache
from captionless.trainer.elastic.node_storage import NodeStorage

OBJECTS = 50
LAYOUTS = [((3, 2), np.dtype(np.float16)), ((5,), np.dtype(np.float32))]
IDENTITY = b"i" * 32


@pytest.fixture
def path() -> Iterator[str]:
    file = os.memfd_create("test")
    yield f"/proc/{os.getpid()}/fd/{file}"
    os.close(file)


def opened(path: str | None, room: int = 20, identity: bytes = IDENTITY) -> KeptRows:
    return KeptRows(OBJECTS, room, LAYOUTS, identity, path)


def keep(rows: KeptRows, objects: list[int]) -> int:
    """Keeps as many of these as there is room for; how many that is."""
    places = rows.take(len(objects))
    own = np.array(objects[: len(places)], np.int64)
    for array in rows.arrays:
        array[places] = own.reshape(-1, *[1] * (array.ndim - 1))
    rows.keep(own, places)
    return len(places)


def kept(rows: KeptRows) -> list[int]:
    """The objects that are kept, once their rows were found to be theirs."""
    found = np.flatnonzero(rows.places)
    for array in rows.arrays:
        own = array[rows.places[found] - 1]
        np.testing.assert_array_equal(own, np.broadcast_to(found.reshape(-1, *[1] * (own.ndim - 1)), own.shape))
    return [int(each) for each in found]


def end(rows: KeptRows) -> None:
    """What the end of its process does."""
    fcntl.flock(rows._file, fcntl.LOCK_UN)


@pytest.mark.parametrize("is_shared", [False, True])
def test_rows_are_kept_while_there_is_room(path: str, is_shared: bool) -> None:
    rows = opened(path if is_shared else None)
    assert keep(rows, [3, 1, 49]) == 3
    assert keep(rows, list(range(4, 30))) == 17
    assert kept(rows) == [1, *range(3, 21), 49]
    assert (rows.used, len(rows.take(1))) == (20, 0)


def test_what_turns_out_damaged_or_was_kept_meanwhile_leaves_its_place() -> None:
    rows = opened(None)
    places = rows.take(4)
    rows.give_back(places[[1, 3]])
    rows.keep(np.array([7, 7]), places[[0, 2]])  # an object that comes twice in a batch
    assert rows.used == 1
    keep(rows, [7, 8])
    assert rows.used == 2
    assert keep(rows, list(range(10, 40))) == 18


def test_ranks_and_later_rounds_have_the_same_rows(path: str) -> None:
    first, second = opened(path), opened(path)
    keep(first, [1, 2])
    keep(second, [3])
    assert kept(first) == kept(second) == [1, 2, 3]
    first.take(5)  # and is killed before they are kept
    for rows in (first, second):
        end(rows)
    later = opened(path)
    assert kept(later) == [1, 2, 3]
    assert later.used == 3
    assert keep(later, list(range(10, 30))) == 17


def test_threads_of_two_ranks_take_no_place_twice(path: str) -> None:
    ranks = [opened(path, 40), opened(path, 40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: keep(ranks[i % 2], [i]), range(OBJECTS)))
    assert kept(ranks[0]) == kept(ranks[1])
    assert ranks[0].used == len(kept(ranks[0])) == 40


def test_memory_of_other_data_is_not_taken_for_this(path: str) -> None:
    rows = opened(path)
    keep(rows, [1])
    other = opened(path, identity=b"j" * 32)  # while the first has it open
    assert kept(other) == []
    keep(other, [2])
    assert kept(rows) == [1]
    end(rows)
    assert kept(opened(path, room=21)) == []


def test_without_shared_memory_a_process_has_its_own() -> None:
    assert kept(opened("/proc/1/fd/987654")) == []
    empty = opened(None, room=0)
    assert len(empty.take(3)) == 0
    assert empty.arrays[0].shape == (0, 3, 2)


def test_a_supervisor_s_memory_is_found_by_its_ranks_and_is_gone_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with NodeStorage() as storage:
        for name, value in {**storage.environment, "LOCAL_WORLD_SIZE": "2"}.items():
            monkeypatch.setenv(name, value)
        node = NodeCache.inherited(1 << 20)
        assert node.ranks == 2
        assert node.disk is not None
        assert node.disk.folder.startswith(os.environ[env.NODE_FOLDER])
        assert node.memory is not None
        keep(opened(node.memory), [5])
        code = (
            "import sys, numpy as np\nfrom captionless.trainer.data.kept_rows import KeptRows\n"
            "layouts = [((3, 2), np.dtype(np.float16)), ((5,), np.dtype(np.float32))]\n"
            "rows = KeptRows(50, 20, layouts, b'i' * 32, sys.argv[1])\n"
            "assert np.flatnonzero(rows.places).tolist() == [5]\n"
            "assert rows.arrays[1][rows.places[5] - 1].tolist() == [5] * 5"
        )
        subprocess.run([sys.executable, "-c", code, node.memory], check=True)
    assert not os.path.exists(os.environ[env.NODE_FOLDER])
    assert NodeCache.inherited(0).disk is None
