from __future__ import annotations

import threading

from captionless.controller import workqueue
from captionless.controller.workqueue import WorkQueue
from tests import pace


def test_a_key_added_twice_is_handed_out_once() -> None:
    queue = WorkQueue[str]()
    for key in ("a", "b", "a"):
        queue.add(key)
    assert {queue.get(), queue.get()} == {"a", "b"}
    assert len(queue) == 0


def test_one_that_is_worked_on_waits_until_it_is_done() -> None:
    queue = WorkQueue[str]()
    queue.add("a")
    assert queue.get() == "a"
    queue.add("a")
    queue.add("b")
    assert queue.get() == "b", "a is being worked on"
    queue.done("a")
    assert queue.get() == "a"


def test_the_earlier_time_counts() -> None:
    queue = WorkQueue[str]()
    queue.add("a", after=3600)
    queue.add("a")
    queue.add("a", after=3600)
    assert queue.get() == "a"
    assert len(queue) == 0


def test_a_failure_comes_back_after_a_growing_pause(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    queue = WorkQueue[str]()
    pauses: list[float] = []
    monkeypatch.setattr(queue, "add", lambda key, after=0.0: pauses.append(after))
    for _ in range(2000):  # beyond the exponents of a float
        queue.done("a", failed=True)
    assert pauses[:3] == [workqueue.BACKOFF.first, 2 * workqueue.BACKOFF.first, 4 * workqueue.BACKOFF.first]
    assert pauses[-1] == workqueue.BACKOFF.longest
    queue.done("a")
    queue.done("a", failed=True)
    assert pauses[-1] == workqueue.BACKOFF.first


def test_no_key_is_worked_on_twice_at_once() -> None:
    queue = WorkQueue[int]()
    busy: set[int] = set()
    handled = [0] * 5
    lock = threading.Lock()
    wrong = []

    def work() -> None:
        while (key := queue.get()) is not None:
            with lock:
                wrong.extend([key] if key in busy else [])
                busy.add(key)
            handled[key] += 1
            with lock:
                busy.discard(key)
            queue.done(key)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for i in range(2000):
        queue.add(i % 5)
    while len(queue):
        pass
    queue.stop()
    for t in threads:
        t.join(timeout=pace.seconds(10))
        assert not t.is_alive()
    assert not wrong
    assert all(handled)


def test_stop_lets_waiting_workers_go() -> None:
    queue = WorkQueue[str]()
    got: list[str | None] = []
    thread = threading.Thread(target=lambda: got.append(queue.get()))
    thread.start()
    queue.stop()
    thread.join(timeout=pace.seconds(10))
    assert got == [None]
