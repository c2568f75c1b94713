"""The figures of one checkpoint on one data set, by protocol, and their table.

Schema 1 (`figures` and `provenance` as in `results`; `host` is not part of what is compared):

    figures     a pure function of the embeddings: floats to 6 decimals
      objects, images, classes     the number of shapes and pictures, the candidates' names in order
      without_objects              the candidates that no shape is of
      zero_shot, gallery, in_batch the tree of `results`, of the protocols requested
      chance                       expectation of random rankings, as such a tree
      reachable                    in_batch only: the maximum that any encoder can reach
      intervals                    {low, high} of the shares, over shapes (see `bootstrap`), as such a tree
    provenance  dataset, protocol, prompt, CLIP model and digest, checkpoint, points, what was skipped ...
    outcomes    the ranks behind the figures, shape by shape, on which checkpoints are compared (see `outcomes`)

A shape has many pictures, so in `gallery` a shape's relevant items are all of its pictures. In `in_batch` another
picture of the same shape is a miss by definition (docs/method.md): the m pictures of a shape in a batch have the same
answer, which is a tie and counts against the method, and the shape finds one of them first, not all. No encoder can do
better than that; `reachable` is this bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from captionless.clip import demo
from captionless.eval import bootstrap, classification, retrieval, tables, trees, zero_shot
from captionless.eval.outcomes import Outcomes, grouped
from captionless.eval.protocol import Settings
from captionless.eval.resampled import Resampled
from captionless.eval.tables import Column

ProtocolName = Literal["zero-shot", "gallery", "in-batch"]
PROTOCOLS: tuple[ProtocolName, ...] = ("zero-shot", "gallery", "in-batch")

_SETTINGS = Settings()
_DIRECTIONS = (("image_to_shape", "image → shape"), ("shape_to_image", "shape → image"))

COLUMNS = (
    *(column for column in tables.COLUMNS if column.path[0] == "zero_shot"),
    Column("zero-shot", "class mean", ("zero_shot", "class_mean")),
    *(column for column in tables.COLUMNS if column.path[0] == "gallery"),
    *(
        Column(f"{heading} in batch", f"top-{k}", ("in_batch", direction, f"top{k}"))
        for direction, heading in _DIRECTIONS
        for k in _SETTINGS.in_batch_ks
    ),
)


def zero_shot_figures(
    shapes: NDArray[Any], class_texts: NDArray[Any], labels: NDArray[np.int64], classes: Sequence[str]
) -> dict[str, Any]:
    """`zero_shot` of shapes (n, D) against class texts (C, T, D), its chance, and the `ranks` of `Outcomes`."""
    ks = _SETTINGS.zero_shot_ks
    found = zero_shot.evaluate(shapes, class_texts, labels, ks)
    named = {name: dict(zip(classes, found[name].tolist(), strict=True)) for name in ("per_class", "support")}
    tree = {**{k: found[k] for k in (*(f"top{k}" for k in ks), "class_mean")}, **named}
    return {
        "zero_shot": tree,
        "chance": {"zero_shot": classification.chance(len(classes), ks)},
        "ranks": {"zero_shot": found["rank"][:, None]},
    }


def gallery_figures(images: NDArray[Any], shapes: NDArray[Any], shown: NDArray[np.int64]) -> dict[str, Any]:
    """`gallery` both ways of images (m, D) and unique shapes (n, D), chance and ranks; `shown` (m,): whose image."""
    ks = _SETTINGS.gallery_ks
    pictured = shown[None, :] == np.arange(len(shapes))[:, None]
    there, back = retrieval.gallery_ranks(images, shapes, shown), retrieval.gallery_ranks(shapes, images, pictured)
    of_shapes = np.zeros((len(shapes), back.shape[1]), dtype=np.int64)
    of_shapes[pictured.any(axis=1)] = back
    sizes = {"image_to_shape": (len(there), len(shapes)), "shape_to_image": (len(back), len(images))}
    return {
        "gallery": {
            direction: retrieval.gallery_figures(ranks, ks)
            | dict(zip(("queries", "gallery"), sizes[direction], strict=True))
            for direction, ranks in (("image_to_shape", there), ("shape_to_image", back))
        },
        "ranks": {
            "gallery/image_to_shape": grouped(there[:, 0], shown, len(shapes)),
            "gallery/shape_to_image": of_shapes,
        },
        "chance": {
            "gallery": {
                "image_to_shape": retrieval.chance(shown, len(shapes), ks),
                "shape_to_image": retrieval.chance(pictured, len(images), ks),
            }
        },
    }


def in_batch_figures(images: NDArray[Any], shapes: NDArray[Any], shown: NDArray[np.int64], seed: int) -> dict[str, Any]:
    """`in_batch` both ways of the pairs of each image and its shape, with chance, ranks, and what is reachable."""
    batch, ks = _SETTINGS.batch, _SETTINGS.in_batch_ks
    paired = shapes[shown]
    ranks = {
        "image_to_shape": retrieval.in_batch_ranks(images, paired, batch, seed),
        "shape_to_image": retrieval.in_batch_ranks(paired, images, batch, seed),
    }
    there, back = retrieval.in_batch_best(shown, batch, seed, ks)
    guess = retrieval.in_batch_chance(len(images), batch, ks)
    return {
        "in_batch": {
            direction: retrieval.in_batch_figures(rank, ks) | {"pairs": len(rank)} for direction, rank in ranks.items()
        },
        "ranks": {f"in_batch/{way}": grouped(rank, shown, len(shapes)) for way, rank in ranks.items()},
        "reachable": {"in_batch": {"image_to_shape": there, "shape_to_image": back}},
        "chance": {"in_batch": {direction: guess for direction, _ in _DIRECTIONS}},
    }


def outcomes(ranks: Mapping[str, NDArray[np.int64]], labels: NDArray[np.int64], test: str) -> Outcomes:
    """Of shapes of the classes `labels` (n,), in a test set of the digest `test`, by the `ranks` of the figures."""
    return Outcomes(labels, ranks, test, frozenset({"gallery/shape_to_image"} & ranks.keys()))


def intervals(found: Outcomes) -> dict[str, Any]:
    """`low` and `high` of every share, as a figure tree. All pictures of a shape are drawn together with it."""
    names = {"zero_shot": (*(f"top{k}" for k in _SETTINGS.zero_shot_ks), "class_mean")}
    names |= {f"gallery/{way}": (*(f"recall@{k}" for k in _SETTINGS.gallery_ks), "map") for way, _ in _DIRECTIONS}
    names |= {f"in_batch/{way}": tuple(f"top{k}" for k in _SETTINGS.in_batch_ks) for way, _ in _DIRECTIONS}
    paths = [(*ranked.split("/"), name) for ranked in found.ranks for name in names[ranked]]
    resampled = Resampled({0: found}, paths, _SETTINGS.seed)
    tree: dict[str, Any] = {}
    for path in paths:
        figures = resampled.mean([0], path)
        assert figures is not None
        at = tree
        for step in path:
            at = at.setdefault(step, {})
        at["low"], at["high"] = map(float, bootstrap.interval(figures))
    return tree


def described(protocols: Sequence[ProtocolName], seed: int) -> dict[str, Any]:
    """The protocols' settings for the provenance."""
    settings: dict[ProtocolName, dict[str, Any]] = {
        "zero-shot": {"ks": _SETTINGS.zero_shot_ks},
        "gallery": {"ks": _SETTINGS.gallery_ks, "gallery": "all unique shapes; all pictures"},
        "in-batch": {
            "ks": _SETTINGS.in_batch_ks, "batch": _SETTINGS.batch, "seed": seed,
            "pairs": "shuffled once, the short last batch kept, only the pair itself counts",
        },
    }  # fmt: skip
    intervals = bootstrap.described(_SETTINGS.seed)
    return {name: settings[name] for name in protocols} | {"ties": "against the method", "intervals": intervals}


def merged(trees: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Figures of several protocols as one tree."""
    found: dict[str, Any] = {}
    for tree in trees:
        for name, value in tree.items():
            nested = name in ("chance", "reachable", "ranks")
            found[name] = {**found.get(name, {}), **value} if nested else value
    return found


def columns(found: Mapping[str, Any]) -> tuple[Column, ...]:
    """The `COLUMNS` that these results have figures for."""
    row = _row(found["figures"])
    return tuple(column for column in COLUMNS if column.spread(row) is not None)


def rows(found: Mapping[str, Any]) -> list[list[str]]:
    """Cells under `columns`, in percent: chance, the checkpoint and, where it is less than all, what is reachable."""
    figures, chosen = found["figures"], columns(found)
    trees = {"chance": figures["chance"], "this checkpoint": figures, "reachable": figures.get("reachable")}
    lines = {}
    for name, tree in trees.items():
        if tree is not None:
            row = _row(tree)
            lines[name] = [tables.percent(column.spread(row)) for column in chosen]
    if "intervals" in figures:
        lines["this checkpoint"] = [tables.cell(spread(figures, column)) for column in chosen]
    return [[name, *cells] for name, cells in lines.items()]


def spread(figures: Mapping[str, Any], column: Column) -> dict[str, Any] | None:
    """{mean, std, n} of a figure, with {low, high} where it has an interval; None where there is no such figure."""
    found = column.spread(_row(figures))
    return None if found is None else {**found, **(tables.at(figures.get("intervals", {}), column.path) or {})}


def markdown(found: Mapping[str, Any]) -> str:
    """The table, followed by the provenance of its figures."""
    head = ["", *(f"{column.heading} {column.name}" for column in columns(found))]
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows(found)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{table}\n\n" + "".join(f"- {line}\n" for line in caption(found))


def caption(found: Mapping[str, Any]) -> list[str]:
    """The provenance of the figures, one fact per line: data, protocol, prompt, CLIP model, checkpoint, skipped."""
    figures, about = found["figures"], found["provenance"]
    data, protocol, prompt, clip = about["dataset"], about["protocol"], about["prompt"], about["clip"]
    images = f", {figures['images']:,} pictures" if figures["images"] else ""
    without = len(figures.get("without_objects", ()))
    absent = f" ({without:,} of which have none, and are candidates all the same)" if without else ""
    lines = [
        f"percent; {data['name']}: {figures['objects']:,} shapes of {len(figures['classes']):,} classes{absent}{images}"
        + (f" ({data['official']:,} {data['unit']}s in the official set)" if "official" in data else "")
    ]
    if "zero-shot" in protocol:
        lines.append(f'zero-shot, prompt "{prompt["name"]}": {len(prompt["templates"])} template(s)')
    if "gallery" in protocol:
        lines.append(
            f"retrieval from all {figures['objects']:,} unique shapes, and from all {figures['images']:,} pictures"
        )
    if "in-batch" in protocol:
        settings = protocol["in-batch"]
        lines.append(
            f"in batch: {settings['batch']} shuffled pairs, seed {settings['seed']}; another picture of the same shape "
            "is a miss, so no encoder can exceed the last row"
        )
    if pictures := data.get("pictures"):
        lines.append(f"pictures: background {pictures['background']}, crop: {pictures['crop']}")
    lines.append("ties count against the method; brackets: 95 % bootstrap interval over shapes, for this encoder")
    named = " ".join(filter(None, (clip["model"], clip["pretrained"])))
    lines.append(f"CLIP: {named}{demo.remark(clip['model'])}")
    checkpoint, points = about["checkpoint"], about["points"]
    mode = f"{tables.row_name(checkpoint['mode'])}, " if "mode" in checkpoint else ""  # of earlier releases: unknown
    lines.append(
        f"checkpoint {checkpoint['url']}, sha256 {checkpoint['sha256'][:16]}, {mode}training seed {about['seed']}, "
        f"{points['used']:,} points"
        + (f" (trained with {points['trained']:,})" if len(set(points.values())) > 1 else "")
    )
    skipped = about["skipped"]
    lines.append("none skipped" if not skipped else f"{len(skipped)} skipped: " + ", ".join(s["key"] for s in skipped))
    return lines


def percentages(found: Mapping[str, Any]) -> dict[str, float]:
    """The shares of the table in percent, `<path>`."""
    row = _row(found["figures"])
    spreads = {"/".join(column.path): column.spread(row) for column in columns(found)}
    return {path: round(100 * spread["mean"], 1) for path, spread in spreads.items() if spread is not None}


def _row(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A figure tree as a row of `results`, whose columns are read from `figures`."""
    kept = {name: tree[name] for name in ("zero_shot", "gallery", "in_batch") if name in tree}
    return {"figures": trees.summarise([kept])}
