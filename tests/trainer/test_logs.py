"""What a run tells its logs: event files beside TensorBoard's own bytes, and Weights & Biases, real if it is there."""

from __future__ import annotations

import builtins
import importlib.util
import struct
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from captionless.errors import Interrupted, SpecError
from captionless.trainer import loop
from captionless.trainer.logs import event_files
from captionless.trainer.run_folder import of_other_runs
from tests.trainer import synthetic
from tests.trainer.test_loop import after, outcome

OF_TENSORBOARD = bytes.fromhex(
    "1800000000000000a37f4b220900001040fc54d9411a0d627261696e2e4576656e743a32338d2fe92300000000000000b09f7743090000"
    "1040fc54d9412a180a0b0a046c6f7373150000c03f0a090a026c72156f12833a5675474a1b000000000000001a0d9e130900006040fc54"
    "d94110ac022a0d0a0b0a046c6f7373150000803edc1ba2a3"
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("logs")
    synthetic.write(path, train=24)
    return path


def read(data: bytes) -> Iterator[tuple[int, dict[str, float]]]:
    """The steps of an event file and their figures, by a reader of protobuf that knows nothing of the writer."""
    while data:
        (size,) = struct.unpack("<Q", data[:8])
        event = dict(fields(data[12 : 12 + size]))
        data = data[16 + size :]
        if 5 in event:
            values = [dict(fields(value)) for _, value in fields(event[5])]
            yield event.get(2, 0), {v[1].decode(): struct.unpack("<f", v[2])[0] for v in values}


def fields(message: bytes) -> Iterator[tuple[int, Any]]:
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
            continue
        size = {1: 8, 5: 4}.get(key & 7) or varint()
        yield key >> 3, message[at : at + size]
        at += size


def told(root: Path, run: str) -> dict[int, dict[str, float]]:
    files = sorted((root / run).glob("tensorboard/*/events.out.tfevents.*"))
    found: dict[int, dict[str, float]] = {}
    for file in files:
        for step, values in read(file.read_bytes()):
            assert values.keys().isdisjoint(found.get(step, {}))
            found.setdefault(step, {}).update(values)
    return found


def test_event_files_are_those_of_tensorboards_own_messages() -> None:
    """Written by tensorboardX 2.6.5 from its event.proto, and read by tensorboard 2.21."""
    figures = [(0, 1700000000.25, {"loss": 1.5, "lr": 0.001}), (300, 1700000001.5, {"loss": 0.25})]
    assert event_files.encoded(figures) == OF_TENSORBOARD
    assert [*read(OF_TENSORBOARD)][1] == (300, {"loss": 0.25})
    assert event_files.encoded([]) == b""


def test_every_step_is_told_once_however_often_a_run_is_stopped(root: Path) -> None:
    given: dict[str, Any] = {"logs": "tensorboard", "validation": {"share": 0.25, "every": 2}}
    job = synthetic.job(root, "events", **given)
    with pytest.raises(Interrupted):
        loop.train(job, after(3))
    assert sorted(told(root, "events")) == [0, 1, 2]
    newest = sorted((root / "events" / "checkpoints").glob("step-*"))[-1]
    newest.unlink()  # as if it had been killed before it was stored: step 2 is made, and told, again
    loop.train(job)
    _, history = outcome(root, "events")
    found = told(root, "events")
    assert sorted(found) == list(range(6))
    for name in ("loss", "scale", "lr", "grad_norm", "weight_entropy"):
        assert [found[step][name] for step in range(6)] == pytest.approx(history[name], rel=1e-6)
    scores = {step + 1: row["mean_reciprocal_rank"] for step, row in found.items() if "mean_reciprocal_rank" in row}
    assert list(scores) == history["validation"]["step"]
    assert list(scores.values()) == pytest.approx(history["validation"]["mean_reciprocal_rank"], rel=1e-6)
    names = [str(path.relative_to(root / "events")) for path in (root / "events").rglob("events.*")]
    assert of_other_runs(names, "0" * 64) == sorted(names)


def test_logs_move_no_bit(root: Path) -> None:
    for run, logs in (("told", ["tensorboard"]), ("untold", [])):
        loop.train(synthetic.job(root, run, steps=2, logs=logs))
    assert (root / "told" / "model.pt").read_bytes() != b""
    assert outcome(root, "told")[1] == outcome(root, "untold")[1]
    assert synthetic.job(root, "x", logs=["wandb"]).fingerprint("data") == synthetic.job(root, "x").fingerprint("data")


class _Run:
    """What `wandb.init` returns."""

    def __init__(self, **given: Any) -> None:
        self.given, self.rows, self.finished = given, list[tuple[int, dict[str, float]]](), False

    def log(self, values: dict[str, float], step: int) -> None:
        self.rows.append((step, values))

    def finish(self) -> None:
        self.finished = True


def test_weights_and_biases_is_told_as_it_goes_and_resumed_under_one_id(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[_Run] = []
    theirs = types.ModuleType("wandb")
    theirs.init = lambda **given: runs.append(_Run(**given)) or runs[-1]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", theirs)
    monkeypatch.delenv("WANDB_DIR", raising=False)
    job = synthetic.job(root, "biased", logs=["wandb"], steps=3)
    with pytest.raises(Interrupted):
        loop.train(job, after(2))
    loop.train(job)
    assert [step for run in runs for step, _ in run.rows] == [0, 1, 2]
    assert runs[0].given["id"] == runs[1].given["id"]
    assert runs[0].given["resume"] == "allow"
    assert runs[0].given["name"] == "i2i seed 0"
    assert runs[0].given["dir"] == str(root / "biased")
    assert runs[0].given["config"]["train.steps"] == 3
    assert all(run.finished for run in runs)


def test_weights_and_biases_that_cannot_be_used_is_refused_in_one_line(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = synthetic.job(root, "refused", logs=["wandb"])

    def refuse(**given: Any) -> None:
        raise RuntimeError("no API key\nconfigured")

    theirs = types.ModuleType("wandb")
    theirs.init = refuse  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", theirs)
    with pytest.raises(SpecError, match=r"^train\.logs: wandb: no API key configured; log in .*WANDB_MODE=offline$"):
        loop.train(job)
    real = builtins.__import__
    monkeypatch.delitem(sys.modules, "wandb")

    def absent(name: str, *given: Any) -> Any:
        if name == "wandb":
            raise ImportError(name)
        return real(name, *given)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(SpecError, match=r"^train\.logs: wandb: the package is not installed; pip install"):
        loop.train(job)


@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="the extra wandb is not installed")
def test_weights_and_biases_itself_keeps_a_run_offline(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    loop.train(synthetic.job(root, "offline", logs=["wandb"], steps=2))
    assert [*tmp_path.rglob("*.wandb")]
