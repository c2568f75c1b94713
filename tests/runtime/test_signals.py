"""Ending with a parent, and a pool that does not hold up the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future

import pytest

from captionless.errors import Interrupted
from captionless.runtime import env, processes, signals, thread_pools
from tests import pace

_CHILD = "from captionless.runtime.parent_death import end_with_parent; end_with_parent(); print('alive')"


def _child(parent: int | None) -> subprocess.CompletedProcess[str]:
    named = {} if parent is None else {env.PARENT: str(parent)}
    return subprocess.run([sys.executable, "-c", _CHILD], env={**os.environ, **named}, capture_output=True, text=True)


def test_a_child_whose_parent_is_gone_ends_at_once() -> None:
    gone = subprocess.Popen(["true"])
    os.waitid(os.P_PID, gone.pid, os.WEXITED | os.WNOWAIT)  # ended, and nobody has reaped it
    assert not processes.is_alive(gone.pid)
    assert _child(gone.pid).returncode == Interrupted.exit_code
    gone.wait()
    assert not processes.is_alive(gone.pid)
    assert _child(gone.pid).returncode == Interrupted.exit_code
    for alive in (os.getpid(), None):
        assert _child(alive).stdout == "alive\n"


def test_a_stopped_process_does_not_wait_for_its_threads() -> None:
    hold = threading.Event()
    waiting: list[Future[bool]] = []

    def stopped() -> None:
        with thread_pools.thread_pool(1) as pool:
            waiting.extend(pool.submit(hold.wait) for _ in range(2))
            raise signals.Stopped("stopped by SIGTERM")

    with pytest.raises(signals.Stopped):
        stopped()
    assert not waiting[0].done()
    assert waiting[1].cancelled()
    hold.set()
    assert waiting[0].result()
    with thread_pools.thread_pool(2) as pool:
        assert list(pool.map(abs, [-1, -2])) == [1, 2]


def test_noted_signals_raise_nothing_before_the_end() -> None:
    before = signal.getsignal(signal.SIGTERM)
    asked = []

    def at_the_end() -> None:
        with signals.defer_signals() as stop:
            asked.append(stop())
            os.kill(os.getpid(), signal.SIGTERM)
            asked.append(stop())

    def at_a_good_place() -> None:
        with signals.defer_signals() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            if stop():
                raise Interrupted("at a good place")

    with pytest.raises(signals.Stopped, match="SIGTERM"):
        at_the_end()
    assert asked == [False, True]
    assert signal.getsignal(signal.SIGTERM) is before
    with pytest.raises(Interrupted, match="at a good place"):
        at_a_good_place()


def test_signals_that_are_only_noted_raise_nothing() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with signals.note_signals() as stop:
        assert not stop()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()
    assert signal.getsignal(signal.SIGTERM) is before


def test_another_thread_leaves_the_handlers() -> None:
    before, found = signal.getsignal(signal.SIGTERM), []

    def elsewhere() -> None:
        with signals.note_signals() as stop:
            found.append((signal.getsignal(signal.SIGTERM), stop()))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert found == [(before, False)]


def test_a_stopped_process_is_alive() -> None:
    child = subprocess.Popen(["sleep", "600"])
    try:
        os.kill(child.pid, signal.SIGSTOP)
        pace.wait_for("the child to stop", lambda: processes.is_stopped(child.pid), 20)
        assert processes.is_alive(child.pid)
    finally:
        child.kill()
        child.wait()
    assert not processes.is_stopped(child.pid)
    assert processes.state(child.pid) == ""


STOPPED = """
import os, signal, sys, time
from captionless.runtime import signals

signals.stop_on_signals()


class Signalled:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0)  # where the handler runs


def ask():
    if sys.argv[1] == "destructor":
        Signalled()  # Python drops what is raised in it
    else:
        os.kill(os.getpid(), signal.SIGTERM)


try:
    try:
        ask()
        for _ in range(6000):
            time.sleep(0.01)
        print("never stopped")
    finally:
        try:
            raise KeyError("of the clean-up")
        except KeyError:
            time.sleep(3 * signals._AGAIN)
        print("cleaned up")
except signals.Stopped as stopped:
    signals.ignore_signals()
    print(stopped)
time.sleep(2 * signals._AGAIN)
print("ended")
"""


@pytest.mark.parametrize("where", ["destructor", "block"])
def test_a_signal_comes_again_until_the_main_thread_unwinds_and_disturbs_no_clean_up(where: str) -> None:
    out = subprocess.run([sys.executable, "-c", STOPPED, where], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert out.splitlines() == ["cleaned up", "stopped by SIGTERM; rerun to resume", "ended"]
