"""The harness itself: what it counts as wrong, and that it goes on after it."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from captionless.errors import DataError
from captionless.runtime.expendable_process import Ended
from tests.fuzz import campaign, formats, lines, reading
from tests.fuzz.campaign import Outcome
from tests.fuzz.conftest import rows_of, table
from tests.fuzz.reading import Batch


class Dying:
    """A process that does not survive some numbers."""

    def __init__(self, deadly: set[int]) -> None:
        self.deadly = deadly

    def call(self, name: str, numbers: Sequence[int], traced: bool) -> Batch:
        for i, number in enumerate(numbers):
            if number in self.deadly:
                raise Ended("killed by signal 11", list(numbers[: i + 1]), by_itself=True)
        return Batch(read=len(numbers))


def test_what_kills_the_process_is_noted_and_the_rest_is_read() -> None:
    found = Outcome()
    process: Any = Dying({3, 7})
    batches = list(campaign._survived(process, "any", list(range(10)), found))
    assert found.wrong == {3: "killed by signal 11", 7: "killed by signal 11"}
    assert sum(batch.read for batch in batches) == 2


@pytest.mark.parametrize(
    ("raised", "wrong"),
    [(DataError("is damaged"), {}), (DataError("two\nlines"), {0: "not one line"}), (KeyError("x"), {0: "KeyError"})],
)
def test_only_data_errors_of_one_line_are_right(
    raised: Exception, wrong: dict[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*arguments: Any) -> None:
        raise raised

    some = formats.Format("colour", lambda: {"a": {"x.bin": b"1"}}, lambda whole, number: {}, "^no", ())
    monkeypatch.setattr(reading, "FORMATS", {"some": some})
    monkeypatch.setattr(reading.importlib, "import_module", lambda name: SimpleNamespace(read=read))
    found = Batch()
    reading.one("some", 0, found)
    assert found.wrong.keys() == wrong.keys()
    assert all(found.wrong[number].startswith(start) for number, start in wrong.items())


def test_lines_that_are_reached_are_those_with_code() -> None:
    package = ["captionless.precompute.meshes.colour"]
    there = lines.of_functions(package)[package[0]]
    with lines.reached(package) as found:
        from captionless.precompute.meshes import colour

        colour.linear([0.5])
    assert found[package[0]]
    assert found[package[0]] < there


def test_table_keeps_the_rows_of_other_formats() -> None:
    one = ["ply", 5, 2, 3, "60%", "95.0%", 0, "0.1", 100]
    two = ["obj", 10, 4, 6, "60%", "95.0%", 0, "0.1", 100]
    text = table([one, two])
    assert list(rows_of(text)) == ["obj", "ply"]
    assert table(list(rows_of(text).values())) == text
    assert text.splitlines()[-1].startswith("| all | 15 | 6 | 9 |")
