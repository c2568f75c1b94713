"""The values of options that several commands share."""

from __future__ import annotations

import pytest
import typer

from captionless.cli.options import parse_duration, parse_shard
from captionless.errors import SpecError
from captionless.runtime import env
from captionless.stages.work_items import Shard


@pytest.mark.parametrize(("text", "expected"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("0s", 0)])
def test_durations(text: str, expected: float) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "30", "m", "-1s", "1.5h", "1h30m", "30 m"], ids=lambda text: text or "empty")
def test_a_wrong_duration_is_a_usage_error(text: str) -> None:
    with pytest.raises(typer.BadParameter) as caught:
        parse_duration(text)
    assert repr(text) in str(caught.value)


def test_a_shard_is_taken_from_the_option_the_environment_or_is_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(env.INDEX, raising=False)
    monkeypatch.setenv(env.SHARDS, "5")
    assert parse_shard("") == Shard()
    monkeypatch.setenv(env.INDEX, "3")
    assert parse_shard("") == Shard(3, 5)
    assert parse_shard("0/4") == Shard(0, 4)


def test_an_index_without_a_count_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(env.INDEX, "3")
    monkeypatch.delenv(env.SHARDS, raising=False)
    with pytest.raises(SpecError, match=env.SHARDS):
        parse_shard("")


@pytest.mark.parametrize("text", ["4/4", "1", "a/b", "-1/4", "1/", "/4"], ids=lambda text: text.replace("/", " of "))
def test_a_wrong_shard_is_a_usage_error(text: str) -> None:
    with pytest.raises(typer.BadParameter) as caught:
        parse_shard(text)
    assert caught.value.param_hint == "--shard"
    assert repr(text) in str(caught.value)
