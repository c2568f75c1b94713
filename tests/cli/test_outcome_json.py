"""`--json` of every stage's command: one line on stdout that says what was done, all else on stderr."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from captionless.cli.app import app

SPEC = """
output: {out}
data:
  source: {{kind: parametric, categories: [chair, lamp], objects: 6, testObjects: 4}}
  views: 2
  imageSize: 32
  points: 32
clip: {{model: captionless-demo}}
landmarks: {{count: 4}}
train: {{weights: [avg], steps: 2, batchSize: 4, points: 32, encoder: {{width: 4, nsample: 4}}}}
"""
UNITS = {
    "list": "object", "pack": "object", "embed": "object", "landmarks": "object", "similarity": "pair", "train": "run",
    "eval": "run", "neighbours": "pair",
}  # fmt: skip
COMMANDS = [
    "list", "pack", "embed", "landmarks", "similarity", "similarity --metric i2l", "train", "eval", "neighbours",
]  # fmt: skip


@pytest.mark.flow
def test_every_stage_says_what_it_has_done(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    spec = tmp_path / "run.yaml"
    spec.write_text(SPEC.format(out=tmp_path / "out"))

    def call(command: str) -> dict[str, Any]:
        stage, *options = command.split()
        where = [str(spec)]
        if stage == "neighbours":
            where = ["--dataset", str(tmp_path / "out" / "embed"), "--out", str(tmp_path / "near")]
        capfd.readouterr()
        found = app([stage, *options, *where, "--json"], standalone_mode=False)
        assert found is None or not isinstance(found, int)
        (line,) = capfd.readouterr().out.splitlines()
        outcome: dict[str, Any] = json.loads(line)
        assert list(outcome) == ["made", "kept", "removed", "skipped", "unit", "seconds"]
        assert outcome.pop("unit") == UNITS[stage]
        assert outcome.pop("seconds") >= 0
        return outcome

    made = {command: call(command) for command in COMMANDS}
    assert made["list"] == {"made": 10, "kept": 0, "removed": 0, "skipped": 0}
    assert {command: found["made"] for command, found in made.items()} == {
        "list": 10, "pack": 10, "embed": 10, "landmarks": 8, "similarity": 6, "similarity --metric i2l": 6, "train": 1,
        "eval": 1, "neighbours": 18,
    }  # fmt: skip
    again = {command: call(command) for command in COMMANDS}
    for command, found in made.items():
        assert again[command] == {"made": 0, "kept": found["made"], "removed": 0, "skipped": 0}


def test_results_of_one_checkpoint_are_no_outcome() -> None:
    asked = CliRunner().invoke(app, ["eval", "--checkpoint", "model.pt", "--data", "x.npz", "--json"])
    assert asked.exit_code == 2
    assert "--out" in asked.output
