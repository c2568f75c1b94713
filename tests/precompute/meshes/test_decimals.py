"""Every number is the float64 that Python's float() makes of it."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Iterator
from decimal import Decimal

import numpy as np
import pytest

from captionless.precompute.meshes.decimals import decimal, number_of


def parsed(text: str) -> tuple[float, int, bool]:
    data = np.frombuffer(text.encode(), np.uint8)
    value, end, decided = decimal(data, 0, len(data))
    return value, end, decided


def any_float(chance: random.Random) -> float:
    while True:
        (value,) = struct.unpack("d", chance.randbytes(8))
        if math.isfinite(value):
            return float(value)


def numbers(chance: random.Random) -> Iterator[str]:
    for _ in range(1500):
        yield repr(any_float(chance))
        yield f"{chance.uniform(-1e7, 1e7):.6f}"
        yield f"{chance.gauss(0, 1):.25f}"
        yield f"{chance.gauss(0, 1):+.9E}"
        yield f"{chance.randrange(10 ** chance.randrange(1, 30))}e{chance.randrange(-330, 320)}"
        yield f"{2**53 + chance.randrange(-5, 200)}.{'0' * chance.randrange(4)}{'5' * chance.randrange(3)}"
        one = abs(any_float(chance))
        if 1e-300 < one < 1e300:  # halfway between two, and near that
            halfway = (Decimal(one) + Decimal(math.nextafter(one, math.inf))) / 2
            yield f"{halfway:.{chance.randrange(15, 40)}e}"


def test_what_is_decided_is_exact_and_little_else_is_left() -> None:
    undecided = count = 0
    for text in numbers(random.Random(0)):
        value, end, decided = parsed(text)
        assert end == len(text)
        if decided:
            assert value == float(text), text
        undecided += not decided
        count += 1
    assert undecided < count / 4  # most of them halfway between two


@pytest.mark.parametrize("text", ["0", "-0.0", ".5", "5.", "+1.25", "1e22", "1E+05", "00012.50"])
def test_usual_numbers_are_decided(text: str) -> None:
    value, end, decided = parsed(text)
    assert (value, end, decided) == (float(text), len(text), True)
    assert math.copysign(1, value) == math.copysign(1, float(text))


@pytest.mark.parametrize(("text", "end"), [("", 0), ("-", 0), (".", 0), ("e5", 0), ("nan", 0), ("x1", 0)])
def test_no_number_ends_where_it_begins(text: str, end: int) -> None:
    assert parsed(text)[1:] == (end, False)


@pytest.mark.parametrize(("text", "end"), [("1,5", 1), ("1e", 1), ("1e+", 1), ("1.5.2", 3), ("2/3", 1), ("3f", 1)])
def test_a_number_ends_before_what_is_none(text: str, end: int) -> None:
    value, found, decided = parsed(text)
    assert (value, found, decided) == (float(text[:end]), end, True)


@pytest.mark.parametrize(
    "text", ["1e400", "1e-400", "4.9e-324", "1e308", "9" * 400, "0." + "0" * 400 + "1", "1e999999999999"]
)
def test_beyond_what_is_usual_nothing_wrong_is_decided(text: str) -> None:
    value, end, decided = parsed(text)
    assert end == len(text)
    assert not decided or value == float(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("nan", math.nan), ("-nan(ind)", math.nan), ("1.#QNAN0", math.nan), ("-1.#IND", math.nan), ("1.#INF", math.inf),
     ("-1.#INF00", -math.inf), ("inf", math.inf), ("1e5", 1e5)],
)  # fmt: skip
def test_what_c_libraries_write_is_read(text: str, value: float) -> None:
    assert number_of(text) == pytest.approx(value, nan_ok=True)


@pytest.mark.parametrize("text", ["", "1_000", "0x10", "1,5", "one", "1.#FOO"])
def test_other_words_are_no_numbers(text: str) -> None:
    with pytest.raises(ValueError):
        number_of(text)
