"""What all tests share: one thread per library, so that results do not depend on the machine's load; the time that a
test may take, by the machine's pace; and which of them need a cluster."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests import pace

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("NO_COLOR", "1")
os.environ.setdefault("COLUMNS", "160")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

LONGEST = 600.0
"""Seconds that a test may take, its fixtures included, before it is taken for one that hangs; scaled by the pace."""

_LONGEST_ID = 60
"""Characters of a value in a test's id."""

_ON_A_CLUSTER = [Path(__file__).parent / folder for folder in ("charts", "cluster")]


@pytest.hookimpl(tryfirst=True)  # before pytest-timeout's own, which reads the option
def pytest_configure(config: pytest.Config) -> None:
    """Scales the time that a test may take. With `-v` (and without xdist), waits are shown while they last."""
    if config.option.timeout is None:
        config.option.timeout = pace.seconds(LONGEST)
    if config.get_verbosity() < 0 or hasattr(config, "workerinput"):
        return

    def show(text: str) -> None:
        terminal = config.pluginmanager.get_plugin("terminalreporter")
        capture = config.pluginmanager.get_plugin("capturemanager")
        if terminal is None or capture is None:
            return
        with capture.global_and_fixture_disabled():
            terminal.ensure_newline()
            terminal.write_line(f"  {text}")

    pace.report = show


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of these folders: plain pytest leaves `cluster` out, `-m cluster` asks for it."""
    for item in items:
        if any(folder in item.path.parents for folder in _ON_A_CLUSTER):
            item.add_marker(pytest.mark.cluster)


def pytest_make_parametrize_id(val: Any) -> str | None:
    """Dictionaries, lists and tuples of plain values are shown as they are, where pytest would number them."""
    if isinstance(val, dict | list | tuple) and _is_plain(val):
        text = str(val)
        return text if len(text) <= _LONGEST_ID else f"{text[:_LONGEST_ID]}..."
    return str(val) if type(val).__module__ == "torch" else None


def _is_plain(value: object) -> bool:
    """Whether its text is the same in every process."""
    if isinstance(value, dict):
        return all(map(_is_plain, [*value, *value.values()]))
    return (
        all(map(_is_plain, value)) if isinstance(value, list | tuple) else isinstance(value, str | int | float | None)
    )
