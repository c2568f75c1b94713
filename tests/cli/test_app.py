"""What every command line is expected to do: help with examples, completion, quiet, JSON, colour only for eyes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from captionless.cli.app import app
from captionless.runtime import env
from tests.embedded import write_embedded

PROGRAM = Path(sys.executable).parent / "captionless"


def _commands(group: typer.core.TyperGroup, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if isinstance(command, typer.core.TyperGroup):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name)


COMMANDS = list(_commands(typer.main.get_command(app)))  # type: ignore[arg-type]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_says_what_it_does(command: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*command, "--help"])
    assert shown.exit_code == 0
    assert "Usage:" in shown.output
    assert len(shown.output.split()) > 20
    if command != ("controller",):
        assert shown.output.count("captionless ") > 1, "an example beside the usage"


def test_help_tells_the_exit_codes() -> None:
    shown = " ".join(CliRunner().invoke(app, ["--help"]).output.replace("│", " ").split())
    codes = re.findall(r"\b\d+\b", shown.partition("Exit codes:")[2])
    assert [int(code) for code in codes] == [0, 1, 2, 64, 65, 75]


def test_a_shell_completes_commands_and_options(tmp_path: Path) -> None:
    def completed(words: str) -> str:
        asked = {
            **os.environ, "_CAPTIONLESS_COMPLETE": "complete_bash", "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
        }  # fmt: skip
        return subprocess.run([PROGRAM], env=asked, capture_output=True, text=True, check=True, cwd=tmp_path).stdout

    (tmp_path / "run.yaml").write_text("")
    (tmp_path / "run.txt").write_text("")
    assert completed("captionless sim").split() == ["similarity"]
    assert "--quiet" in completed("captionless run --q").split()
    assert completed("captionless run ru").split() == ["run.yaml"]


def test_quiet_says_nothing_but_results(tmp_path: Path) -> None:
    write_embedded(str(tmp_path / "embed"), {"a": 4, "b": 3})
    for quiet in ([], ["--quiet"]):
        out = tmp_path / f"sim{len(quiet)}"
        arguments = ["similarity", "--dataset", str(tmp_path / "embed"), "--out", str(out), "--metric", "i2i", *quiet]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.exception
        assert bool(done.stderr) is not bool(quiet)
    assert env.QUIET not in os.environ


def test_output_for_programs_has_no_colour(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        "{name: r, output: out, data: {source: {kind: parametric}}, clip: {model: captionless-demo}}"
    )
    done = subprocess.run([PROGRAM, "plan", "r.yaml"], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert "\x1b" not in done.stdout + done.stderr
    stages = subprocess.run(
        [PROGRAM, "plan", "r.yaml", "--json"], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert json.loads(stages.stdout)[0]["name"] == "list"
