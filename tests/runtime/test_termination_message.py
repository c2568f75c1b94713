"""Termination messages: valid JSON within the size limit, whatever their content."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from captionless.runtime import env, termination_message
from captionless.runtime.termination_message import LIMIT, TerminationMessage

FIGURES = ("zero_shot/top1", "zero_shot/top5", "gallery/image_to_shape/recall@1", "gallery/shape_to_image/recall@1")


def test_a_message_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "end"
    path.write_text("something longer that was there before " * 100)  # a bind mount is written in place
    monkeypatch.setenv(env.TERMINATION_MESSAGE, str(path))
    message = TerminationMessage(0, figures={"avg-seed0/zero_shot/top1": 93.3}, facts={"steps": 500})
    termination_message.write(message)
    assert termination_message.read(str(path)) == message
    assert json.loads(path.read_text())["exitCode"] == 0
    termination_message.write(TerminationMessage(65, "DataError", "embed/a.tar: truncated\nembed/b.tar: truncated"))
    assert termination_message.read(str(path)) == TerminationMessage(
        65, "DataError", "embed/a.tar: truncated\nembed/b.tar: truncated"
    )


def test_a_failure_to_write_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(env.TERMINATION_MESSAGE, raising=False)
    termination_message.write(TerminationMessage(0))
    monkeypatch.setenv(env.TERMINATION_MESSAGE, str(tmp_path / "missing" / "end"))
    termination_message.write(TerminationMessage(0))
    assert termination_message.read(str(tmp_path / "missing" / "end")) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[1]",
        "null",
        '{"exitCode": 1}',
        "Traceback (most recent call last):",
        '{"exitCode":0,"kind":"","message":"","figures":[],"facts":{}}',
        '{"exitCode":1e999,"kind":"","message":"","figures":{},"facts":{}}',
        '{"exitCode":0,"kind":"","message":"","figures":{},"facts":{},"done":1e999}',
        '{"exitCode":0,"kind":"","message":"","figures":{},"facts":{},"done":"many"}',
        "[" * LIMIT,
    ],
    ids=[
        "empty",
        "no fields",
        "list",
        "null",
        "fields missing",
        "log",
        "figures are a list",
        "infinite",
        "done for ever",
        "done in words",
        "nested",
    ],
)
def test_other_text_is_not_a_termination_message(text: str) -> None:
    assert termination_message.parse(text) is None


@pytest.mark.parametrize(("told", "done"), [("12", 12), ("-1", 0), ("null", 0), ("1e300", 2**53), ("9" * 99, 2**53)])
def test_what_was_done_is_a_number_that_can_be_stored(told: str, done: int) -> None:
    found = termination_message.parse(
        f'{{"exitCode":75,"kind":"","message":"","figures":{{}},"facts":{{}},"done":{told}}}'
    )
    assert found is not None
    assert found.done == done


@pytest.mark.parametrize("message", ["x" * 9000, "ü€\n" * 3000, "\x00\x1b\"\\" * 3000, "\ud800" * 5000],
                         ids=["ASCII", "UTF-8", "escapes", "surrogates"])  # fmt: skip
def test_a_long_message_is_truncated_and_stays_json(message: str) -> None:
    data = termination_message.encode(TerminationMessage(65, "DataError", message, facts={"steps": 3}))
    found = termination_message.parse(data.decode())
    assert len(data) <= LIMIT
    assert found is not None
    assert found.message.endswith("…")
    assert found.message[:100] == message[:100].replace("\ud800", "?")
    assert len(found.message.encode()) >= 500


def test_a_message_leaves_room_for_figures_and_these_for_facts() -> None:
    figures = {f"run{i}/zero_shot/top1": 93.3 for i in range(60)}
    found = termination_message.parse(
        termination_message.encode(TerminationMessage(1, "Retryable", "m" * 5000, figures, {"steps": 5})).decode()
    )
    assert found is not None
    assert found.figures == figures
    assert found.facts == {"steps": 5}
    assert 1000 <= len(found.message) < 5000


@pytest.mark.parametrize(("seeds", "kept"), [(3, 4), (9, 1)], ids=["3 seeds", "9 seeds"])
def test_the_first_figures_of_many_runs_are_kept(seeds: int, kept: int) -> None:
    runs = [f"{mode}-seed{seed}" for mode in ("uniform", "category", "i2i", "i2l", "avg") for seed in range(seeds)]
    figures = {f"{run}/{name}": 93.3 for name in FIGURES for run in runs}
    data = termination_message.encode(TerminationMessage(0, figures=figures))
    found = termination_message.parse(data.decode())
    assert found is not None
    assert len(data) <= LIMIT
    assert list(found.figures) == list(figures)[: len(found.figures)]
    assert len(found.figures) >= kept * len(runs)


def test_no_secret_gets_into_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    data = termination_message.encode(
        TerminationMessage(1, "Retryable", "https://a:b@h/?X-Amz-Signature=feed: wJalrXUtnFEMI rejected")
    ).decode()
    for secret in ("wJalrXUtnFEMI", "a:b", "feed"):
        assert secret not in data
