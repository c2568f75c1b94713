""""""

from __future__ import annotations

from enum import StrEnum


class Weights(StrEnum):
    """Where the negatives' weights of the contrastive loss come from (method.md, eq. 6)."""

    uniform = "uniform"
    category = "category"
    i2i = "i2i"
    i2l = "i2l"
    avg = "avg"

    @property
    def metrics(self) -> tuple[str, ...]:
        """The stored similarities that it reads."""
        return {"uniform": (), "category": ("i2i",), "i2i": ("i2i",), "i2l": ("i2l",), "avg": ("i2i", "i2l")}[self]
