"""OpenShape's recipe with hard negatives: a trained encoder, mined once, is trained on, by two commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from captionless.errors import Retryable
from captionless.store.neighbour_store import content_digest
from captionless.trainer.model_file import load_model
from tests.flow.conftest import Finished, call

pytestmark = pytest.mark.flow

FIRST = "out/train/uniform-seed0/model.pt"
BATCHES = "train.batches={kind: neighbours, group: 3, candidates: 4, from: out/near}"


def test_mining_and_training_on_are_two_commands(finished: Finished, tmp_path: Path) -> None:
    shutil.copytree(finished.folder / "out", tmp_path / "out")
    shutil.copy(finished.spec, tmp_path / "tiny.yaml")
    on = ("--weights", "uniform", "--seed", "1")
    changes = (f"train.init={FIRST}", BATCHES, "output=out")
    train = ("train", "tiny.yaml", *on, *(word for change in changes for word in ("--set", change)))

    early = call(*train, "--wait-inputs", "1s", cwd=tmp_path)
    assert early.returncode == Retryable.exit_code, early.stderr
    assert "out/near" in early.stderr

    mining = ("neighbours", "--dataset", "out/embed", "--out", "out/near", "--of", FIRST, "--within", "dataset")
    mined = call(*mining, "--k", "4", cwd=tmp_path)
    assert mined.returncode == 0, mined.stderr
    trained = call(*train, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr

    _, about = load_model(str(tmp_path / "out" / "train" / "uniform-seed1"))
    assert about["provenance"]["neighbours"] == content_digest(str(tmp_path / "out" / "near"))
    assert about["train"]["batches"]["from_"] == "out/near"
    manifest = json.loads((tmp_path / "out" / "train" / "uniform-seed1" / "manifest.json").read_text())
    assert manifest["inputs"]["neighbours"]["digest"] == about["provenance"]["neighbours"]
