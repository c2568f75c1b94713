"""Whatever is changed, killed or late, published figures are those of a run from scratch, or a command refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.conftest import ROW
from tests.chaos.sequence import Sequence

SHORT = range(1)
LONG = range(1000, 1200)


def _holds(seed: int, folder: Path, shared: Path, record: Callable[[str, object], None], steps: int) -> None:
    report = Sequence(seed, folder / "world", shared, steps).run()
    steps_text = "; ".join(report.steps)
    record(ROW, [seed, report.equal, report.refused, report.killed, report.late, report.verdict, steps_text])
    assert not report.violations, f"seed {seed}: {report.violations}\nsteps:\n" + "\n".join(report.steps)
    assert report.equal > 0


@pytest.mark.flow
@pytest.mark.parametrize("seed", SHORT)
def test_a_short_sequence(
    seed: int, tmp_path: Path, shared: Path, record_property: Callable[[str, object], None]
) -> None:
    _holds(seed, tmp_path, shared, record_property, 2)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", LONG)
def test_a_sequence(seed: int, tmp_path: Path, shared: Path, record_property: Callable[[str, object], None]) -> None:
    _holds(seed, tmp_path, shared, record_property, 7)
