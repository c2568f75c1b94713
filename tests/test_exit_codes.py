"""The published exit codes, and that everything which reads one agrees: README, CLI, Jobs, controller and client."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from captionless import errors
from captionless.client.alignment_view import AlignmentView, failure
from captionless.controller.diagnosis import failure_cause
from captionless.controller.policies.backoff_reset import overdue
from captionless.errors import CaptionlessError, PodFailureAction, exit_codes
from captionless.kube.api import KubernetesApi
from captionless.kube.jobs.failure import pod_failure_policy
from tests.client import objects
from tests.client.api import Server
from tests.client.conftest import api, server
from tests.controller.seen import ended, pod, stage, workload

__all__ = ["api", "server"]

README = Path(__file__).parents[1] / "README.md"

# code, class, action for a sharded stage, action for a training
CONTRACT = [
    pytest.param(1, errors.CaptionlessError, "Count", "Count", id="1-failed"),
    pytest.param(1, errors.Retryable, "Count", "Count", id="1-retryable"),
    pytest.param(2, errors.UsageError, "FailJob", "FailJob", id="2-usage"),
    pytest.param(64, errors.SpecError, "FailJob", "FailJob", id="64-spec"),
    pytest.param(64, errors.LossNotFinite, "FailJob", "FailJob", id="64-loss"),
    pytest.param(65, errors.DataError, "FailIndex", "FailJob", id="65-data"),
    pytest.param(75, errors.Interrupted, "Ignore", "Ignore", id="75-interrupted"),
]


def _action(gang: bool, code: int) -> str:
    """What the Job controller does: the first rule that matches decides, and what matches none is counted."""
    for rule in pod_failure_policy(gang)["rules"]:
        if code in rule.get("onExitCodes", {}).get("values", ()):
            return str(rule["action"])
    return "Count"


@pytest.mark.parametrize(("code", "kind", "sharded", "gang"), CONTRACT)
def test_classes_and_jobs_agree(code: int, kind: type[CaptionlessError], sharded: str, gang: str) -> None:
    assert kind.exit_code == code
    assert kind.pod_failure_action == sharded
    assert (_action(False, code), _action(True, code)) == (sharded, gang)


def test_every_class_is_in_the_contract() -> None:
    found = {k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, CaptionlessError)}
    assert found == {p.values[1] for p in CONTRACT}
    every = exit_codes(*PodFailureAction)
    assert every == (1, 2, 64, 65, 75)
    assert sum(len(exit_codes(a)) for a in PodFailureAction) == len(every), "a code means one thing"


def test_the_readme_names_them() -> None:
    (line,) = re.findall(r"^Exit codes: (.*?)\.\n", README.read_text(), re.MULTILINE | re.DOTALL)
    published = {int(piece.split()[0]) for piece in line.split(";")}
    assert published == {0, *exit_codes(*PodFailureAction)}


def test_the_module_lists_them() -> None:
    listed = {int(c) for c in re.findall(r"^(\d+) ", errors.__doc__ or "", re.MULTILINE)}
    assert listed == {0, *exit_codes(*PodFailureAction)}


@pytest.mark.parametrize(("code", "kind", "sharded", "gang"), CONTRACT)
def test_the_controller_reads_them_so(code: int, kind: type[CaptionlessError], sharded: str, gang: str) -> None:
    one = pod(**ended(code, "words", kind=kind.__name__))
    ignored = sharded == "Ignore"
    assert one.disrupted is ignored
    cause = failure_cause(stage("pack"), [one])
    assert (cause is None) is ignored
    if cause is not None:
        assert cause.reason == (kind.__name__ if kind is not CaptionlessError else "Crashed")
    # of several pods, one that fails the Job explains it, then one that fails its index
    crashed = pod(index=0, **ended(137))
    cause = failure_cause(stage("pack"), [crashed, replace(one, index=1)])
    assert cause is not None
    assert (kind.__name__ in cause.reason) is (sharded in ("FailJob", "FailIndex"))
    waiting_long = replace(one, failures=2, ignored=8)
    assert overdue(workload(), [waiting_long]) is (sharded in ("Count", "Ignore"))


@pytest.mark.parametrize(("code", "kind", "sharded", "gang"), CONTRACT)
def test_a_run_that_is_watched_ends_with_them(
    code: int, kind: type[CaptionlessError], sharded: str, gang: str, server: Server, api: KubernetesApi
) -> None:
    """With that of the pods; a usage error in a pod is for the watcher a wrong spec."""
    server.put(objects.pod("embed", 0, "Failed", code=code))
    run = AlignmentView(objects.alignment(stages=[objects.stage("embed", "Failed")]))
    expected = {2: 64, 75: 1}.get(code, code)
    assert failure(api, run).exit_code == expected
