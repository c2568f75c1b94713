"""Waiting for the manifests of the stages before."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from captionless.errors import Retryable, SpecError
from captionless.spec.alignment import AlignmentSpec
from captionless.stages import chain, wait_inputs
from captionless.store import neighbour_store
from captionless.store.ledger import Ledger
from captionless.store.manifest import MadeFrom
from tests import pace
from tests.flow.conftest import TINY, call, write_spec


def spec(root: Path) -> AlignmentSpec:
    return AlignmentSpec.model_validate({**TINY, "output": str(root)})


@pytest.mark.parametrize(
    ("stage", "inputs"),
    [
        ("list", ()),
        ("pack", ("list",)),
        ("landmarks", ("list",)),
        ("embed", ("pack",)),
        ("similarity-i2i", ("embed",)),
        ("similarity-i2l", ("embed", "landmarks")),
        ("train-uniform-seed0", ("embed",)),
        ("train-avg-seed0", ("embed", "similarity-i2i", "similarity-i2l")),
        ("train-avg", ("embed", "similarity-i2i", "similarity-i2l")),
        ("train-seed0", ("embed", "similarity-i2i", "similarity-i2l")),
        ("train", ("embed", "similarity-i2i", "similarity-i2l")),
        ("eval", ("train-uniform-seed0", "train-avg-seed0")),
    ],
)
def test_what_a_stage_reads(stage: str, inputs: tuple[str, ...], tmp_path: Path) -> None:
    assert chain.reads(spec(tmp_path), stage) == inputs


def test_it_goes_on_when_all_of_them_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are published one after the other, each once the stage has looked for it in vain."""
    monkeypatch.setattr(wait_inputs, "_POLL_SECONDS", 0.01)
    looked, verify, ready = threading.Semaphore(0), chain.verify, spec(tmp_path)

    def looking(*arguments: Any) -> Any:
        try:
            return verify(*arguments)
        except chain.NotReady:
            looked.release()
            raise

    def others() -> None:
        monkeypatch.setattr(chain, "verify", looking)
        for name in ("list", "pack", "landmarks", "embed"):
            assert looked.acquire(timeout=pace.seconds(60))
            made_from = MadeFrom(chain.settings(ready, name), verify(ready, name))
            Ledger(f"{tmp_path}/{name}").publish({}, made_from=made_from)

    thread = threading.Thread(target=others)
    thread.start()
    wait_inputs.wait(ready, "similarity-i2l", pace.seconds(60))
    thread.join()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("similarity-i2l: ")
    assert f"{tmp_path}/embed/manifest.json" in line
    wait_inputs.wait(ready, "similarity-i2l", 0)


def test_a_training_waits_for_stored_neighbours(tmp_path: Path) -> None:
    near, name = f"{tmp_path}/near", "train-uniform-seed0"
    ready = AlignmentSpec.model_validate(spec(tmp_path).model_dump(by_alias=True) | {
        "train": {**TINY["train"], "batches": {"kind": "neighbours", "from": near}},
    })  # fmt: skip
    for before in ("list", "pack", "embed"):
        Ledger(f"{tmp_path}/{before}").publish({}, made_from=chain.made_from(ready, before))
    with pytest.raises(Retryable, match=r"train\.batches\.from.*near"):
        wait_inputs.wait(ready, name, 0)
    store_neighbours(near, 4)
    wait_inputs.wait(ready, name, 0)
    Ledger(f"{tmp_path}/train/uniform-seed0").publish({}, made_from=chain.made_from(ready, name))
    only = {"train": {**TINY["train"], "weights": ["uniform"], "batches": {"kind": "neighbours", "from": near}}}
    alone = AlignmentSpec.model_validate({**TINY, "output": str(tmp_path), **only})
    assert chain.verify(alone, "eval")["neighbours"].digest
    store_neighbours(near, 5)
    with pytest.raises(chain.NotReady, match=f"other neighbours than {near}.*rerun {name}"):
        chain.verify(alone, "eval")


def store_neighbours(url: str, count: int) -> None:
    indices, source = np.array([[(i + 1) % count] for i in range(count)], np.int32), f"{count}" * 64
    block = neighbour_store.write_block(url, "dataset", 0, indices, np.ones((count, 1), np.float32), source)
    group = neighbour_store.NeighbourGroup("dataset", [f"object-{i}" for i in range(count)], source, [block])
    before = neighbour_store.FORMAT.manifest_bytes(url)
    neighbour_store.publish(url, "views", "dataset", 1, [group], before)


def test_an_earlier_runs_input_is_not_what_is_waited_for(tmp_path: Path) -> None:
    ready = spec(tmp_path)
    for name in ("list", "pack"):
        Ledger(f"{tmp_path}/{name}").publish({}, made_from=chain.made_from(ready, name))
    wait_inputs.wait(ready, "embed", 0)
    changed = AlignmentSpec.model_validate({**TINY, "data": {**TINY["data"], "elevation": 60}, "output": str(tmp_path)})
    with pytest.raises(Retryable, match=r"data\.elevation"):
        wait_inputs.wait(changed, "embed", 0.05)


def test_what_never_comes_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait_inputs, "_POLL_SECONDS", 0.01)
    with pytest.raises(Retryable, match=f"{tmp_path}/pack/manifest.json"):
        wait_inputs.wait(spec(tmp_path), "embed", 0.05)


def test_a_storage_that_cannot_be_used_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match=f"{tmp_path}/file"):
        wait_inputs.wait(spec(tmp_path / "file" / "out"), "embed", 600)


def test_on_the_command_line(tmp_path: Path) -> None:
    path = str(write_spec(tmp_path))
    manifest = f"{tmp_path}/out/pack/manifest.json"
    late = call("embed", path, "--wait-inputs", "0s", cwd=tmp_path)
    assert late.returncode == 1, late.stderr
    assert f"captionless: {manifest}: " in late.stderr
    now = call("embed", path, cwd=tmp_path)
    assert now.returncode == 65, now.stderr
    assert f"captionless: {manifest}: " in now.stderr
    wrong = call("embed", path, "--wait-inputs", "soon", cwd=tmp_path)
    assert wrong.returncode == 2, wrong.stderr
    assert "'soon'" in wrong.stderr
