"""A child process that may die: how it ends, what its parent learns, and that it leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from captionless.errors import Retryable
from captionless.runtime import processes
from captionless.runtime.expendable_process import Ended, ExpendableProcess, Limits
from tests import pace

ROOT = Path(__file__).parents[2]
LIMITS = Limits(memory=1 << 30, seconds=1.0, patience=600.0)


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[ExpendableProcess]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    found = ExpendableProcess("tests.runtime.calls:perform", LIMITS)
    yield found
    found.close()


def test_arrays_come_back_and_can_be_written(process: ExpendableProcess) -> None:
    for size in (0, 3, 300_000):
        sent = np.arange(size, dtype=np.float32)
        found = process.call("add_one", sent)
        np.testing.assert_array_equal(found, sent + 1)
        assert found.flags.writeable
    assert process.call("count")[1] == 4  # one process for all


def test_an_exception_is_raised_as_it_is_and_the_process_goes_on(process: ExpendableProcess) -> None:
    pid, _ = process.call("count")
    with pytest.raises(Retryable, match="the storage is away"):
        process.call("raise")
    with pytest.raises(RecursionError):
        process.call("recurse")
    assert process.call("count") == (pid, 4)


@pytest.mark.parametrize(
    ("deed", "arguments", "how", "by_itself"),
    [
        ("read_nothing", (), "killed by signal 11 (SIGSEGV)", True),
        ("abort", (), "killed by signal 6 (SIGABRT): free(): invalid pointer", True),
        ("kill", (), "killed by signal 9 (SIGKILL)", True),
        ("exit", (), "ended with exit code 3", True),
        ("allocate", (2 << 30,), "needs more than 1.1 GB of memory", True),
        ("loop", (), "took longer than 1 s of processor time", False),
    ],
)
def test_how_a_process_ended(
    process: ExpendableProcess, deed: str, arguments: tuple[int, ...], how: str, by_itself: bool
) -> None:
    with pytest.raises(Ended) as caught:
        process.call(deed, *arguments)
    assert str(caught.value) == how
    assert caught.value.by_itself == by_itself
    assert caught.value.notes == [deed]
    assert process.call("count")[1] == 1  # another one


def test_a_call_that_waits_is_ended_too(process: ExpendableProcess) -> None:
    process.call("count")
    impatient = ExpendableProcess("tests.runtime.calls:perform", Limits(1 << 30, 60.0, patience=0.2))
    with pytest.raises(Ended, match=r"^took longer than 0 s$"):
        impatient.call("sleep")
    impatient.close()


def test_each_call_has_its_own_time(process: ExpendableProcess) -> None:
    pid, _ = process.call("count")
    for _ in range(3):
        process.call("compute", 0.6 * LIMITS.seconds)
    assert process.call("count") == (pid, 5)


def test_the_time_of_preparing_does_not_count(process: ExpendableProcess) -> None:
    assert process.call("after_preparation", 1.5 * LIMITS.seconds) == 1.5 * LIMITS.seconds
    with pytest.raises(Ended, match="took longer than 1 s of processor time"):
        process.call("loop")


def test_the_memory_of_preparing_does_not_count(process: ExpendableProcess) -> None:
    for calls in (1, 2):
        assert process.call("beside_what_is_kept", LIMITS.memory) == (2 * calls + 0.5) * LIMITS.memory
    with pytest.raises(Ended, match=r"needs more than 1\.1 GB of memory"):
        process.call("allocate", 2 << 30)


def test_a_result_may_be_asked_for_later(process: ExpendableProcess) -> None:
    assert process.is_fresh
    process.begin("count")
    assert process.is_fresh
    assert process.result()[1] == 1
    assert not process.is_fresh
    process.begin("abort")
    with pytest.raises(Ended):
        process.result()
    assert process.is_fresh


def test_a_process_that_died_between_two_calls_is_noticed(process: ExpendableProcess) -> None:
    pid, _ = process.call("count")
    os.kill(pid, signal.SIGKILL)
    pace.wait_for("the end of the child", lambda: not processes.is_alive(pid))
    with pytest.raises(Ended, match="SIGKILL"):
        process.call("count")
    assert process.call("count")[1] == 1


def test_it_does_not_import_from_the_current_folder_and_has_one_thread(
    process: ExpendableProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path, environment = process.call("where")
    assert str(tmp_path) not in path
    assert "" not in path.split(os.pathsep)
    assert environment["OMP_NUM_THREADS"] == "1"


def test_a_function_that_cannot_be_imported_is_a_failure_and_no_endless_restart(process: ExpendableProcess) -> None:
    with pytest.raises(Retryable, match=r"did not start: ended with exit code 1: .*nothing_here"):
        ExpendableProcess("captionless.nothing_here:call", LIMITS).call()


def test_it_ends_with_its_parent() -> None:
    program = """
        from captionless.runtime.expendable_process import ExpendableProcess, Limits
        process = ExpendableProcess("tests.runtime.calls:perform", Limits(1 << 30, 60.0, 600.0))
        print(process.call("count")[0], flush=True)
        process.call("sleep")
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert processes.is_alive(child)
    parent.kill()
    parent.wait()
    pace.wait_for("the end of the child", lambda: not processes.is_alive(child))
    parent.stdout.close()
