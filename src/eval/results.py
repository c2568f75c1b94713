"""What the evaluation of a set of runs is, and how it is written down (`results.json`).

Every run (a weights mode and a seed) is measured on the same test set in the same way.
Beside the runs stand two lines that need no training: chance, and what the CLIP model
itself reaches from the same objects' rendered views, which is what training aims at.

Schema 1 of `results.json`:

    schema      1
    figures     a pure function of the embeddings: no times, no host, floats to 6 decimals
      objects, classes                   the size of the test set, the class names in order
      chance, clip_mean, clip_single     figure trees (below)
      runs        mode -> seed -> figure tree
      rows        [{name, seeds, figures: tree whose leaves are {mean, std, n}}] in table order
      differences mode -> tree of {mean, std, n}: this mode minus the baseline, seed by seed
    provenance  dataset, protocol, prompts, CLIP model and digest, checkpoints, versions ...
    timing      seconds; not part of what is compared
    host        the machine; not part of what is compared

A figure tree is {zero_shot: {top1, top5, class_mean, per_class, confusion}, gallery:
{image_to_shape, shape_to_image}, in_batch: {image_to_shape, shape_to_image}}. `std` is
the sample standard deviation over seeds (n - 1), null for a single seed. A class
without sample is null in `per_class`. Trees are rounded before they are averaged, so a
tree that was stored and read again gives the same summary. All seeds count: nothing is picked by its figure.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from captionless.errors import DataError
from captionless.eval import classification, retrieval, zero_shot
from captionless.eval.cosine import unit_rows

SCHEMA = 1
MODES = ("uniform", "category", "i2i", "i2l", "avg")
BASELINE = "uniform"
Tree = dict[str, Any]


@dataclass(frozen=True)
class Protocol:
    """How a test set is measured; `described` puts it into the provenance.

    `views` says which view stands for an object in retrieval. `"one"`: a single one, drawn by
    a stable hash of `seed` and the object's key (another pose for each object, the same for
    all runs). `"all"`: each pose in turn, for all objects alike, and the figures are means over
    the poses. `batch` and `batch_seed` are those of the in-batch protocol.
    """

    zero_shot_ks: tuple[int, ...] = (1, 5)
    gallery_ks: tuple[int, ...] = (1, 5, 10)
    in_batch_ks: tuple[int, ...] = (1, 5)
    views: Literal["one", "all"] = "one"
    seed: int = 0
    batch: int = 128
    batch_seed: int = 0

    def described(self) -> dict[str, Any]:
        """Plain JSON for the provenance."""
        return {
            "zero_shot": {"ks": list(self.zero_shot_ks)},
            "gallery": {"ks": list(self.gallery_ks), "views": self.views, "seed": self.seed},
            "in_batch": {"ks": list(self.in_batch_ks), "batch": self.batch, "seed": self.batch_seed},
            "ties": "against the method",
        }


@dataclass(frozen=True)
class TestSet:
    """The unseen objects: `views` (n, R, D) CLIP embeddings, `labels` (n,) into `classes` (C),
    `class_texts` (C, D) or (C, T, D), `keys` (n) the objects' names."""

    __test__ = False  # not a pytest class

    keys: Sequence[str]
    classes: Sequence[str]
    labels: NDArray[np.int64]
    views: NDArray[Any]
    class_texts: NDArray[Any]
    protocol: Protocol = field(default_factory=Protocol)

    def __post_init__(self) -> None:
        if self.views.ndim != 3:
            raise DataError(f"views: expected (objects, views, dimensions), found shape {self.views.shape}")
        for name, found in (("keys", len(self.keys)), ("labels", len(self.labels))):
            if found != len(self.views):
                raise DataError(f"{name}: expected one for each of {len(self.views)} objects, found {found}")
        if len(self.class_texts) != len(self.classes):
            raise DataError(f"class_texts: expected {len(self.classes)} classes, found {len(self.class_texts)}")

    def choices(self) -> list[NDArray[np.int64]]:
        """Each (n,): which view stands for each object in retrieval; one choice, or one for each pose."""
        count = self.views.shape[1]
        if self.protocol.views == "all":
            return [np.full(len(self.keys), pose, dtype=np.int64) for pose in range(count)]
        digests = [hashlib.sha256(f"view:{self.protocol.seed}:{key}".encode()).digest()[:8] for key in self.keys]
        return [np.array([int.from_bytes(digest) % count for digest in digests], dtype=np.int64)]


@dataclass(frozen=True)
class Run:
    """One trained encoder and its figures on the test set."""

    mode: str
    seed: int
    figures: Tree


def evaluate_run(shapes: ArrayLike, test: TestSet) -> Tree:
    """Figure tree of an encoder whose embeddings of the test objects are `shapes` (n, D).

    In retrieval every object is a query, the gallery is all test objects, and only the very
    object is relevant: its class mates are misses.
    """
    shapes = np.asarray(shapes)
    if len(shapes) != len(test.keys):
        raise DataError(f"embeddings: expected {len(test.keys)} objects, found {len(shapes)}")
    row = np.arange(len(shapes))
    pairs = [(test.views[row, chosen], shapes) for chosen in test.choices()]
    return _tree({"zero_shot": _zero_shot(shapes, test.labels, test)} | _retrieval(pairs, test))


def clip_ceiling(test: TestSet) -> dict[str, Tree]:
    """What the CLIP model reaches from the same objects' views: `clip_mean` and `clip_single`.

    Zero-shot: the normalised mean of an object's views (`clip_mean`), or every view on its
    own (`clip_single`). Retrieval: the chosen view against, in the shape's place, the mean of
    the object's other views (`clip_mean`) or the opposite view (`clip_single`), so that
    a query never meets itself.
    """
    views = unit_rows(test.views, "views", ndim=(3,))
    count, row = views.shape[1], np.arange(len(views))
    mean = {"zero_shot": _zero_shot(views.mean(axis=1), test.labels, test)}
    single = {"zero_shot": _zero_shot(views.reshape(-1, views.shape[2]), np.repeat(test.labels, count), test)}
    if count > 1:
        images = [(chosen, views[row, chosen]) for chosen in test.choices()]
        mean |= _retrieval([(image, views.sum(axis=1) - image) for _, image in images], test)
        single |= _retrieval([(image, views[row, (chosen + count // 2) % count]) for chosen, image in images], test)
    return {"clip_mean": _tree(mean), "clip_single": _tree(single)}


def chance(test: TestSet) -> Tree:
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


def differences(runs: Sequence[Run], baseline: str = BASELINE) -> dict[str, Tree]:
    """Each mode minus `baseline`, paired by seed: the spread over seeds that both share cancels out."""
    base = {run.seed: run.figures for run in runs if run.mode == baseline}
    found = {}
    for mode in _modes(runs):
        pairs = [(run.figures, base[run.seed]) for run in runs if run.mode == mode and run.seed in base]
        if mode != baseline and pairs:
            found[mode] = summarise([_minus(mine, theirs) for mine, theirs in pairs])
    return found


def figures(test: TestSet, runs: Sequence[Run]) -> Tree:
    """The `figures` of `results.json` for `runs` on `test`."""
    if len({(run.mode, run.seed) for run in runs}) != len(runs):
        raise DataError("runs: a weights mode and seed may appear only once")
    lines: dict[str, Tree] = {"chance": chance(test)} | clip_ceiling(test)
    rows: list[Tree] = [{"name": name, "seeds": [], "figures": summarise([tree])} for name, tree in lines.items()]
    by_mode: dict[str, dict[str, Tree]] = {}
    for mode in _modes(runs):
        mine = sorted((run for run in runs if run.mode == mode), key=lambda run: run.seed)
        by_mode[mode] = {str(run.seed): run.figures for run in mine}
        rows.append({"name": mode, "seeds": [r.seed for r in mine], "figures": summarise([r.figures for r in mine])})
    whole = {"objects": len(test.keys), "classes": list(test.classes), "runs": by_mode, "rows": rows}
    return _tree(whole | lines | {"differences": differences(runs)})


def build(
    test: TestSet,
    runs: Sequence[Run],
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


def loads(data: bytes, name: str = "results.json") -> dict[str, Any]:
    """What `dumps` wrote; DataError unless it is whole and of this schema."""
    try:
        results = json.loads(data)
    except ValueError as error:
        raise DataError(f"{name}: not JSON ({error}); run the eval stage again") from None
    if not isinstance(results, dict) or results.get("schema") != SCHEMA or "figures" not in results:
        raise DataError(f"{name}: expected results of schema {SCHEMA}; run the eval stage again")
    return results


def _zero_shot(embeddings: ArrayLike, labels: NDArray[np.int64], test: TestSet) -> Tree:
    found = zero_shot.evaluate(embeddings, test.class_texts, labels, test.protocol.zero_shot_ks)
    found["per_class"] = dict(zip(test.classes, found["per_class"].tolist(), strict=True))
    found["support"] = found["support"].tolist()
    found["confusion"] = found["confusion"].tolist()
    return found


def _retrieval(pairs: Sequence[tuple[NDArray[Any], NDArray[Any]]], test: TestSet) -> Tree:
    """Mean figures over `pairs` of image and shape embeddings, both (n, D), object by object."""
    protocol, own = test.protocol, np.arange(len(test.keys))
    tree: Tree = {"gallery": {}, "in_batch": {}}
    for direction, step in (("image_to_shape", 1), ("shape_to_image", -1)):
        ordered = [pair[::step] for pair in pairs]
        ranked = [retrieval.gallery(asked, given, own, protocol.gallery_ks) for asked, given in ordered]
        pooled = [
            retrieval.in_batch(asked, given, protocol.batch, protocol.batch_seed, protocol.in_batch_ks)
            for asked, given in ordered
        ]
        tree["gallery"][direction] = _mean(ranked)
        tree["in_batch"][direction] = _mean(pooled)
    return tree


def _mean(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each figure; the counts of queries, gallery items and pairs are the test set's and left out."""
    names = [name for name in found[0] if name not in ("queries", "gallery", "pairs")]
    return {name: float(np.mean([figures[name] for figures in found])) for name in names}


def _modes(runs: Iterable[Run]) -> list[str]:
    """The modes of `runs`: the known ones in table order, then others as they come."""
    present = list(dict.fromkeys(run.mode for run in runs))
    return sorted(present, key=lambda mode: MODES.index(mode) if mode in MODES else len(MODES))


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
