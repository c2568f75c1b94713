"""The limit of broken objects."""

from __future__ import annotations

import pytest

from captionless.errors import DataError
from captionless.spec.data import DataSpec
from captionless.stages.broken import Limit, limit_of, refuse


@pytest.mark.parametrize(
    ("count", "share", "listed", "allows"),
    [
        (0, 0.0, 100, 0),
        (3, 0.0, 100, 3),
        (0, 0.29, 100, 29),  # 0.29 * 100 is a little less than 29
        (3, 0.01, 100, 3),
        (3, 0.05, 100, 5),
        (0, 0.01, 99, 0),
        (0, 1.0, 7, 7),
        (0, 0.001, 10_000_000, 10_000),
    ],
)
def test_the_limit_is_a_count_or_a_share_whichever_is_more(count: int, share: float, listed: int, allows: int) -> None:
    limit = Limit(count, share=share)
    assert limit.allows(listed) == allows
    skipped = [{"key": f"k{i}", "reason": "damaged"} for i in range(allows)] if allows < 1000 else []
    refuse(skipped, limit, listed)
    if allows < 1000:
        with pytest.raises(DataError):
            refuse([*skipped, {"key": "one-more", "reason": "damaged"}], limit, listed)


def test_a_refusal_names_the_field_that_allows_most_and_the_objects() -> None:
    skipped = [{"key": f"k{i}", "reason": f"reason {i}"} for i in range(7)]
    data = DataSpec.model_validate({"source": {"kind": "parametric"}, "maxSkipped": 1, "maxSkippedShare": 0.5})
    with pytest.raises(DataError, match=r"^7 .*data\.maxSkippedShare.* 5\): k0: reason 0; .*k4: reason 4; .* 2 "):
        refuse(skipped, limit_of(data), 10)
    with pytest.raises(DataError, match=r"data\.maxSkipped .* 1\)"):
        refuse(skipped, limit_of(data), 2)
