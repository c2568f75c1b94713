"""The gang that a pod's environment describes."""

from __future__ import annotations

import pytest

from captionless.errors import SpecError
from captionless.runtime import env
from captionless.spec.alignment import AlignmentSpec
from captionless.trainer.elastic.gang import Gang, this_node


def spec(**resources: int) -> AlignmentSpec:
    return AlignmentSpec.model_validate(
        {
            "data": {"source": {"kind": "parametric"}},
            "train": {"peerTimeout": 60},
            "pods": {"graceSeconds": 300, "stages": [{"stage": "train", "graceSeconds": 90}]},
            "resources": resources,
        }
    )


def test_a_single_machine_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(env.RENDEZVOUS, raising=False)
    monkeypatch.setenv(env.INDEX, "0")
    assert this_node(spec(nodes=2)) is None


def test_a_pod_is_one_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(env.RENDEZVOUS, "run-train-1-0.run-train-1:29400")
    monkeypatch.setenv(env.INDEX, "2")
    assert this_node(spec(nodes=3)) == Gang(2, 3, 3, "run-train-1-0.run-train-1", 29400, 60, 75, 600)
    elastic = this_node(spec(nodes=3, minNodes=2))
    assert elastic is not None
    assert elastic.least == 2


@pytest.mark.parametrize(
    ("where", "index", "message"),
    [
        ("run-0", "0", env.RENDEZVOUS),
        (":29400", "0", env.RENDEZVOUS),
        ("run-0:http", "0", env.RENDEZVOUS),
        ("run-0:29400", "", env.INDEX),
        ("run-0:29400", "3", env.INDEX),
    ],
    ids=["no port", "no host", "a port by name", "no index", "an index too large"],
)
def test_a_wrong_environment_is_reported(where: str, index: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(env.RENDEZVOUS, where)
    monkeypatch.setenv(env.INDEX, index)
    with pytest.raises(SpecError, match=message):
        this_node(spec(nodes=3))
