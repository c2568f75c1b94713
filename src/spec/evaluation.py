""""""

from __future__ import annotations

from typing import ClassVar, Literal

from captionless.spec.section import Section


class EvalSpec(Section):
    prompt: str = "paper"
    """`paper` ("a point cloud of a ..."), `released`, `ensemble`, or a template with `{}`."""
    views: Literal["all", "one"] = "one"
    """Queries of image to shape retrieval: one seeded view per object, or every view."""
    seed: int = 0
    """Which view is the query, and which objects the intervals' resamples draw."""
    pushgateway: str = ""
    """URL of a Prometheus Pushgateway that gets the figures; empty: they are in results.json only."""

    OPERATIONAL: ClassVar = frozenset({"pushgateway"})
