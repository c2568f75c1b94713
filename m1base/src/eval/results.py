"""The evaluation of a set of runs, and its storage format (`results.json`).

Every run (a weights mode and a seed) is measured on the same test set in the same way.
Two references need no training: chance, and the CLIP model itself on the same objects'
rendered views, which is the target of training.

Schema 1 of `results.json`:

    schema      1
    figures     a pure function of the embeddings: no times, no host, floats to 6 decimals
      objects, classes                   the size of the test set, the candidates' names in order
      without_objects                    the candidates that no test object is of
      names                              what prompts and pages call each class, where one is called something else
      chance, clip_mean, clip_single     figure trees (below)
      runs        mode -> seed -> figure tree
      rows        [{name, seeds, figures: tree whose leaves are {mean, std, n, low, high}}] in table order
      differences mode -> tree of {mean, std, n, low, high}: this mode minus the baseline, seed by seed
    files       name -> {file, sha256, ...}: what is stored beside it, below the same folder
    provenance  dataset, protocol, prompts, CLIP model and digest, checkpoints, versions ...
    timing      seconds; not part of what is compared
    host        the machine; not part of what is compared

A figure tree is {zero_shot: {top1, top5, class_mean}, gallery: {image_to_shape, shape_to_image}, in_batch:
{image_to_shape, shape_to_image}}, and of few classes {per_class, support, confusion} in `zero_shot` (see
`class_tables`). `std` is
the sample standard deviation over seeds (n - 1), null for a single seed; `low` and `high`
are the bounds of the mean's 95 % interval over test objects, for these trained encoders
(see `bootstrap`), which chance, medians and single classes do not have. A class without
object is a candidate like others; it is null in `per_class` and left out of `class_mean`. Trees are rounded before
they are averaged, so a tree that
was stored and read again gives the same summary. All seeds count: nothing is picked by
its figure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from captionless.errors import DataError
from captionless.eval import bootstrap, class_tables, measurement
from captionless.eval.bootstrap import Floats
from captionless.eval.class_tables import ClassTable
from captionless.eval.measurement import Measured
from captionless.eval.outcomes import Outcomes, Path
from captionless.eval.protocol import TestSplit
from captionless.eval.resampled import Resampled
from captionless.eval.trees import Tree, leaves, minus, plain, rounded, summarise
from captionless.runtime.redaction import public
from captionless.spec.variant import MODES, baseline_of

RESULTS, TABLE, REPORT = "results.json", "table.md", "report.html"
"""The files of an evaluation; of a classifier's the first two."""

SCHEMA = 1
REFERENCES = ("clip_mean", "clip_single")
"""Those of `measurement.clip_ceiling`."""


@dataclass(frozen=True)
class EvaluatedRun:
    """One trained encoder: its figures and outcomes on the test set."""

    mode: str
    seed: int
    figures: Tree
    outcomes: Outcomes

    @property
    def name(self) -> str:
        """As in the plan."""
        return f"{self.mode}-seed{self.seed}"


@dataclass(frozen=True)
class Figures:
    """The `figures` of `results.json`, and the class tables of every run and reference by its name.

    inline: whether the tables stand within the figures.
    """

    tree: Tree
    tables: Mapping[str, ClassTable]
    inline: bool


def differences(runs: Sequence[EvaluatedRun]) -> dict[str, Tree]:
    """Each mode minus its baseline, paired by seed: the spread over seeds that both share cancels out."""
    found = {}
    for mode, pairs in _pairs(runs).items():
        found[mode] = summarise([minus(mine.figures, theirs.figures) for mine, theirs in pairs])
    return found


def figures(test: TestSplit, runs: Sequence[EvaluatedRun], ceiling: Mapping[str, Measured]) -> Figures:
    """The figures of `runs` and of the references (`measurement.clip_ceiling`) on `test`."""
    if len({(run.mode, run.seed) for run in runs}) != len(runs):
        raise DataError("runs: duplicate weights mode and seed")
    classes = list(test.classes)
    measured = {(name, -1): ceiling[name].outcomes for name in REFERENCES}
    measured |= {(run.mode, run.seed): run.outcomes for run in runs}
    paths = leaves(ceiling["clip_mean"].figures | (runs[0].figures if runs else {}))
    resampled = Resampled(measured, list(paths), test.settings.seed)
    tables = {name: class_tables.of_outcomes(ceiling[name].outcomes, len(classes)) for name in REFERENCES}
    tables |= {run.name: class_tables.of_outcomes(run.outcomes, len(classes)) for run in runs}
    inline = class_tables.are_small(len(classes), len(tables))

    def whole(name: str, tree: Tree) -> Tree:
        more = rounded(tables[name].inline(classes)) if inline else {}
        return tree | {"zero_shot": tree["zero_shot"] | more}

    def row(name: str, seeds: Sequence[int], trees: Sequence[Tree]) -> Tree:
        keys = [(name, seed) for seed in seeds or (-1,)]
        summary = _with_intervals(summarise(trees), lambda path: resampled.mean(keys, path))
        return {"name": name, "seeds": list(seeds), "figures": summary}

    lines = {"chance": measurement.chance(test)}
    lines |= {name: whole(name, ceiling[name].figures) for name in REFERENCES}
    rows: list[Tree] = [row(name, (), [tree]) for name, tree in lines.items()]
    runs = [EvaluatedRun(run.mode, run.seed, whole(run.name, run.figures), run.outcomes) for run in runs]
    by_mode: dict[str, dict[str, Tree]] = {}
    for mode in _modes(runs):
        mine = sorted((run for run in runs if run.mode == mode), key=lambda run: run.seed)
        by_mode[mode] = {str(run.seed): run.figures for run in mine}
        rows.append(row(mode, [run.seed for run in mine], [run.figures for run in mine]))
    gaps = differences(runs)
    for mode, pairs in _pairs(runs).items():
        gaps[mode] = _with_intervals(gaps[mode], partial(_gap, resampled, pairs))
    about = {"objects": len(test.keys), "classes": classes, "without_objects": test.without_objects()}
    if test.names and list(test.names) != classes:
        about["names"] = list(test.names)
    tree = rounded(about | {"runs": by_mode, "rows": rows} | lines | {"differences": gaps})
    return Figures(tree, tables, inline)


def build(
    test: TestSplit,
    found: Figures,
    provenance: Mapping[str, Any],
    files: Mapping[str, Any] | None = None,
    timing: Mapping[str, Any] | None = None,
    host: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The whole of `results.json`; `provenance` gains the protocol and the size of the gallery, and loses secrets."""
    described = {
        "protocol": test.settings.described(),
        "gallery_size": len(test.keys),
        "views": test.seen.shape[1],
        "seeds": sorted({int(seed) for of_mode in found.tree["runs"].values() for seed in of_mode}),
    }
    return {
        "schema": SCHEMA,
        "figures": found.tree,
        "files": plain(dict(files or {})),
        "provenance": public(plain(dict(provenance) | described)),
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


def _modes(runs: Iterable[EvaluatedRun]) -> list[str]:
    """The modes of `runs`: the known ones in table order, then others as they come."""
    present = list(dict.fromkeys(run.mode for run in runs))
    order = {mode: place for place, mode in enumerate(MODES)}
    return sorted(present, key=lambda mode: order.get(mode, len(order)))


def _pairs(runs: Sequence[EvaluatedRun]) -> dict[str, list[tuple[EvaluatedRun, EvaluatedRun]]]:
    """For every mode its runs with its baseline's of the same seed; modes that share none are left out."""
    of = {(run.mode, run.seed): run for run in runs}
    found = {
        mode: [(r, of[base, r.seed]) for r in runs if r.mode == mode and (base, r.seed) in of]
        for mode in _modes(runs)
        if (base := baseline_of(mode)) != mode
    }
    return {mode: pairs for mode, pairs in found.items() if pairs}


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
