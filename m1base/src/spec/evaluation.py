"""The `eval` section."""

from __future__ import annotations

from typing import ClassVar, Literal

from captionless.spec.section import Section


class EvalSpec(Section):
    """How the trained encoders are evaluated."""

    prompt: str = "paper"
    """Prompt of the zero-shot classes: `paper` ("a point cloud of a ..."), `released` ("a point cloud model of a ..."),
    `ensemble` (the mean over a list of templates), or a template with `{}` for the category."""
    views: Literal["all", "one"] = "one"
    """Queries of image-to-shape retrieval: one random view per object (drawn with `seed`), or all views."""
    seed: int = 0
    """Seed of the choice of query views and of the bootstrap resamples behind the confidence intervals."""
    pushgateway: str = ""
    """URL of a Prometheus Pushgateway to push the figures to; empty: they are written to results.json only."""

    OPERATIONAL: ClassVar = frozenset({"pushgateway"})
