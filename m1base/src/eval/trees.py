"""Figure trees: nested mappings whose leaves are numbers, such as {gallery: {image_to_shape: {map: 0.5}}}."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from captionless.eval.outcomes import Path

Tree = dict[str, Any]


def plain(value: Any) -> Any:
    """JSON values only: floats to 6 decimals, NaN as null, numpy scalars and tuples as their like."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return round(value, 6) + 0.0 if math.isfinite(value) else None
    return value


def rounded(tree: Tree) -> Tree:
    """`plain` of a tree."""
    found: Tree = plain(tree)
    return found


def leaves(tree: Mapping[str, Any], path: Path = ()) -> Iterable[Path]:
    """The paths of a tree's numbers."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, (*path, key))
        elif isinstance(value, int | float):
            yield (*path, key)


def summarise(trees: Sequence[Tree]) -> Tree:
    """Mean, sample standard deviation and count of every number in `trees`; lists are left out."""
    summary: Tree = {}
    for key, first in trees[0].items():
        values = [tree[key] for tree in trees]
        if isinstance(first, Mapping):
            summary[key] = summarise(values)
        elif all(isinstance(value, int | float) for value in values):
            summary[key] = _spread(values)
    return summary


def minus(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Tree:
    """The difference of every number of two trees alike."""
    gap: Tree = {}
    for key, value in mine.items():
        if isinstance(value, Mapping):
            gap[key] = minus(value, theirs[key])
        elif isinstance(value, int | float):
            gap[key] = value - theirs[key]
    return gap


def _spread(values: Sequence[float]) -> dict[str, Any]:
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "std": std, "n": len(values)}
