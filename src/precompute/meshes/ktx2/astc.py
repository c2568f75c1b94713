"""Tables of ASTC that UASTC blocks stand on: which texels belong together, and what stored endpoints mean."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Of the ranges of endpoints: bits of a value, and what is stored besides them, a trit (3), a quint (5) or nothing (1).
BITS = np.array([1, 0, 2, 0, 1, 3, 1, 2, 4, 2, 3, 5, 3, 4, 6, 4, 5, 7, 5, 6, 8])
DIGITS = np.array([1, 3, 1, 5, 3, 1, 5, 3, 1, 5, 3, 1, 5, 3, 1, 5, 3, 1, 5, 3, 1])

# Seeds of ASTC's partitions, in the order in which UASTC numbers them: those that BC7 has too.
_TWO = (
    28, 20, 16, 29, 91, 9, 107, 72, 149, 204, 50, 114, 496, 17, 78, 39, 252, 828, 43, 156, 116, 210, 476, 273, 684, 359,
    246, 195, 694, 524,
)  # fmt: skip
_THREE = (260, 74, 32, 156, 183, 15, 745, 0, 335, 902, 254)
_TWO_OF_THREE = (36, 48, 61, 137, 161, 183, 226, 281, 302, 307, 479, 495, 593, 594, 605, 799, 812, 988, 993)


class Partitions(NamedTuple):
    """subset: (3, 30, 16), which of a block's subsets a texel belongs to: of two, of three, and of two made
    of BC7's three. counts: (3,), how many partitions there are of each."""

    subset: NDArray[np.uint8]
    counts: NDArray[np.int64]


@cache
def partitions() -> Partitions:
    kinds = ((_TWO, 2), (_THREE, 3), (_TWO_OF_THREE, 2))
    subset = np.zeros((3, max(len(seeds) for seeds, _ in kinds), 16), np.uint8)
    for kind, (seeds, count) in enumerate(kinds):
        for number, seed in enumerate(seeds):
            subset[kind, number] = [_subset(seed, texel % 4, texel // 4, count) for texel in range(16)]
    return Partitions(subset, np.array([len(seeds) for seeds, _ in kinds]))


def _subset(seed: int, x: int, y: int, count: int) -> int:
    """The specification's function, for blocks of few texels and one layer."""
    x, y = 2 * x, 2 * y
    seed += (count - 1) * 1024
    number = _mixed(seed)
    seeds = [(number >> shift & 0xF) ** 2 for shift in range(0, 32, 4)]
    odd, even = (4 if seed & 2 else 5), (6 if count == 3 else 5)
    shifts = (odd, even) if seed & 1 else (even, odd)
    seeds = [value >> shifts[k % 2] for k, value in enumerate(seeds)]
    sums = [
        (seeds[2 * k] * x + seeds[2 * k + 1] * y + (number >> shift)) & 0x3F for k, shift in enumerate((14, 10, 6, 2))
    ]
    used = sums[:count]
    return used.index(max(used))


def _mixed(value: int) -> int:
    """The specification's hash, in 32 bits."""
    for shift, sign in ((-15, 0), (17, -1), (7, 1), (4, 1), (-5, 0), (16, 1), (-7, 0), (-3, 0), (6, 0), (-17, 0)):
        moved = value << shift if shift > 0 else value >> -shift
        value = (value ^ moved if not sign else value + sign * moved) & 0xFFFFFFFF
    return value


# By the kind of digit and the number of bits: the digit's factor, and at which of nine places, highest first, the bits
# go: a is the lowest, and not among them.
_SPREAD = {
    (3, 1): (204, "000000000"), (3, 2): (93, "b000b0bb0"), (3, 3): (44, "cb000cbcb"), (3, 4): (22, "dcb000dcb"),
    (3, 5): (11, "edcb000ed"), (3, 6): (5, "fedcb000f"), (5, 1): (113, "000000000"), (5, 2): (54, "b0000bb00"),
    (5, 3): (26, "cb0000cbc"), (5, 4): (13, "dcb0000dc"), (5, 5): (6, "edcb0000e"),
}  # fmt: skip


@cache
def endpoints() -> NDArray[np.uint8]:
    """(21, 256): what a stored number of a range means, 0 to 255; of ranges without bits, which UASTC has no use for,
    nothing."""
    found = np.zeros((21, 256), np.uint8)
    for number, (count, digits) in enumerate(zip(BITS.tolist(), DIGITS.tolist(), strict=True)):
        if count:
            found[number, : digits << count] = [_endpoint(value, count, digits) for value in range(digits << count)]
    return found


def _endpoint(value: int, count: int, digits: int) -> int:
    low, digit = value & ((1 << count) - 1), value >> count
    if digits == 1:  # the bits, repeated
        return int((f"{low:0{count}b}" * 8)[:8], 2)
    factor, places = _SPREAD[digits, count]
    spread = int("".join("0" if place == "0" else str(low >> "abcdef".index(place) & 1) for place in places), 2)
    lowest = 0x1FF if low & 1 else 0
    return (lowest & 0x80) | ((digit * factor + spread) ^ lowest) >> 2
