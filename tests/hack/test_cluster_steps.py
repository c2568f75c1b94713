"""The test cluster's own machinery: the order of steps, whole folders, processes, schemas."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from hack.cluster import layout, processes, schemas, tools
from hack.cluster.steps import Failed, Log, Step, needed, run, table
from tests import pace


def test_steps_follow_what_they_need_and_meet_where_they_may(tmp_path: Path) -> None:
    together = threading.Barrier(2, timeout=pace.seconds(20))
    order: list[str] = []

    def meet(log: Log) -> None:
        together.wait()  # passes only when the other one runs at the same time
        order.append(log.path.stem)

    def last(log: Log) -> None:
        order.append("last")
        log.note = "done"

    took = run([Step("last", last, ("a", "b")), Step("a", meet), Step("b", meet)], tmp_path)
    assert sorted(order[:2]) == ["a", "b"]
    assert order[2] == "last"
    assert "done" in table(took)


def test_steps_of_a_lane_go_one_at_a_time(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work(log: Log) -> None:
        inside.append(1)
        most.append(len(inside))
        inside.pop()

    run([Step(f"{i}", work, lane="go") for i in range(20)], tmp_path)
    assert max(most) == 1


def test_a_failed_step_tells_its_log_and_nothing_after_it_runs(tmp_path: Path) -> None:
    ran: list[str] = []
    steps = [
        Step("bad", lambda log: log.run("sh", "-c", "echo out of cheese; exit 3")),
        Step("after", lambda log: ran.append("after"), ("bad",)),
    ]
    with pytest.raises(Failed, match=r"(?s)returned 3.*out of cheese"):
        run(steps, tmp_path)
    assert ran == []


def test_targets_bring_what_they_need_and_no_more() -> None:
    nothing = lambda log: None  # noqa: E731
    steps = [Step("a", nothing), Step("b", nothing, ("a",)), Step("c", nothing), Step("d", nothing, ("b",))]
    assert [s.name for s in needed(steps, ["d"])] == ["a", "b", "d"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def interrupted() -> None:
        with tools.whole(tmp_path / "tool") as scratch:
            (scratch / "half").write_text("")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    with tools.whole(tmp_path / "tool") as scratch:
        (scratch / "all").write_text("")
    assert [p.name for p in tmp_path.rglob("*")] == ["tool", "all"]


def test_the_digest_sees_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("1")
    first = tools.digest(tmp_path)
    assert tools.digest(tmp_path) == first
    (tmp_path / "x").write_text("2")
    changed = tools.digest(tmp_path)
    (tmp_path / "x").rename(tmp_path / "y")
    assert len({first, changed, tools.digest(tmp_path)}) == 3


@pytest.fixture
def own_run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(layout, "LOGS", tmp_path)
    monkeypatch.setattr(processes, "_PIDS", tmp_path / "pids")
    return tmp_path


def test_a_process_is_started_once_found_again_and_ended(own_run_folder: Path) -> None:
    command = ["sh", "-c", "echo up; exec sleep 300"]
    assert processes.start("sleeper", command, {})
    pid = processes.running("sleeper")
    assert pid is not None
    assert not processes.start("sleeper", command, {})
    assert os.getsid(pid) == pid != os.getsid(0)  # it outlives the shell that started it
    processes.wait_for("it says so", lambda: "up" in processes.log("sleeper").read_text(), pace.seconds(20), "sleeper")
    processes.stop(["sleeper"])
    assert processes.running("sleeper") is None
    assert processes.noted() == []


def test_a_process_that_ignores_sigterm_is_killed(own_run_folder: Path) -> None:
    processes.start("stubborn", ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done"], {})
    processes.wait_for("deaf", lambda: "deaf" in processes.log("stubborn").read_text(), pace.seconds(20), "stubborn")
    processes.stop(["stubborn"], patience=0.3)
    assert processes.running("stubborn") is None


def test_a_number_given_to_another_process_is_not_taken_for_ours(own_run_folder: Path) -> None:
    other = subprocess.Popen(["sleep", "300"])
    try:
        (own_run_folder / "pids").mkdir()
        (own_run_folder / "pids/ours").write_text(json.dumps({"pid": other.pid, "began": 1}))
        assert processes.running("ours") is None
        processes.stop(["ours"])
        assert other.poll() is None
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()


def test_waiting_for_a_process_that_ends_tells_what_it_said(own_run_folder: Path) -> None:
    processes.start("short", ["sh", "-c", "echo no such flag; exit 1"], {})
    with pytest.raises(Failed, match=r"(?s)short has exited.*no such flag"):
        processes.wait_for("it serves", lambda: False, pace.seconds(20), "short")


SWAGGER: dict[str, Any] = {
    "definitions": {
        "Thing": {
            "type": "object",
            "required": ["spec"],
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": {"$ref": "#/definitions/Meta"},
                "spec": {"$ref": "#/definitions/Spec"},
            },
            "x-kubernetes-group-version-kind": [{"group": "some.group.io", "version": "v1", "kind": "Thing"}],
        },
        "Meta": {"type": "object", "properties": {"name": {"type": "string"}}},
        "Spec": {
            "type": "object",
            "properties": {
                "port": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.util.intstr.IntOrString"},
                "nested": {"$ref": "#/definitions/Spec"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        },
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": "string", "format": "int-or-string"},
        "Unused": {"type": "object"},
    }
}


def _verdict(schema: dict[str, Any], document: dict[str, Any]) -> bool:
    jsonschema = pytest.importorskip("jsonschema")
    return bool(jsonschema.Draft7Validator(schema).is_valid(document))


@pytest.mark.parametrize(
    ("spec", "valid"),
    [
        ({"port": 80}, True),
        ({"port": "http"}, True),
        ({"port": None}, True),
        ({"port": [80]}, False),
        ({"nested": {"nested": {"port": 1}}}, True),
        ({"nested": {"prot": 1}}, False),
        ({"labels": {"any": "name"}}, True),
        ({"labels": {"any": 1}}, False),
    ],
)
def test_schemas_of_a_release_are_strict_and_stand_alone(tmp_path: Path, spec: dict[str, Any], valid: bool) -> None:
    assert schemas.from_swagger(SWAGGER, tmp_path) == 1
    schema = json.loads((tmp_path / "thing-some-v1.json").read_text())
    assert "Unused" not in schema["definitions"]
    document = {"apiVersion": "some.group.io/v1", "kind": "Thing", "metadata": {"name": "x"}, "spec": spec}
    assert _verdict(schema, document) is valid
    assert not _verdict(schema, {**document, "apiVersion": "some.group.io/v2"})
    assert not _verdict(schema, {k: v for k, v in document.items() if k != "spec"})


def test_schemas_of_crds_keep_what_the_server_would_keep(tmp_path: Path) -> None:
    properties = {
        "count": {"type": "integer"},
        "free": {
            "type": "object",
            "properties": {"a": {"type": "string"}},
            "x-kubernetes-preserve-unknown-fields": True,
        },
        "either": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
    }
    spec = {"type": "object", "properties": properties}
    crd = {
        "kind": "CustomResourceDefinition",
        "spec": {
            "group": "captionless.dev",
            "names": {"kind": "Alignment"},
            "versions": [
                {"name": "v1", "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}}
            ],
        },
    }
    assert schemas.from_crds([crd, {"kind": "Namespace"}], tmp_path) == 1
    schema = json.loads((tmp_path / "alignment-captionless-v1.json").read_text())
    document = {"apiVersion": "captionless.dev/v1", "kind": "Alignment", "metadata": {"name": "x", "labels": {}}}
    assert _verdict(schema, {**document, "spec": {"count": 1, "free": {"b": 1}, "either": "x"}})
    assert _verdict(schema, {**document, "spec": {"either": 1}})
    assert not _verdict(schema, {**document, "spec": {"cuont": 1}})
    assert not _verdict(schema, {**document, "spec": {"count": "one"}})
