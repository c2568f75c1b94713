"""Where the weights of the negatives come from."""

from __future__ import annotations

from enum import StrEnum


class Weights(StrEnum):
    """Where the weights of the negatives come from (docs/method.md, eq. 6)."""

    uniform = "uniform"
    category = "category"
    i2i = "i2i"
    i2l = "i2l"
    avg = "avg"

    @property
    def metrics(self) -> tuple[str, ...]:
        """The stored similarities that the weights are computed from."""
        return {"uniform": (), "category": ("i2i",), "i2i": ("i2i",), "i2l": ("i2l",), "avg": ("i2i", "i2l")}[self]


BASELINE = Weights.uniform
"""The weights with which the others are compared."""
