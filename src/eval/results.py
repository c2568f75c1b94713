"""The evaluation of a set of runs, and its storage format (`results.json`).

Every run (a weights mode and a seed) is measured on the same test set in the same way.
Two references need no training: chance, and the CLIP model itself on the same objects'
rendered views, which is the target of training.

Schema 1 of `results.json`:

    schema      1
    figures     a pure function of the embeddings: no times, no host, floats to 6 decimals
      objects, classes                   the size of the test set, the class names in order
      chance, clip_mean, clip_single     figure trees (below)
      runs        mode -> seed -> figure tree
      rows        [{name, seeds, figures: tree whose leaves are {mean, std, n, low, high}}] in table order
      differences mode -> tree of {mean, std, n, low, high}: this mode minus the baseline, seed by seed
    provenance  dataset, protocol, prompts, CLIP model and digest, checkpoints, versions ...
    timing      seconds; not part of what is compared
    host        the machine; not part of what is compared

A figure tree is {zero_shot: {top1, top5, class_mean, per_class, confusion}, gallery:
{image_to_shape, shape_to_image}, in_batch: {image_to_shape, shape_to_image}}. `std` is
the sample standard deviation over seeds (n - 1), null for a single seed; `low` and `high`
are the bounds of the mean's 95 % interval over test objects, for these trained encoders
(see `bootstrap`), which chance, medians and single classes do not have. A class without
sample is null in `per_class`. Trees are rounded before they are averaged, so a tree that
was stored and read again gives the same summary. All seeds count: nothing is picked by
its figure.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from captionless.errors import DataError
from captionless.eval import bootstrap, classification, retrieval, zero_shot
from captionless.eval.bootstrap import Floats
from captionless.eval.cosine import unit_rows
from captionless.eval.outcomes import Ints, Outcomes, Path
from captionless.eval.resampled import Resampled, leaves
from captionless.spec.weights import BASELINE, Weights

RESULTS, TABLE, REPORT = "results.json", "table.md", "report.html"
"""The files of an evaluation; of a classifier's the first two."""

SCHEMA = 1
MODES = tuple(weights.value for weights in Weights)
"""In the order of a table's rows."""
Tree = dict[str, Any]


@dataclass(frozen=True)
class Protocol:
    """How a test set is measured; `described` puts it into the provenance.

    `views` selects the views that represent an object in retrieval. `"one"`: a single one, drawn
    by a stable hash of `seed` and the object's key (different poses for different objects, the same
    for all runs). `"all"`: each pose in turn, the same for all objects, and the figures are means over
    the poses. `batch` and `batch_seed` are those of the in-batch protocol. `seed` also draws
    the test objects of the intervals' resamples.
    """

    zero_shot_ks: tuple[int, ...] = (1, 5)
    gallery_ks: tuple[int, ...] = (1, 5, 10)
    in_batch_ks: tuple[int, ...] = (1, 5)
    views: Literal["one", "all"] = "one"
    seed: int = 0
    batch: int = retrieval.BATCH
    batch_seed: int = 0

    def described(self) -> dict[str, Any]:
        """Plain JSON for the provenance."""
        return {
            "zero_shot": {"ks": list(self.zero_shot_ks)},
            "gallery": {"ks": list(self.gallery_ks), "views": self.views, "seed": self.seed},
            "in_batch": {"ks": list(self.in_batch_ks), "batch": self.batch, "seed": self.batch_seed},
            "ties": "against the method",
            "intervals": bootstrap.described(self.seed),
        }


@dataclass(frozen=True)
class TestSplit:
    """The unseen objects: `views` (n, R, D) CLIP embeddings, `labels` (n,) into `classes` (C),
    `class_texts` (C, D) or (C, T, D), `keys` (n) the objects' names, `digest` of what they are made from."""

    __test__ = False  # not a pytest class

    keys: Sequence[str]
    classes: Sequence[str]
    labels: NDArray[np.int64]
    views: NDArray[Any]
    class_texts: NDArray[Any]
    protocol: Protocol = field(default_factory=Protocol)
    digest: str = ""

    def __post_init__(self) -> None:
        if self.views.ndim != 3:
            raise DataError(f"views: expected (objects, views, dimensions), found shape {self.views.shape}")
        for name, found in (("keys", len(self.keys)), ("labels", len(self.labels))):
            if found != len(self.views):
                raise DataError(f"{name}: expected one per object ({len(self.views)}), found {found}")
        if len(self.class_texts) != len(self.classes):
            raise DataError(f"class_texts: expected {len(self.classes)} classes, found {len(self.class_texts)}")

    def choices(self) -> list[NDArray[np.int64]]:
        """Each (n,): the view that represents each object in retrieval; one choice, or one for each pose."""
        count = self.views.shape[1]
        if self.protocol.views == "all":
            return [np.full(len(self.keys), pose, dtype=np.int64) for pose in range(count)]
        digests = [hashlib.sha256(f"view:{self.protocol.seed}:{key}".encode()).digest()[:8] for key in self.keys]
        return [np.array([int.from_bytes(digest) % count for digest in digests], dtype=np.int64)]


class Measured(NamedTuple):
    """A figure tree, and the outcomes that its figures are of."""

    figures: Tree
    outcomes: Outcomes


@dataclass(frozen=True)
class EvaluatedRun:
    """One trained encoder: its figures and outcomes on the test set."""

    mode: str
    seed: int
    figures: Tree
    outcomes: Outcomes


def evaluate_run(shapes: ArrayLike, test: TestSplit) -> Measured:
    """The figures of an encoder whose embeddings of the test objects are `shapes` (n, D).

    In retrieval every object is a query, the gallery is all test objects, and only the object
    itself is relevant: others of its class are misses.
    """
    shapes = np.asarray(shapes)
    if len(shapes) != len(test.keys):
        raise DataError(f"embeddings: expected {len(test.keys)} objects, found {len(shapes)}")
    row = np.arange(len(shapes))
    pairs = [(test.views[row, chosen], shapes) for chosen in test.choices()]
    return _measured(shapes[:, None], pairs, test)


def clip_ceiling(test: TestSplit) -> dict[str, Measured]:
    """What the CLIP model reaches from the same objects' views: `clip_mean` and `clip_single`.

    Zero-shot: the normalised mean of an object's views (`clip_mean`), or every view on its
    own (`clip_single`). Retrieval: the chosen view against, in the shape's place, the mean of
    the object's other views (`clip_mean`) or the opposite view (`clip_single`), so that
    a query never meets itself.
    """
    views = unit_rows(test.views, "views", ndim=(3,))
    count, row = views.shape[1], np.arange(len(views))
    images = [(chosen, views[row, chosen]) for chosen in test.choices()] if count > 1 else []
    others = [(image, views.sum(axis=1) - image) for _, image in images]
    opposite = [(image, views[row, (chosen + count // 2) % count]) for chosen, image in images]
    return {
        "clip_mean": _measured(views.mean(axis=1, keepdims=True), others, test),
        "clip_single": _measured(views, opposite, test),
    }


def chance(test: TestSplit) -> Tree:
    """Expected figures of random rankings under the same protocol."""
    protocol, n = test.protocol, len(test.keys)
    both = retrieval.chance(np.arange(n), n, protocol.gallery_ks)
    pooled = retrieval.in_batch_chance(n, protocol.batch, protocol.in_batch_ks)
    return _tree(
        {
            "zero_shot": classification.chance(len(test.classes), protocol.zero_shot_ks),
            "gallery": {"image_to_shape": both, "shape_to_image": both},
            "in_batch": {"image_to_shape": pooled, "shape_to_image": pooled},
        }
    )


def summarise(trees: Sequence[Tree]) -> Tree:
    """Mean, sample standard deviation and count of every number in `trees`; lists are left out."""
    summary: Tree = {}
    for key, first in trees[0].items():
        values = [tree[key] for tree in trees]
        if isinstance(first, Mapping):
            summary[key] = summarise(values)
        elif all(isinstance(value, int | float) for value in values):
            summary[key] = _spread(values)
    return summary


def differences(runs: Sequence[EvaluatedRun], baseline: str = BASELINE) -> dict[str, Tree]:
    """Each mode minus `baseline`, paired by seed: the spread over seeds that both share cancels out."""
    found = {}
    for mode, pairs in _pairs(runs, baseline).items():
        found[mode] = summarise([_minus(mine.figures, theirs.figures) for mine, theirs in pairs])
    return found


def figures(test: TestSplit, runs: Sequence[EvaluatedRun]) -> Tree:
    """The `figures` of `results.json` for `runs` on `test`."""
    if len({(run.mode, run.seed) for run in runs}) != len(runs):
        raise DataError("runs: duplicate weights mode and seed")
    ceiling = clip_ceiling(test)
    measured = {(name, -1): found.outcomes for name, found in ceiling.items()}
    measured |= {(run.mode, run.seed): run.outcomes for run in runs}
    paths = leaves(ceiling["clip_mean"].figures | (runs[0].figures if runs else {}))
    resampled = Resampled(measured, list(paths), test.protocol.seed)

    def row(name: str, seeds: Sequence[int], trees: Sequence[Tree]) -> Tree:
        keys = [(name, seed) for seed in seeds or (-1,)]
        summary = _with_intervals(summarise(trees), lambda path: resampled.mean(keys, path))
        return {"name": name, "seeds": list(seeds), "figures": summary}

    lines = {"chance": chance(test)} | {name: found.figures for name, found in ceiling.items()}
    rows: list[Tree] = [row(name, (), [tree]) for name, tree in lines.items()]
    by_mode: dict[str, dict[str, Tree]] = {}
    for mode in _modes(runs):
        mine = sorted((run for run in runs if run.mode == mode), key=lambda run: run.seed)
        by_mode[mode] = {str(run.seed): run.figures for run in mine}
        rows.append(row(mode, [run.seed for run in mine], [run.figures for run in mine]))
    gaps = differences(runs)
    for mode, pairs in _pairs(runs, BASELINE).items():
        gaps[mode] = _with_intervals(gaps[mode], partial(_gap, resampled, pairs))
    whole = {"objects": len(test.keys), "classes": list(test.classes), "runs": by_mode, "rows": rows}
    return _tree(whole | lines | {"differences": gaps})


def build(
    test: TestSplit,
    runs: Sequence[EvaluatedRun],
    provenance: Mapping[str, Any],
    timing: Mapping[str, Any] | None = None,
    host: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The whole of `results.json`; `provenance` gains the protocol and the size of the gallery."""
    described = {
        "protocol": test.protocol.described(),
        "gallery_size": len(test.keys),
        "views": int(test.views.shape[1]),
        "seeds": sorted({run.seed for run in runs}),
    }
    return {
        "schema": SCHEMA,
        "figures": figures(test, runs),
        "provenance": plain(dict(provenance) | described),
        "timing": plain(dict(timing or {})),
        "host": plain(dict(host or {})),
    }


def dumps(results: Mapping[str, Any]) -> bytes:
    """The bytes of `results.json`: sorted keys, so that equal results are equal files."""
    return (json.dumps(results, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n").encode()


def loads(data: bytes, name: str = RESULTS) -> dict[str, Any]:
    """Parses what `dumps` wrote; DataError unless it is complete and of this schema."""
    try:
        results = json.loads(data)
    except ValueError as error:
        raise DataError(f"{name}: not JSON ({error}); rerun eval") from None
    if not isinstance(results, dict) or results.get("schema") != SCHEMA or "figures" not in results:
        raise DataError(f"{name}: expected results of schema {SCHEMA}; rerun eval")
    return results


def _measured(shapes: NDArray[Any], pairs: Sequence[tuple[NDArray[Any], NDArray[Any]]], test: TestSplit) -> Measured:
    """Zero-shot of the embeddings (n, m, D), m of each object, and retrieval between `pairs`, if any."""
    tree, ranks = _zero_shot(shapes, test)
    if pairs:
        found, more = _retrieval(pairs, test)
        tree, ranks = tree | found, ranks | more
    return Measured(_tree(tree), Outcomes(np.asarray(test.labels, dtype=np.int64), ranks, test.digest))


def _zero_shot(shapes: NDArray[Any], test: TestSplit) -> tuple[Tree, dict[str, Ints]]:
    n, count, width = shapes.shape
    labels = np.repeat(test.labels, count)
    found = zero_shot.evaluate(shapes.reshape(-1, width), test.class_texts, labels, test.protocol.zero_shot_ks)
    ranks = {"zero_shot": found.pop("rank").reshape(n, count)}
    found["per_class"] = dict(zip(test.classes, found["per_class"].tolist(), strict=True))
    found["support"] = found["support"].tolist()
    found["confusion"] = found["confusion"].tolist()
    return {"zero_shot": found}, ranks


def _retrieval(pairs: Sequence[tuple[NDArray[Any], NDArray[Any]]], test: TestSplit) -> tuple[Tree, dict[str, Ints]]:
    """Mean figures over `pairs` of image and shape embeddings, both (n, D), object by object."""
    protocol, own = test.protocol, np.arange(len(test.keys))
    tree: Tree = {"gallery": {}, "in_batch": {}}
    ranks = {}
    for direction, step in (("image_to_shape", 1), ("shape_to_image", -1)):
        ordered = [pair[::step] for pair in pairs]
        ranked = [retrieval.gallery_ranks(asked, given, own) for asked, given in ordered]
        pooled = [
            retrieval.in_batch_ranks(asked, given, protocol.batch, protocol.batch_seed) for asked, given in ordered
        ]
        tree["gallery"][direction] = _mean([retrieval.gallery_figures(rank, protocol.gallery_ks) for rank in ranked])
        tree["in_batch"][direction] = _mean([retrieval.in_batch_figures(rank, protocol.in_batch_ks) for rank in pooled])
        ranks[f"gallery/{direction}"] = np.concatenate(ranked, axis=1)
        ranks[f"in_batch/{direction}"] = np.stack(pooled, axis=1)
    return tree, ranks


def _mean(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([figures[name] for figures in found])) for name in found[0]}


def _modes(runs: Iterable[EvaluatedRun]) -> list[str]:
    """The modes of `runs`: the known ones in table order, then others as they come."""
    present = list(dict.fromkeys(run.mode for run in runs))
    return sorted(present, key=lambda mode: MODES.index(mode) if mode in MODES else len(MODES))


def _pairs(runs: Sequence[EvaluatedRun], baseline: str) -> dict[str, list[tuple[EvaluatedRun, EvaluatedRun]]]:
    """For every other mode its runs with the baseline's of the same seed; modes that share none are left out."""
    base = {run.seed: run for run in runs if run.mode == baseline}
    found = {mode: [(r, base[r.seed]) for r in runs if r.mode == mode and r.seed in base] for mode in _modes(runs)}
    return {mode: pairs for mode, pairs in found.items() if pairs and mode != baseline}


def _gap(
    resampled: Resampled[tuple[str, int]], pairs: Sequence[tuple[EvaluatedRun, EvaluatedRun]], path: Path
) -> Floats | None:
    mine, theirs = (resampled.mean([(run.mode, run.seed) for run in side], path) for side in zip(*pairs, strict=True))
    return None if mine is None or theirs is None else mine - theirs


def _with_intervals(tree: Tree, resampled: Callable[[Path], Floats | None], path: Path = ()) -> Tree:
    """A tree of {mean, std, n} with `low` and `high` where the figure has been resampled."""
    found: Tree = {}
    for key, value in tree.items():
        here = (*path, key)
        figures = resampled(here) if "mean" in value else None
        if figures is not None:
            low, high = bootstrap.interval(figures)
            found[key] = value | {"low": float(low), "high": float(high)}
        else:
            found[key] = value if "mean" in value else _with_intervals(value, resampled, here)
    return found


def _minus(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Tree:
    gap: Tree = {}
    for key, value in mine.items():
        if isinstance(value, Mapping):
            gap[key] = _minus(value, theirs[key])
        elif isinstance(value, int | float):
            gap[key] = value - theirs[key]
    return gap


def _spread(values: Sequence[float]) -> dict[str, Any]:
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "std": std, "n": len(values)}


def _tree(tree: Tree) -> Tree:
    found: Tree = plain(tree)
    return found


def plain(value: Any) -> Any:
    """JSON values only: floats to 6 decimals, NaN as null, numpy scalars and tuples as their like."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return round(value, 6) + 0.0 if math.isfinite(value) else None
    return value
