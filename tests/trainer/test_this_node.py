"""The gang that a pod's environment describes."""

from __future__ import annotations

import pytest

from captionless import environment
from captionless.errors import SpecError
from captionless.spec import AlignmentSpec
from captionless.trainer.gang import Gang, this_node


def spec(**resources: int) -> AlignmentSpec:
    return AlignmentSpec.model_validate(
        {
            "data": {"source": {"kind": "parametric"}},
            "train": {"peerTimeout": 60},
            "pods": {"graceSeconds": 90},
            "resources": resources,
        }
    )


def test_a_single_machine_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(environment.RENDEZVOUS, raising=False)
    monkeypatch.setenv(environment.INDEX, "0")
    assert this_node(spec(nodes=2)) is None


def test_a_pod_is_one_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environment.RENDEZVOUS, "run-train-1-0.run-train-1:29400")
    monkeypatch.setenv(environment.INDEX, "2")
    assert this_node(spec(nodes=3)) == Gang(2, 3, 3, "run-train-1-0.run-train-1", 29400, 60, 75)
    elastic = this_node(spec(nodes=3, minNodes=2))
    assert elastic is not None
    assert elastic.least == 2


@pytest.mark.parametrize(
    ("where", "index", "told"),
    [
        ("run-0", "0", environment.RENDEZVOUS),
        (":29400", "0", environment.RENDEZVOUS),
        ("run-0:http", "0", environment.RENDEZVOUS),
        ("run-0:29400", "", environment.INDEX),
        ("run-0:29400", "3", environment.INDEX),
    ],
)
def test_a_wrong_environment_is_told(where: str, index: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environment.RENDEZVOUS, where)
    monkeypatch.setenv(environment.INDEX, index)
    with pytest.raises(SpecError, match=told):
        this_node(spec(nodes=3))
