"""Texts and figures that the terminal and the page share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from captionless.stages.inspect.measure import (
    ALONE,
    MIXED,
    MOST_ANCHORS,
    OTHER,
    RATIO,
    SEED,
    SIMILARITY,
    Distribution,
    Found,
    SimilarityRows,
)

QUANTILES = ("min", "5 %", "median", "95 %", "max")
BARS = "from min to max"


@dataclass(frozen=True)
class NeighbourLine:
    """A line of the table of neighbours: what it is, whose, and the values of `neighbour_columns`."""

    what: str
    key: str
    values: list[str]


def summary(found: Found) -> str:
    """What is shown."""
    return (
        f"Category {found.category}, {found.own.objects:,} objects; {found.metric} of {found.url}. A weight is a "
        "negative's similarity divided by the mean similarity of all negatives of its anchor (eq. 6)."
    )


def terms(found: Found) -> list[tuple[str, str]]:
    """Names of what is shown, and what they mean."""
    others = found.objects - found.own.objects
    listed = [
        (
            "alone",
            f"in a batch of all stored objects of the anchor's category; for {found.category} {found.own.objects:,}",
        ),
        (
            "mixed",
            f"in a batch of all {found.objects:,} stored objects; for an anchor of {found.category} the {others:,} of "
            f"other categories have similarity {found.alpha:g} (alpha)",
        ),
        (RATIO, "weight of a negative of the anchor's category relative to one of another category, in any batch"),
    ]
    if found.sharpen != 1:
        power = f"{found.sharpen:g}"
        listed.append(
            (
                f"sharpen {power}",
                f"with train.sharpen = {power}: m * (similarity / m) ** {power} within a category, m its mean "
                f"similarity; for {found.category} {found.own.mean:.4f}",
            )
        )
    return listed


def sampling(found: Found) -> str:
    """Which pairs the distributions are over."""
    drawn = sum(rows.objects > MOST_ANCHORS for rows in found.categories)
    if not drawn:
        return "Over all pairs of a category."
    return (
        f"Over all pairs of a category; for categories of more than {MOST_ANCHORS} objects ({drawn} of "
        f"{len(found.categories)}), over the pairs of a sample of {MOST_ANCHORS} (seed {SEED}) with all others."
    )


def heading(name: str, exponent: float) -> str:
    """A quantity's name, with its sharpening where there is one."""
    return name if exponent == 1 else f"{name}, sharpen {exponent:g}"


def neighbour_columns(found: Found) -> list[str]:
    """Similarity and weights, each as it is stored and then sharpened."""
    return [heading(name, exponent) for name in (SIMILARITY, ALONE, MIXED) for exponent in found.exponents]


def neighbours(found: Found) -> list[NeighbourLine]:
    """The nearest, the nearest first; the farthest, the farthest first; and any object of another category."""
    sets = [found.negatives(found.own, exponent) for exponent in found.exponents]
    listed = [
        NeighbourLine(
            f"{what} {rank}",
            found.mates[position],
            [f"{values[name][0, position]:.4f}" for name in (SIMILARITY, ALONE, MIXED) for values in sets],
        )
        for what, positions in zip(("nearest", "farthest"), found.nearest_and_farthest(), strict=True)
        for rank, position in enumerate(positions, start=1)
    ]
    if found.objects > found.own.objects:
        alpha, weights = [f"{found.alpha:.4f}"] * len(sets), [f"{values[OTHER][0]:.4f}" for values in sets]
        listed.append(NeighbourLine("other", "any object of another category", [*alpha, *["–"] * len(sets), *weights]))
    return listed


def distributions(found: Found) -> Iterator[tuple[SimilarityRows, list[tuple[str, list[str]]]]]:
    """The object's category and then the others by name: of each its quantities with QUANTILES and BARS as text."""
    for rows in sorted(found.categories, key=lambda r: (r.category != found.category, r.category)):
        sets = [(exponent, found.negatives(rows, exponent)) for exponent in found.exponents]
        yield (
            rows,
            [
                (heading(name, exponent), _cells(Distribution.of(values[name])))
                for name in (SIMILARITY, ALONE, MIXED, RATIO)
                for exponent, values in sets
            ],
        )


def _cells(distribution: Distribution | None) -> list[str]:
    if distribution is None:
        return ["–"] * len(QUANTILES) + [""]
    return [f"{q:.4f}" for q in distribution.quantiles] + [distribution.bars]
