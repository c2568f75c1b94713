"""The page of `captionless similarity inspect --out`: pictures side by side, and histograms of similarity and weights.

Pictures are stored views of the pack stage's shards, the same poses for every object. Without them the page says so and
is otherwise complete.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.eval.report import charts
from captionless.eval.report.html import data_uri, render_page
from captionless.spec import plan
from captionless.stages.inspect import tables
from captionless.stages.inspect.measure import ALONE, MIXED, OTHER, SIMILARITY, Found
from captionless.store import objects
from captionless.store.packed import PackedShards

_POSES = 5
_BINS = 60

_CAPTIONS = {
    SIMILARITY: "Similarity of the pairs within categories.",
    ALONE: "Their weights in a batch of their category alone.",
    MIXED: "Their weights in the mixed batch, and those of objects of other categories (others).",
}


@dataclass(frozen=True)
class ObjectViews:
    """Image files of objects by key, one for each pose; `missing` is the reason why there are none."""

    views: Mapping[str, Sequence[bytes]] = field(default_factory=dict)
    missing: str = ""


def find_pictures(found: Found, pack: str | None) -> ObjectViews:
    """Views of the object and its nearest and farthest from the pack stage's folder, None: the one of the store's run.

    Raises:
        DataError: `pack` is named and is not a finished pack stage's folder, or a shard of it is damaged.
    """
    nearest, farthest = found.nearest_and_farthest()
    keys = [found.key, *(found.mates[i] for i in (*nearest, *farthest))]
    if pack is not None:
        return ObjectViews(_views(pack, keys))
    run = _run_of(found.url)
    if run is None:
        return ObjectViews(
            missing=f"{found.url} is not RUN/similarity/METRIC: pass the pack stage's folder with --pack"
        )
    try:
        return ObjectViews(_views(objects.join(run, plan.PACK) if run else plan.PACK, keys))
    except DataError as error:
        return ObjectViews(missing=str(error))


def _run_of(url: str) -> str | None:
    """The run's folder of a store at RUN/similarity/METRIC."""
    above, _, _ = url.rstrip("/").rpartition("/")
    run, _, name = above.rpartition("/")
    return run if name == plan.SIMILARITY else None


def _views(pack: str, keys: Sequence[str]) -> dict[str, list[bytes]]:
    """Stored views of those of the keys that are packed, from _POSES equally spaced poses."""
    found = {}
    for key, shard in PackedShards(pack).of(keys).items():
        names = [name for name in shard.extensions(key) if name.startswith("view")]
        chosen = sorted({round(i * len(names) / _POSES) for i in range(_POSES)})
        found[key] = [shard.read(key, names[i]) for i in chosen if i < len(names)]
    return found


def html(found: Found, pictures: ObjectViews) -> str:
    """The whole page, everything inlined."""
    return render_page(
        "inspect.html",
        found=found,
        summary=tables.summary(found),
        terms=tables.terms(found),
        sampling=tables.sampling(found),
        columns=tables.neighbour_columns(found),
        neighbours=tables.neighbours(found),
        quantiles=tables.QUANTILES,
        bars=tables.BARS,
        distributions=list(tables.distributions(found)),
        pictures={key: [data_uri(view) for view in views] for key, views in pictures.views.items()},
        missing=pictures.missing,
        charts={name.replace(" ", "-"): _histogram(found, name) for name in _CAPTIONS},
        captions=_CAPTIONS,
    )


def _histogram(found: Found, name: str) -> Markup:
    """Shares of the pairs of the object's category, and of all pairs within categories, by a quantity's value.

    In the mixed batch also the shares of its anchors by what they give an object of another category.
    """
    mine = next(rows for rows in found.categories if rows.category == found.category)
    quantities = [(rows, name) for rows in found.categories] + ([(mine, OTHER)] if name == MIXED else [])
    # twice over all values, so that those of one category at a time are held
    shown = ((found.negatives(rows, e)[quantity] for rows, quantity in quantities) for e in found.exponents)
    ends = [end for values in chain.from_iterable(shown) if values.size for end in (values.min(), values.max())]
    if not ends:
        return charts.histograms(np.arange(2.0), {}, name)
    low, high = min(ends), max(ends)
    edges = np.linspace(low, high, _BINS + 1) if high > low else np.array([low - 0.5, high + 0.5])
    pairs = sum(rows.pairs for rows in found.categories)
    lines: dict[str, NDArray[np.float64]] = {}
    for exponent in found.exponents:
        pooled = np.zeros(len(edges) - 1)
        for rows in found.categories:
            shares = _shares(found.negatives(rows, exponent)[name], edges)
            pooled += rows.pairs / max(1, pairs) * shares
            if rows is mine:
                lines[tables.heading(found.category, exponent)] = shares
        lines[tables.heading("all categories", exponent)] = pooled
    if name == MIXED and found.objects > mine.objects:
        for exponent in found.exponents:
            shares = _shares(found.negatives(mine, exponent)[OTHER], edges)
            lines[tables.heading(f"others, to {found.category}", exponent)] = shares
    return charts.histograms(edges, lines, name)


def _shares(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """(bins,): the share of the values in each bin."""
    return np.asarray(np.histogram(values, edges)[0] / max(1, values.size))
