"""Runs measured and put together as the eval stage does, from arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from captionless.eval import measurement, results
from captionless.eval.protocol import TestSplit


def figures(test: TestSplit, runs: Sequence[results.EvaluatedRun]) -> results.Figures:
    return results.figures(test, runs, measurement.clip_ceiling(test))


def build(
    test: TestSplit, runs: Sequence[results.EvaluatedRun], provenance: Mapping[str, Any], **more: Mapping[str, Any]
) -> dict[str, Any]:
    return results.build(test, figures(test, runs), provenance, **more)
