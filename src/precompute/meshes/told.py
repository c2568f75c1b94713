"""The losses of one object while it is read, each once, and of a kind only so many by name."""

from __future__ import annotations

from captionless.precompute.meshes.reading import KINDS, Loss

_MOST = 20
"""Losses of a kind that are named: a hostile file can name a million textures."""


class Told:
    def __init__(self) -> None:
        self._details: dict[str, dict[str, None]] = {kind: {} for kind in KINDS}

    def __call__(self, kind: str, detail: str) -> None:
        """That something was lost. What is told again counts once."""
        self._details[kind].setdefault(detail)

    def losses(self) -> tuple[Loss, ...]:
        found = []
        for kind, details in self._details.items():
            named = list(details)[:_MOST]
            found += [Loss(kind, detail) for detail in named]
            if len(details) > _MOST:
                found.append(Loss(kind, f"and {len(details) - _MOST} more"))
        return tuple(found)
