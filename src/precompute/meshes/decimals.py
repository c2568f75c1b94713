"""Numbers in text -> float64, compiled and exact: each is the float64 nearest to what is written, as Python's float().

Short numbers (up to 2^53 without their point, a power of ten up to 22) are one exact division or product (W. Clinger,
"How to Read Floating Point Numbers Accurately", 1990). Longer ones are multiplied by a power of ten of 128 bits, which
decides all but about one in 2^60 of them, and says so (D. Lemire, "Number Parsing at a Gigabyte per Second", 2021).
What neither decides, and all that is no plain decimal number, is left to `number_of`.
"""

from __future__ import annotations

import math
import re

import numba
import numpy as np
from numpy.typing import NDArray

_LEAST, _GREATEST = -348, 347  # powers of ten: below and above are zero and infinity for any 64 bits
_EXACT = np.array([10.0**e for e in range(23)])
_DIGITS = 19  # that fit 64 bits
_MOST = 100_000  # where counting an exponent up ends, so that it does not overflow

_ODD = {"ind": "nan", "qnan": "nan", "snan": "nan", "inf": "inf"}
_MICROSOFT = re.compile(r"([-+]?)(?:1\.#(ind|qnan|snan|inf)\d*|nan\((?:ind|snan)\))", re.IGNORECASE)


def _powers() -> NDArray[np.uint64]:
    """(P, 2): the upper and lower 64 bits of each power of ten, scaled to 128 bits and rounded down."""
    found = []
    for e in range(_LEAST, _GREATEST + 1):
        if e >= 0:
            power = 10**e
            scaled = power << 128 >> power.bit_length()
        else:
            power = 10**-e
            scaled = (1 << 127 + power.bit_length()) // power
        found.append((scaled >> 64, scaled & 0xFFFF_FFFF_FFFF_FFFF))
    return np.array(found, np.uint64)


_POWERS = _powers()


def number_of(token: str) -> float:
    """A number as any exporter writes it: also nan and inf, as C libraries call them. ValueError if it is none."""
    if odd := _MICROSOFT.fullmatch(token):
        return float(odd[1] + _ODD[(odd[2] or "ind").lower()])
    if "_" in token:  # which float() takes for a separator of thousands
        raise ValueError(f"not a number: {token!r}")
    return float(token)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def decimal(data: NDArray[np.uint8], at: int, end: int) -> tuple[float, int, bool]:
    """The number that begins at `at`: its value, where it ends, and whether the value is decided.

    It ends before the first byte that cannot continue it; the caller sees whether that is a separator. Undecided are
    also texts that do not begin with a number: they end where they begin.
    """
    begin = at
    negative = False
    if at < end and (data[at] == 45 or data[at] == 43):  # - +
        negative = data[at] == 45
        at += 1
    mantissa, digits, exponent, seen, cut = np.uint64(0), 0, 0, 0, False
    point = False
    while at < end:
        byte = data[at]
        if 48 <= byte <= 57:
            seen += 1
            if digits < _DIGITS:
                mantissa = mantissa * np.uint64(10) + np.uint64(byte - 48)
                if mantissa:
                    digits += 1
                if point:
                    exponent -= 1
            else:
                cut = cut or byte != 48
                if not point:
                    exponent += 1
        elif byte == 46 and not point:
            point = True
        else:
            break
        at += 1
    if not seen:
        return 0.0, begin, False
    if at < end and (data[at] == 101 or data[at] == 69):  # e E
        after = at + 1
        sign = 1
        if after < end and (data[after] == 45 or data[after] == 43):
            sign = -1 if data[after] == 45 else 1
            after += 1
        if after < end and 48 <= data[after] <= 57:
            power = 0
            while after < end and 48 <= data[after] <= 57:
                if power < _MOST:
                    power = power * 10 + int(data[after] - 48)
                after += 1
            exponent += sign * power
            at = after
    value, decided = _scaled(mantissa, exponent)
    if cut and decided:  # between the number that is written up to here and the next: the same float64 for both decides
        above, decided = _scaled(mantissa + np.uint64(1), exponent)
        decided = decided and above == value
    return (-value if negative else value), at, decided


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _scaled(mantissa: np.uint64, exponent: int) -> tuple[float, bool]:
    """The float64 nearest to mantissa * 10^exponent, and whether it is decided."""
    if mantissa == 0:
        return 0.0, True
    if mantissa <= np.uint64(1 << 53) and -22 <= exponent <= 22:
        exact = np.float64(mantissa)
        return (exact * _EXACT[exponent] if exponent >= 0 else exact / _EXACT[-exponent]), True
    if exponent < _LEAST or exponent > _GREATEST:
        return 0.0, False
    zeros = 0
    while not mantissa >> np.uint64(63):
        mantissa <<= np.uint64(1)
        zeros += 1
    high, low = _product(mantissa, _POWERS[exponent - _LEAST, 0])
    last_bits = np.uint64(0x1FF)
    if high & last_bits == last_bits and low + mantissa < mantissa:
        more, least = _product(mantissa, _POWERS[exponent - _LEAST, 1])
        merged = low + more
        if merged < low:
            high += np.uint64(1)
        if high & last_bits == last_bits and merged + np.uint64(1) == 0 and least + mantissa < mantissa:
            return 0.0, False
        low = merged
    top = np.int64(high >> np.uint64(63))
    kept = high >> np.uint64(top + 9)  # 54 bits: one more than a float64 has
    if low == 0 and high & last_bits == 0 and kept & np.uint64(3) == 1:
        return 0.0, False  # perhaps halfway between two
    kept = (kept + (kept & np.uint64(1))) >> np.uint64(1)
    binary = (217706 * exponent >> 16) + 1 + 63 - zeros - (1 - top) - 52  # of the last of 53 bits
    if binary < -1074 or binary > 970:  # subnormal, or near the greatest
        return 0.0, False
    return math.ldexp(float(kept), int(binary)), True


@numba.njit(cache=True, nogil=True)
def _product(a: np.uint64, b: np.uint64) -> tuple[np.uint64, np.uint64]:
    """The upper and the lower 64 bits of a product."""
    half, mask = np.uint64(32), np.uint64(0xFFFF_FFFF)
    low = (a & mask) * (b & mask)
    one = (a >> half) * (b & mask)
    two = (a & mask) * (b >> half)
    middle = (low >> half) + (one & mask) + (two & mask)
    high = (a >> half) * (b >> half) + (one >> half) + (two >> half) + (middle >> half)
    return high, (middle << half) | (low & mask)
