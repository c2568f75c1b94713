"""The local runner's view of a stage; what it starts and stops is tested in tests/flow."""

from __future__ import annotations

from captionless.local.workers import StageProcesses
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.plan import plan
from captionless.telemetry.progress import ProgressState
from tests.flow.conftest import TINY


def test_a_stages_rate_is_its_workers_and_unknown_while_one_of_theirs_is() -> None:
    processes = StageProcesses(plan(AlignmentSpec.model_validate(TINY))[0], [])
    assert processes.progress() is None
    processes.states = {
        0: ProgressState("pack", "object", 10, 4, rate=2.0, before=1),
        1: ProgressState("pack", "object", 20, 5),
    }
    state = processes.progress()
    assert state is not None
    assert (state.done, state.total, state.before, state.rate, state.eta) == (9, 30, 1, 0.0, None)
    processes.states[1].rate = 1.0
    state = processes.progress()
    assert state is not None
    assert (state.rate, state.eta) == (3.0, 7.0)
    processes.states[0].done = 10
    state = processes.progress()
    assert state is not None
    assert (state.rate, state.eta) == (1.0, 15.0)
