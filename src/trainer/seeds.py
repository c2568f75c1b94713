"""Random generators from names: the same words give the same numbers on every machine and in every process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def generator(*key: object) -> np.random.Generator:
    """A counter-based generator (Philox) keyed by a hash of `key`, whose parts are distinguished by their text."""
    return np.random.Generator(np.random.Philox(key=int.from_bytes(_digest(key), "little")))


def number(*key: object) -> int:
    """A seed in [0, 2^63) from a hash of `key`."""
    return int.from_bytes(_digest(key), "little") >> 65


def _digest(key: tuple[object, ...]) -> bytes:
    return hashlib.blake2b("\x1f".join(map(str, key)).encode(), digest_size=16).digest()


def numbers(keys: Iterable[str], *head: object) -> NDArray[np.int64]:
    """`number(*head, key)` of every key, (n,); of a million in a second."""
    begun = hashlib.blake2b(("\x1f".join(map(str, head)) + "\x1f").encode(), digest_size=16)
    digests = bytearray()
    for key in keys:
        own = begun.copy()
        own.update(key.encode())
        digests += own.digest()
    return (np.frombuffer(digests, "<u8")[1::2] >> np.uint64(1)).astype(np.int64)
