"""compare: what `eval` left of several runs -> one comparison. Reads only.

An input is a run's folder, its eval folder or results.json, or what `captionless eval --checkpoint` wrote. The ranks
that differences are tested on lie beside results.json (`runs/<run>.outcomes.npz`), or in the JSON itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from captionless.errors import DataError
from captionless.eval import compare, outcomes, results, tables
from captionless.eval.compare import COLUMNS, Row, Setting
from captionless.eval.outcomes import Outcomes
from captionless.redaction import redacted
from captionless.stages.eval import RESULTS
from captionless.store import objects

SCHEMA = 1


def run(
    inputs: Sequence[str], figures: Sequence[str] = (), baseline: str | None = None, papers: bool = False
) -> dict[str, Any]:
    """The comparison of `inputs`, see `eval.compare`, with `schema` and where its rows come from (`inputs`).

    SpecError for a figure or baseline that there is not, DataError for an input that is no evaluation.
    """
    columns = compare.chosen(figures)
    found = {where: _document(where) for where in dict.fromkeys(inputs)}
    names = _names([url for url, _ in found.values()])
    rows, read = [], []
    for name, (url, document) in zip(names, found.values(), strict=True):
        mine = _of_clouds(name, url, document) if "runs" not in document["figures"] else _of_run(url, document)
        if len(found) > 1 and "runs" in document["figures"]:
            mine = [replace(row, name=f"{name}: {row.name}") if row.kind == "run" else row for row in mine]
        rows += mine
        about = {"rows": [row.name for row in mine if row.kind == "run"]}
        read.append({"url": redacted(url), **about, "provenance": _origin(document["provenance"])})
    return {"schema": SCHEMA, **compare.compare(rows, columns, baseline, papers), "inputs": read}


def _document(where: str) -> tuple[str, dict[str, Any]]:
    """The URL of an input's JSON, and that."""
    places = [where] if where.endswith(".json") else [objects.join(where, *p) for p in (("eval", RESULTS), (RESULTS,))]
    for url in places:
        try:
            document = results.loads(objects.read_bytes(url), url)
        except FileNotFoundError:
            continue
        if not {"runs", "zero_shot"} & set(document["figures"]) or "provenance" not in document:
            raise DataError(f"{url}: expected results of `captionless eval`, found those of another command")
        return url, document
    raise DataError(f"{where}: no {' and no '.join(places)}; expected a run that has been evaluated, or its JSON")


def _names(urls: Sequence[str]) -> list[str]:
    """A short name of each input: of its folder or file; more of the path where that is not enough."""
    parts = [url.removesuffix(f"/{RESULTS}").removesuffix("/eval").removesuffix(".json").split("/") for url in urls]
    depth = 1
    while depth < max(map(len, parts)) and len({tuple(p[-depth:]) for p in parts}) < len(parts):
        depth += 1
    return ["/".join(p[-depth:]) for p in parts]


def _of_run(url: str, document: Mapping[str, Any]) -> list[Row]:
    """A row for every way of weighting, and the lines that need no training."""
    figures, about = document["figures"], document["provenance"]
    test = about["digests"]["test"]
    setting = _setting(url, figures, about, test, about["clip"]["digest"])
    rows = []
    for row in figures["rows"]:
        mode, seeds = row["name"], row["seeds"]
        spreads = {column.path: s for column in COLUMNS if (s := column.spread(row)) is not None}
        kept = [_stored(url, f"{mode}-seed{seed}", figures["runs"][mode][str(seed)], test) for seed in seeds]
        whole = [one for one in kept if one is not None]
        rows.append(
            Row(
                tables.row_name(mode),
                setting,
                spreads,
                seeds,
                whole if len(whole) == len(seeds) else [],
                "run" if seeds else "reference",
            )
        )
    return rows


def _of_clouds(name: str, url: str, document: Mapping[str, Any]) -> list[Row]:
    """The row of one checkpoint, and chance."""
    figures, about = document["figures"], document["provenance"]
    test = about.get("digests", {}).get("test")
    if test is None:
        raise DataError(f"{url}: does not say on which objects; run `captionless eval --checkpoint` again")
    setting = _setting(url, figures, about, test, about["clip"].get("identity", ""))
    measured, intervals = figures["zero_shot"], figures.get("intervals", {})
    paths = [column.path for column in COLUMNS if column.path[0] == "zero_shot"]
    own = {p: {"mean": measured[p[1]], "std": None, "n": 1, **intervals.get(p[1], {})} for p in paths}
    chance = {p: {"mean": figures["chance"][p[1]], "std": None, "n": 1} for p in paths}
    kept: list[Outcomes] = []
    if "outcomes" in document:
        given = {key: np.array(text.split(), dtype=np.int64) for key, text in document["outcomes"].items()}
        kept = [Outcomes(given["labels"], {"zero_shot": given["zero_shot"][:, None]}, test)]
        _check(url, kept[0], {"zero_shot": measured}, test)
    return [
        Row(tables.row_name("chance"), setting, chance, kind="reference"),
        Row(name, setting, own, [about["seed"]], kept),
    ]


def _setting(url: str, figures: Mapping[str, Any], about: Mapping[str, Any], test: str, clip_digest: str) -> Setting:
    protocol = about.get("protocol", {})
    return Setting(
        test=test,
        dataset=redacted(about["dataset"].get("url") or about["dataset"]["kind"]),
        classes=figures["classes"],
        objects=figures["objects"],
        templates=about["prompt"]["templates"],
        clip=(about["clip"]["model"], about["clip"]["pretrained"]),
        clip_digest=clip_digest,
        protocol=protocol,
        seed=protocol.get("intervals", {}).get("seed", 0),
    )


def _stored(url: str, run: str, tree: Mapping[str, Any], test: str) -> Outcomes | None:
    """The outcomes of a run beside the results at `url`, None where there are none."""
    where = objects.join(url.removesuffix(RESULTS), "runs", outcomes.file_of(run))
    try:
        found = outcomes.loads(objects.read_bytes(where), where)
    except FileNotFoundError:
        return None
    _check(where, found, tree, test)
    return found


def _check(where: str, found: Outcomes, tree: Mapping[str, Any], test: str) -> None:
    """DataError unless the figures of a run are those of its outcomes, on the test set of the digest `test`."""
    if found.test != test:
        raise DataError(f"{where}: outcomes on another test set than the results beside it; run the eval stage again")
    for column in COLUMNS:
        own, stored = outcomes.answers(found, column.path), column.value(tree)
        if own is None or stored is None or own.by_class:
            continue
        if abs(own.values.sum() / (own.unit * len(own.values)) - stored) > 1e-6:
            raise DataError(
                f"{where}: its {column.heading} {column.name} is not that of the results; run the eval stage again"
            )


def _origin(about: Mapping[str, Any]) -> dict[str, Any]:
    """What of a provenance tells where figures come from; the whole of it is in the input."""
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
    return json.loads(redacted(json.dumps({key: about[key] for key in kept if key in about})))  # type: ignore[no-any-return]
