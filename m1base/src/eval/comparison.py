"""Compares runs: only comparable figures share a table, and differences are tested on the same test objects.

A row is a set of runs that differ only in the seed, with the mean over all of its seeds. Figures share a table if they
were measured in the same way: the same test set, CLIP model and ties; for zero-shot the same texts; for retrieval the
same gallery, views and batches. Other rows get a separate table, and a note says how they differ.

In a table every row is compared with the baseline, figure by figure, if the ranks of every object are available. Two
single runs with one right or wrong answer per object: McNemar's exact test, on the objects that only one of them got
right. Anything else (a mean over seeds or views, `map`): the paired bootstrap, with the same resamples for both rows.
p-values are corrected for the number of tests over all tables (Holm). All tests are about other test objects, for these
trained encoders; how much a seed changes a figure is its `std`, which no test here takes into account.

`compare` returns plain JSON, floats to 6 decimals:

    tables      [{heading, setting: what its rows share, baseline, columns: [{name, path}], rows}]
      rows      [{name, kind: run | reference | paper, seeds, citation, cells: path -> cell}]
        cell    {mean, std, n, low, high}, and for rows other than the baseline `difference`
          difference  {mean, low, high, p, p_holm, test, ...}, only the mean if it cannot be tested
    tests, significant, alpha
    intervals   what `low` and `high` are, see `bootstrap`
    notes       what could not be compared or is missing, and why
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from captionless.errors import DataError, SpecError, did_you_mean
from captionless.eval import bootstrap, checkpoint_figures, papers, tables, trees
from captionless.eval.outcomes import Outcomes, Path, answers
from captionless.eval.resampled import Resampled
from captionless.eval.tables import Column

ALPHA = 0.05
COLUMNS = (
    *tables.COLUMNS,
    *(column for column in checkpoint_figures.COLUMNS if column not in tables.COLUMNS),
    Column("image → shape", "R@10", ("gallery", "image_to_shape", "recall@10")),
    Column("shape → image", "R@10", ("gallery", "shape_to_image", "recall@10")),
)
"""All comparable figures; the columns of the results table come first."""


@dataclass(frozen=True)
class Setting:
    """How a row's figures were measured.

    test: the digest of the test set, regardless of where `dataset` is. clip: model and pretrained weights, which
    `clip_digest` identifies. templates: the prompt's; none if nothing was classified. protocols: what else comparable
    figures must share, in words, by the first element of their path. seed: of the intervals.
    """

    test: str
    dataset: str
    classes: Sequence[str]
    objects: int
    clip: tuple[str, str]
    clip_digest: str
    templates: Sequence[str]
    protocols: Mapping[str, Mapping[str, str]]
    seed: int = 0

    def shared(self, column: Column) -> dict[str, str]:
        """What figures must share to be shown in the same column, in words."""
        return {
            "test set": f"{self.objects:,} objects of {len(self.classes):,} classes, digest {self.test[:12]}",
            "CLIP model": f"{'/'.join(filter(None, self.clip))}, digest {self.clip_digest[:12]}",
            **self.protocols.get(column.path[0], {}),
        }


@dataclass(frozen=True)
class ComparedRow:
    """Figures, {mean, std, n} and perhaps {low, high} by path; `outcomes` of every run, empty where they are not known.

    `kind`: a reference is chance, or CLIP's own figures, and is not tested.
    """

    name: str
    setting: Setting
    figures: Mapping[Path, Mapping[str, Any]]
    seeds: Sequence[int] = ()
    outcomes: Sequence[Outcomes] = ()
    kind: Literal["run", "reference"] = "run"


@dataclass
class _Notes:
    """Remarks, each once."""

    texts: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        if text not in self.texts:
            self.texts.append(text)


def chosen(paths: Sequence[str]) -> tuple[Column, ...]:
    """The columns at `paths` such as `zero_shot/top1`; for none those of the results' table. SpecError if unknown."""
    known = {"/".join(column.path): column for column in COLUMNS}
    for path in paths:
        if path not in known:
            raise SpecError(f"figure {path}: expected one of {', '.join(known)}{did_you_mean(path, known)}")
    return tuple(known[path] for path in dict.fromkeys(paths)) or tables.COLUMNS


def compare(
    rows: Sequence[ComparedRow], columns: Sequence[Column], baseline: str | None = None, beside_papers: bool = False
) -> dict[str, Any]:
    """Compares `rows` with `baseline` (a row's name; by default the first run of each table)."""
    runs = [row.name for row in rows if row.kind == "run"]
    if not runs:
        raise DataError("nothing to compare: no run has been evaluated")
    if len(set(runs)) != len(runs):
        raise SpecError(f"{next(name for name in runs if runs.count(name) > 1)}: given more than once")
    if baseline is not None and baseline not in runs:
        raise SpecError(f"baseline {baseline}: expected one of {', '.join(runs)}{did_you_mean(baseline, runs)}")
    notes = _Notes()
    found = []
    for heading in dict.fromkeys(column.heading for column in columns):
        under = [column for column in columns if column.heading == heading]
        for setting, group in _alike(rows, under, notes):
            found.append(_table(heading, setting, group, under, baseline, notes))
            if beside_papers and under[0].path[0] == "zero_shot":
                _add_papers(found[-1], group[0].setting, under, notes)
    if beside_papers and not any(column.path[0] == "zero_shot" for column in columns):
        notes.add("papers: none shown; only zero-shot classification is comparable with their figures")
    cells = [cell for table in found for row in table["rows"] for cell in row["cells"].values()]
    tested = [cell["difference"] for cell in cells if "p" in cell.get("difference", {})]
    for one, p in zip(tested, holm([one["p"] for one in tested]), strict=True):
        one["p_holm"] = p
    document: dict[str, Any] = trees.plain(
        {
            "tables": found,
            "tests": len(tested),
            "significant": sum(one["p_holm"] < ALPHA for one in tested),
            "alpha": ALPHA,
            "intervals": bootstrap.described(rows[0].setting.seed),
            "notes": notes.texts,
        }
    )
    return document


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction for the number of tests: adjusted p-values, in the order given."""
    adjusted, running = [0.0] * len(p), 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=lambda place: p[place])):
        running = max(running, min(1.0, (len(p) - rank) * p[place]))
        adjusted[place] = running
    return adjusted


def mcnemar(mine: Any, theirs: Any) -> dict[str, Any]:
    """McNemar's exact test of two runs' right answers, (n,) each, 0 or 1: p, and how many only one of them has."""
    from scipy.stats import binomtest  # takes a second to import

    mine, theirs = np.asarray(mine, dtype=bool), np.asarray(theirs, dtype=bool)
    here, there = int(np.sum(mine & ~theirs)), int(np.sum(theirs & ~mine))
    p = float(binomtest(here, here + there).pvalue) if here + there else 1.0
    return {"test": "McNemar, exact", "p": p, "only_this": here, "only_baseline": there}


def _alike(
    rows: Sequence[ComparedRow], columns: Sequence[Column], notes: _Notes
) -> list[tuple[dict[str, str], list[ComparedRow]]]:
    """Rows that have any of the columns, in groups of comparable ones; a note for every group but the first."""
    groups: list[tuple[dict[str, str], list[ComparedRow]]] = []
    for row in rows:
        if not any(column.path in row.figures for column in columns):
            if row.kind == "run":
                notes.add(f"{columns[0].heading}: not measured for {row.name}")
            continue
        shared = row.setting.shared(columns[0])
        group = next((members for setting, members in groups if setting == shared), None)
        if group is None:
            groups.append((shared, group := []))
        if row.kind == "run" or row.name not in [other.name for other in group]:
            group.append(row)
    groups = [(setting, group) for setting, group in groups if any(row.kind == "run" for row in group)]
    for setting, members in groups[1:]:
        unlike = [name for name, value in setting.items() if groups[0][0].get(name) != value]
        names = ", ".join(row.name for row in members if row.kind == "run")
        notes.add(f"{columns[0].heading}: separate table for {names}: different {' and '.join(unlike)}")
    return groups


def _table(
    heading: str, setting: dict[str, str], rows: Sequence[ComparedRow], columns: Sequence[Column], baseline: str | None,
    notes: _Notes,
) -> dict[str, Any]:  # fmt: skip
    runs = [row for row in rows if row.kind == "run"]
    base = next((row for row in runs if row.name == baseline), runs[0])
    if baseline is not None and base.name != baseline:
        notes.add(f"{heading}: {baseline} was measured differently; the baseline of this table is {base.name}")
    if silent := [row.name for row in runs if not row.outcomes]:
        notes.add(
            f"not tested, since the ranks of the test objects are not stored with the figures: {', '.join(silent)}"
        )
    outcomes = {(row.name, number): one for row in runs for number, one in enumerate(row.outcomes)}
    for name, number in outcomes:
        if not np.array_equal(outcomes[name, number].labels, next(iter(outcomes.values())).labels):
            raise DataError(f"{name}: its outcomes are for different objects than those of {base.name}")
    paths = [column.path for column in columns]
    resampled = Resampled(outcomes, paths, base.setting.seed) if base.outcomes and len(runs) > 1 else None
    lines = []
    for row in rows:
        cells = {}
        for path in paths:
            if path in row.figures:
                beside = row.kind == "run" and row is not base and path in base.figures
                difference = {"difference": _difference(row, base, path, resampled)} if beside else {}
                cells["/".join(path)] = {**row.figures[path], **difference}
        lines.append({"name": row.name, "kind": row.kind, "seeds": list(row.seeds), "cells": cells})
    return {
        "heading": heading,
        "setting": {"data": base.setting.dataset} | setting,
        "baseline": base.name,
        "columns": [{"name": column.name, "path": "/".join(column.path)} for column in columns],
        "rows": lines,
    }


def _difference(
    row: ComparedRow, base: ComparedRow, path: Path, resampled: Resampled[tuple[str, int]] | None
) -> dict[str, Any]:
    found: dict[str, Any] = {"mean": row.figures[path]["mean"] - base.figures[path]["mean"]}
    if resampled is None or not row.outcomes:
        return found
    mine, theirs = (resampled.mean([(r.name, i) for i in range(len(r.outcomes))], path) for r in (row, base))
    if mine is None or theirs is None:
        return found
    low, high = bootstrap.interval(mine - theirs)
    found |= {"low": float(low), "high": float(high)}
    single = [answers(r.outcomes[0], path) for r in (row, base) if len(r.outcomes) == 1]
    if len(single) == 2 and all(one is not None and one.yes_or_no for one in single):
        return found | mcnemar(*(one.values for one in single if one is not None))
    return found | {"test": "paired bootstrap", "p": bootstrap.p_value(mine - theirs)}


def _add_papers(table: dict[str, Any], setting: Setting, columns: Sequence[Column], notes: _Notes) -> None:
    rows, reason = papers.beside(setting.classes, setting.objects, setting.templates, setting.clip)
    for row in rows:
        cells = {
            "/".join(column.path): {"mean": row.figures[column.path], "std": None, "n": 1}
            for column in columns
            if column.path in row.figures
        }
        table["rows"].append(
            {"name": row.name, "kind": "paper", "citation": papers.CITATION, "seeds": [], "cells": cells}
        )
    if reason:
        notes.add(f"papers: none shown beside {table['baseline']}: {reason}")
