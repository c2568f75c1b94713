"""compare: the results of several evaluated runs -> one comparison. Read-only.

An input is a run's folder, its eval folder or results.json, or the JSON of `captionless eval --checkpoint`. The ranks
on which differences are tested are in files that results.json names, or in the JSON itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from captionless.errors import DataError
from captionless.eval import checkpoint_figures, comparison, outcomes, results, tables
from captionless.eval.comparison import COLUMNS, ComparedRow, Setting
from captionless.eval.outcomes import Outcomes
from captionless.eval.results import RESULTS
from captionless.runtime.redaction import public
from captionless.stages import candidates
from captionless.store import objects

SCHEMA = 1


def run(
    inputs: Sequence[str], figures: Sequence[str] = (), baseline: str | None = None, papers: bool = False
) -> dict[str, Any]:
    """The comparison of `inputs`, see `eval.comparison`, with `schema` and the origin of its rows (`inputs`).

    SpecError for an unknown figure or baseline, DataError for an input that is not an evaluation.
    """
    columns = comparison.chosen(figures)
    found = {where: _document(where) for where in dict.fromkeys(inputs)}
    names = _names([url for url, _ in found.values()])
    rows, read = [], []
    for name, (url, document) in zip(names, found.values(), strict=True):
        mine = _of_checkpoint(name, url, document) if "runs" not in document["figures"] else _of_run(url, document)
        if len(found) > 1 and "runs" in document["figures"]:
            mine = [replace(row, name=f"{name}: {row.name}") if row.kind == "run" else row for row in mine]
        rows += mine
        about = {"rows": [row.name for row in mine if row.kind == "run"]}
        read.append({"url": public(url), **about, "provenance": _origin(document["provenance"])})
    return {"schema": SCHEMA, **comparison.compare(rows, columns, baseline, papers), "inputs": read}


def _document(where: str) -> tuple[str, dict[str, Any]]:
    """The URL of an input's JSON, and that."""
    places = [where] if where.endswith(".json") else [objects.join(where, *p) for p in (("eval", RESULTS), (RESULTS,))]
    for url in places:
        try:
            document = results.loads(objects.read_bytes(url), url)
        except FileNotFoundError:
            continue
        if not {"runs", "chance"} & set(document["figures"]) or "splits" in document["figures"]:
            raise DataError(f"{url}: expected results of `captionless eval`, found those of another command")
        return url, document
    raise DataError(f"{where}: neither {' nor '.join(places)} exists; expected an evaluated run, or its JSON")


def _names(urls: Sequence[str]) -> list[str]:
    """A short name of each input: of its folder or file; more of the path where that is not enough."""
    parts = [url.removesuffix(f"/{RESULTS}").removesuffix("/eval").removesuffix(".json").split("/") for url in urls]
    depth = 1
    while depth < max(map(len, parts)) and len({tuple(p[-depth:]) for p in parts}) < len(parts):
        depth += 1
    return ["/".join(p[-depth:]) for p in parts]


def _of_run(url: str, document: Mapping[str, Any]) -> list[ComparedRow]:
    """A row for every weighting, and the reference rows."""
    figures, about = document["figures"], document["provenance"]
    beside = document.get("files", {}).get("outcomes", {})
    test, protocol, templates = about["digests"]["test"], about["protocol"], about["prompt"]["templates"]
    views = protocol["gallery"]
    chosen = {"choice of views": f"{views['views']} of each object, seed {views['seed']}"}
    setting = Setting(
        test=test,
        dataset=public(about["dataset"].get("url") or about["dataset"]["kind"]),
        **_common(figures, about),
        templates=templates,
        protocols={
            "zero_shot": _prompt(templates) | _candidates(figures, about["digests"].get("candidates")),
            "gallery": {"gallery": f"all {figures['objects']:,} test objects"} | chosen,
            "in_batch": _batching(protocol["in_batch"]) | chosen,
        },
    )
    rows = []
    for row in figures["rows"]:
        mode, seeds = row["name"], row["seeds"]
        spreads = {column.path: s for column in COLUMNS if (s := column.spread(row)) is not None}
        trees = {f"{mode}-seed{seed}": figures["runs"][mode][str(seed)] for seed in seeds}
        kept = [_stored(url, beside.get(run, _before(run)), tree, test) for run, tree in trees.items()]
        whole = [one for one in kept if one is not None]
        rows.append(
            ComparedRow(
                tables.row_name(mode),
                setting,
                spreads,
                seeds,
                whole if len(whole) == len(seeds) else [],
                "run" if seeds else "reference",
            )
        )
    return rows


def _of_checkpoint(name: str, url: str, document: Mapping[str, Any]) -> list[ComparedRow]:
    """The row of one checkpoint, between chance and the reachable maximum."""
    figures, about = document["figures"], document["provenance"]
    content = about["dataset"].get("content", {})
    if "objects" not in content or "outcomes" not in document:
        raise DataError(f"{url}: written by a version without comparisons; rerun `captionless eval --checkpoint`")
    protocol, prompt = about["protocol"], about["prompt"]
    pictures = {"pictures": f"{figures['images']:,}, digest {str(content['pictures'])[:12]}"}
    gallery = {"gallery": "all shapes, and all pictures"} | pictures
    batching = _batching(protocol["in-batch"]) | pictures if "in-batch" in protocol else {}
    templates = prompt["templates"] if prompt else []
    setting = Setting(
        test=content["objects"],
        dataset=public(about["dataset"]["name"]),
        **_common(figures, about),
        templates=templates,
        protocols={
            "zero_shot": _prompt(templates) | _candidates(figures, content.get("candidates")),
            "gallery": gallery,
            "in_batch": batching,
        },
    )
    kept = outcomes.from_json(document["outcomes"], url)
    _check(url, kept, figures, content["objects"])
    trees = {"chance": figures["chance"], name: figures, "reachable": figures.get("reachable")}
    return [
        ComparedRow(
            row,
            setting,
            {column.path: s for column in COLUMNS if (s := checkpoint_figures.spread(tree, column)) is not None},
            [about["seed"]] if row == name else [],
            [kept] if row == name else [],
            "run" if row == name else "reference",
        )
        for row, tree in trees.items()
        if tree is not None
    ]


def _common(figures: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a setting that all results state in the same form."""
    return {
        "classes": figures["classes"],
        "objects": figures["objects"],
        "clip": (about["clip"]["model"], about["clip"]["pretrained"]),
        "clip_digest": about["clip"]["digest"],
        "seed": about["protocol"].get("intervals", {}).get("seed", 0),
    }


def _prompt(templates: Sequence[str]) -> dict[str, str]:
    return {"prompt": " | ".join(f'"{template}"' for template in templates)}


def _batching(settings: Mapping[str, Any]) -> dict[str, str]:
    return {"batching": f"{settings['batch']} at a time, seed {settings['seed']}"}


def _candidates(figures: Mapping[str, Any], digest: str | None) -> dict[str, str]:
    """What an object could have been taken for; `digest`: of the classes and what the prompts call them."""
    classes = figures["classes"]
    return {"candidates": f"{len(classes):,} classes, digest {(digest or candidates.digest(classes, classes))[:12]}"}


def _before(run: str) -> dict[str, str]:
    """The file of a run's outcomes of a version whose results did not name it."""
    return {"file": f"runs/{outcomes.file_of(run)}", "sha256": ""}


def _stored(url: str, beside: Mapping[str, str], tree: Mapping[str, Any], test: str) -> Outcomes | None:
    """The outcomes of a run in the file `beside` the results at `url`; None if there is none."""
    where = objects.join(url.removesuffix(RESULTS), beside["file"])
    data = objects.read_if_any(where)
    if data is None:
        return None
    if beside["sha256"] and hashlib.sha256(data).hexdigest() != beside["sha256"]:
        raise DataError(f"{where}: not the outcomes that the results were made from (sha256 differs); rerun eval")
    found = outcomes.loads(data, where)
    _check(where, found, tree, test)
    return found


def _check(where: str, found: Outcomes, tree: Mapping[str, Any], test: str) -> None:
    """DataError unless the figures of a run are those of its outcomes, on the test set of the digest `test`."""
    if found.test != test:
        raise DataError(f"{where}: outcomes of a different test set than the results; rerun eval")
    for column in COLUMNS:
        own, stored = outcomes.answers(found, column.path), column.value(tree)
        if own is None or stored is None or own.by_class:
            continue
        if abs(own.figure - stored) > 1e-6:
            raise DataError(f"{where}: its {column.heading} {column.name} differs from that of the results; rerun eval")


def _origin(about: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of the provenance that say where figures come from; the input has all of it."""
    kept = (
        "dataset",
        "digests",
        "clip",
        "prompt",
        "protocol",
        "checkpoint",
        "checkpoints",
        "seed",
        "seeds",
        "versions",
    )
    found: dict[str, Any] = public({key: about[key] for key in kept if key in about})
    return found
