"""The arithmetic of the comparison, on pictures small enough to count."""

from __future__ import annotations

import numpy as np
import pytest

from tests.judge.comparison import FEWEST, NEAR, compare, difference, eroded, silhouette


def square(size: int = 20, low: int = 5, high: int = 15, color: tuple[int, ...] = (100, 50, 200, 255)) -> np.ndarray:
    """A square of one colour on nothing, which is white with an opacity of 0."""
    found = np.full((size, size, 4), (255, 255, 255, 0), np.uint8)
    found[low:high, low:high] = color
    return found


def test_a_view_is_like_itself() -> None:
    found = compare(square(), square())
    assert (found.iou, found.share, found.interior) == (1.0, 1.0, 64)
    assert found.agrees


def test_silhouettes_that_overlap() -> None:
    other = np.roll(square(), 2, axis=1)
    found = compare(square(), other)
    assert found.iou == pytest.approx(80 / 120)
    assert found.interior == 8 * 6
    assert not found.agrees


def test_nothing_is_like_nothing_alone() -> None:
    nothing = square(high=5)
    assert compare(nothing, nothing).agrees
    assert compare(nothing, square()).iou == 0


def test_erosion_takes_the_edge_and_corners() -> None:
    mask = np.zeros((7, 7), bool)
    mask[1:6, 1:6] = True
    mask[3, 3] = False
    assert not eroded(mask).any()
    mask[3, 3] = True
    assert eroded(mask).sum() == 9
    assert eroded(np.ones((5, 5), bool)).sum() == 9  # beyond the picture is outside


def test_what_is_hardly_opaque_belongs_to_the_silhouette() -> None:
    assert silhouette(square(color=(0, 0, 0, 2))).sum() == 100
    assert not silhouette(square(color=(0, 0, 0, 1))).any()


@pytest.mark.parametrize(
    ("color", "apart"),
    [
        ((100, 50, 200, 255), 0),
        ((108, 50, 200, 255), 8),
        ((100, 41, 200, 255), 9),
        ((100, 50, 200, 245), 10),  # the opacity's
        ((0, 0, 0, 0), 255),
    ],
)
def test_differences_are_the_largest_of_a_channel(color: tuple[int, ...], apart: float) -> None:
    found = difference(square(), square(color=color))
    assert (found[0, 0], found[10, 10]) == (0, apart)


def test_colours_that_nobody_sees_do_not_count() -> None:
    assert difference(square(color=(0, 0, 0, 0)), square(color=(255, 0, 9, 0))).max() == 0


def test_a_share_of_the_interior_may_differ() -> None:
    other = square()
    other[6, 6:8, 0] += NEAR + 1
    found = compare(square(), other)
    assert found.share == pytest.approx(62 / 64)
    assert not found.agrees
    other[6, 7, 0] -= NEAR + 1
    assert compare(square(), other).agrees


def test_few_pixels_say_nothing_of_colours() -> None:
    small, other = square(high=10), square(high=10, color=(0, 0, 0, 255))
    assert compare(small, other).interior == 9 < FEWEST
    assert compare(small, other).agrees
