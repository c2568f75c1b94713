"""Every state of a run by the rules of kstatus, and by the columns that `kubectl get` prints."""

from __future__ import annotations

from typing import Any

import pytest

from captionless.controller.conditions import conditions
from captionless.controller.diagnosis import Cause
from captionless.kube.condition_types import TYPES
from captionless.kube.crd import crd
from captionless.kube.stage_record import StageState
from tests.controller.kstatus import kstatus
from tests.controller.states import RUNS, stage_states, states

STATES = states()


@pytest.mark.parametrize(("found", "expected"), STATES.values(), ids=STATES)
def test_every_state_of_a_run_is_to_kstatus_what_it_should_be(found: dict[str, Any], expected: str) -> None:
    assert kstatus(found) == expected


def test_all_states_of_stages_occur() -> None:
    assert stage_states() == set(StageState)


@pytest.mark.parametrize("found", [r for r, _ in RUNS.values()], ids=RUNS)
def test_the_conditions_agree(found: Any) -> None:
    by_type = {c["type"]: c["status"] for c in conditions(found)}
    assert (by_type["Reconciling"], by_type["Stalled"]) != ("True", "True")
    assert (by_type["Ready"] == "True") == (by_type["Reconciling"] == by_type["Stalled"] == "False")
    assert (by_type["Stalled"] == "True") == (by_type["Succeeded"] == "False")


def _column(name: str, found: dict[str, Any]) -> str:
    """A column whose path selects a condition."""
    path = next(c for c in crd()["spec"]["versions"][0]["additionalPrinterColumns"] if c["name"] == name)["jsonPath"]
    kind = path.split('"')[1]
    return next((str(c["reason"]) for c in found["status"].get("conditions", ()) if c["type"] == kind), "")


def test_columns_tell_a_failed_run_from_one_that_runs() -> None:
    shown = {
        "unseen": "",
        "running": "Running",
        "suspending": "Suspending",
        "suspended": "Suspended",
        "queued": "Queued",
        "failed": "StageFailed",
        "succeeded": "Completed",
        "invalid": "SpecInvalid",
    }
    assert {name: _column("Status", STATES[name][0]) for name in shown} == shown
    assert _column("Progressing", STATES["no-image"][0]) == "ImagePullFailed"


def test_what_hinders_a_run_is_told_while_it_is_current() -> None:
    causes = {
        "unschedulable": "Unschedulable",
        "no-secret": "CreateContainerConfigError",
        "pods-forbidden": "PodsForbidden",
        "retrying": "Retrying",
        "shard-failed": "ShardFailed",
        "no-progress": "NoProgress",
        "node-lost": "NodeLost",
        "later-job-refused": "Forbidden",
        "not-understood": "SpecInvalid",
    }
    for name, reason in causes.items():
        found = next(c for c in STATES[name][0]["status"]["conditions"] if c["type"] == "Progressing")
        assert (found["status"], found["reason"]) == ("False", reason), Cause(name, found["message"])


def test_why_the_first_job_is_not_accepted_is_told() -> None:
    found = next(c for c in STATES["first-job-refused"][0]["status"]["conditions"] if c["type"] == "Reconciling")
    assert (found["reason"], found["message"]) == ("Forbidden", "exceeded quota: jobs.batch")


def test_a_status_has_every_type_of_condition() -> None:
    found, _ = RUNS["running"]
    assert tuple(c["type"] for c in conditions(found)) == TYPES
