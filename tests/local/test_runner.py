"""The local runner's view of a stage; what it starts and stops is tested in tests/flow."""

from __future__ import annotations

from captionless.local.runner import Job
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.plan import plan
from captionless.telemetry.progress import ProgressState
from tests.flow.conftest import TINY


def test_a_stages_rate_is_its_workers_and_unknown_while_one_of_theirs_is() -> None:
    job = Job(plan(AlignmentSpec.model_validate(TINY))[0], [])
    assert job.progress() is None
    job.states = {
        0: ProgressState("pack", "object", 10, 4, rate=2.0, before=1),
        1: ProgressState("pack", "object", 20, 5),
    }
    state = job.progress()
    assert state is not None
    assert (state.done, state.total, state.before, state.rate, state.eta) == (9, 30, 1, 0.0, None)
    job.states[1].rate = 1.0
    state = job.progress()
    assert state is not None
    assert (state.rate, state.eta) == (3.0, 7.0)
    job.states[0].done = 10
    state = job.progress()
    assert state is not None
    assert (state.rate, state.eta) == (1.0, 15.0)
