"""`captionless similarity` is a command with others beside it: it is called as before there were any."""

from __future__ import annotations

from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from captionless.cli.app import app
from captionless.cli.default_command import DefaultCommandGroup
from captionless.stages import similarity
from captionless.stages.work_items import Shard

SPEC = "{name: r, data: {source: {kind: parametric}}, clip: {model: captionless-demo}}"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What reaches the stage."""
    found: list[tuple[Any, ...]] = []
    monkeypatch.setattr(
        similarity, "run", lambda spec, metric, shard: found.append((spec.name, spec.train.steps, metric, shard))
    )
    monkeypatch.setattr(
        similarity, "compute", lambda data, texts, out, metric, shard: found.append((data, texts, out, metric, shard))
    )
    return found


@pytest.mark.parametrize("name", [[], ["compute"]], ids=["without its name", "by its name"])
def test_a_spec_and_explicit_places_are_taken_as_before(name: list[str], calls: list[Any], tmp_path: Any) -> None:
    spec = tmp_path / "r.yaml"
    spec.write_text(SPEC)
    for arguments, expected in (
        ([str(spec)], ("r", 10_000, "i2i", Shard())),
        (["--metric", "i2l", str(spec), "--shard", "1/4"], ("r", 10_000, "i2l", Shard(1, 4))),
        ([str(spec), "--set", "train.steps=7", "--metric", "i2l"], ("r", 7, "i2l", Shard())),
        (["--dataset", "a", "--out", "b", "--metric", "i2i", "--shard", "0/4"], ("a", None, "b", "i2i", Shard(0, 4))),
        (["--out=b", "--dataset=a", "--landmarks", "c", "--metric=i2l"], ("a", "c", "b", "i2l", Shard())),
    ):  # fmt: skip
        done = CliRunner().invoke(app, ["similarity", *name, *arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert calls.pop() == expected
    assert not calls


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        pytest.param([], ["--dataset", "--out"], id="nothing"),
        pytest.param(["--dataset", "a"], ["--dataset", "--out"], id="a dataset alone"),
        pytest.param(["--metric", "i2x", "x.yaml"], ["'i2x'", "'i2i'", "'i2l'"], id="an unknown metric"),
        pytest.param(["x.yaml", "y.yaml"], ["y.yaml"], id="two specs"),
        pytest.param(["--no-such"], ["--no-such"], id="an unknown option"),
    ],
)
def test_a_wrong_call_is_refused_as_before(arguments: list[str], named: list[str], calls: list[Any]) -> None:
    done = CliRunner().invoke(app, ["similarity", *arguments])
    assert done.exit_code == 2
    assert all(name in done.output for name in named)
    assert not calls


def test_help_of_the_group_and_of_its_commands() -> None:
    def shown(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["similarity", *arguments])
        assert done.exit_code == 0
        return done.output

    for flag in ("--help", "-h"):
        assert all(word in shown(flag) for word in ("compute", "inspect", "captionless similarity SPEC"))
    assert all(word in shown("x.yaml", "--help") for word in ("--dataset", "--shard", "Examples"))
    assert all(word in shown("inspect", "-h") for word in ("URL", "KEY", "--sharpen", "--out", "--pack", "Examples"))


def test_what_a_command_returns_is_the_groups() -> None:
    group = typer.Typer(cls=DefaultCommandGroup)
    group.command("first")(lambda word: f"first {word}")  # type: ignore[misc]
    group.command("second")(lambda word: f"second {word}")  # type: ignore[misc]
    assert group(["x"], standalone_mode=False) == "first x"
    assert group(["second", "x"], standalone_mode=False) == "second x"
    assert group(["first", "second"], standalone_mode=False) == "first second"
