"""Random generators from names: the same words give the same numbers on every machine and in every process."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(*key: object) -> np.random.Generator:
    """A counter-based generator (Philox) keyed by a hash of `key`, whose parts are distinguished by their text."""
    return np.random.Generator(np.random.Philox(key=int.from_bytes(_digest(key), "little")))


def number(*key: object) -> int:
    """A seed in [0, 2^63) from a hash of `key`."""
    return int.from_bytes(_digest(key), "little") >> 65


def _digest(key: tuple[object, ...]) -> bytes:
    return hashlib.blake2b("\x1f".join(map(str, key)).encode(), digest_size=16).digest()
