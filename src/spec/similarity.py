""""""

from __future__ import annotations

from pydantic import (
    Field,
)

from captionless.spec.section import Section


class SimilaritySpec(Section):
    cross_category_sim: float = Field(0.25, gt=0, le=1)
    """The constant similarity of objects of different categories (the paper's alpha)."""
