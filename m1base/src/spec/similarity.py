"""The `similarity` section."""

from __future__ import annotations

from pydantic import Field

from captionless.spec.section import Section


class SimilaritySpec(Section):
    """Similarity between objects, from which the weights of the negatives follow."""

    cross_category_sim: float = Field(0.25, gt=0, le=1)
    """Similarity of any two objects of different categories, a constant (alpha in the paper)."""
