"""A comparison as text: table cells, conclusions about significance, and all of it in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any

from captionless.eval.tables import bounds, cell, percent


def setting(table: Mapping[str, Any]) -> str:
    """What the rows of a table share."""
    return "; ".join(f"{name}: {value}" for name, value in table["setting"].items())


def name(row: Mapping[str, Any]) -> str:
    """A row's name; a paper's says whose it is."""
    return f"{row['name']} ({row['citation']})" if row["kind"] == "paper" else str(row["name"])


def lines(row: Mapping[str, Any], path: str, alpha: float) -> tuple[str, str]:
    """A figure with its spread and interval, and how it differs from the baseline's, empty where it is not compared.

    An asterisk marks what is significant after correction.
    """
    found = row["cells"].get(path)
    if found is None:
        return "–", ""
    gap = found.get("difference")
    return cell(found), "" if gap is None else difference(gap, alpha)


def difference(gap: Mapping[str, Any], alpha: float) -> str:
    """As "+3.3 [+0.4, +6.2] p 0.012 *", the p-value corrected."""
    text = f"{percent({**gap, 'std': None}, sign=True)} {bounds(gap, sign=True)}".rstrip()
    if "p" not in gap:
        return f"{text} (not tested)"
    return f"{text} p {_p(gap['p_holm'])}" + (" *" if gap["p_holm"] < alpha else "")


def conclusions(found: Mapping[str, Any]) -> list[str]:
    """What is significant, what is not, and the limits of the tests."""
    alpha, tests = found["alpha"], found["tests"]
    if not tests:
        return ["No difference was tested."]
    said = [
        _claim(table, row, column, gap)
        for table in found["tables"]
        for row in table["rows"]
        for column in table["columns"]
        if (gap := row["cells"].get(column["path"], {}).get("difference", {})).get("p_holm", 1) < alpha
    ]
    count = f"{len(said) or 'None'} of {tests} tested difference{'s' if tests > 1 else ''}"
    head = [f"{count} from the baseline {'are' if len(said) > 1 else 'is'} significant (p < {alpha:g} after Holm)."]
    if len(said) < tests:
        rest = "The others are" if said else "They are"
        head.append(
            f"{rest} too small to be distinguished from chance with this many test objects; "
            "this does not show that the rows are equal."
        )
    runs = [row for table in found["tables"] for row in table["rows"] if row["kind"] == "run"]
    if any(len(row["seeds"]) == 1 for row in runs):
        seeds = "rows of one seed say nothing about another training run with the same settings."
    else:
        seeds = "the ± beside a figure is its variation over seeds."
    return [*head, *said, f"The tests are about other test objects, for these trained encoders; {seeds}"]


def explanation(found: Mapping[str, Any]) -> str:
    """What the cells are."""
    about = found["intervals"]
    return (
        f"Percent; ± is the standard deviation over seeds, brackets are the {100 * about['level']:g} % interval over "
        f"test objects ({about['method']}, {about['resamples']:,} resamples, seed {about['seed']}). Differences are in "
        "percentage points relative to the baseline, on the same objects; p is corrected for the number of tests, "
        "* marks significant differences; brackets are not corrected."
    )


def markdown(found: Mapping[str, Any]) -> str:
    """The whole comparison as Markdown: a table for each setting, the conclusions, the notes."""
    parts = []
    for table in found["tables"]:
        rows = [["row", "seeds", *(column["name"] for column in table["columns"])]]
        rows.append(["---", *["---:"] * (len(rows[0]) - 1)])
        for row in table["rows"]:
            cells = (lines(row, column["path"], found["alpha"]) for column in table["columns"])
            shown = name(row) + (" (baseline)" if row["name"] == table["baseline"] and row["kind"] == "run" else "")
            rows.append([shown, seeds(row), *("<br>".join(filter(None, pair)) for pair in cells)])
        body = "\n".join(f"| {' | '.join(text.replace('|', '&#124;') for text in row)} |" for row in rows)
        parts.append(f"**{table['heading']}** ({setting(table)})\n\n{body}")
    parts.append(explanation(found))
    parts.append("\n".join(f"- {text}" for text in (*conclusions(found), *found["notes"])))
    return "\n\n".join(parts) + "\n"


def seeds(row: Mapping[str, Any]) -> str:
    """How many seeds a row is the mean of; empty for what was not trained here."""
    return str(len(row["seeds"])) if row["seeds"] else ""


def _claim(table: Mapping[str, Any], row: Mapping[str, Any], column: Mapping[str, Any], gap: Mapping[str, Any]) -> str:
    gained = f"{percent({**gap, 'std': None}, sign=True)} points"
    text = (
        f"{table['heading']} {column['name']}: {row['name']} {gained} relative to {table['baseline']}, "
        f"p {_p(gap['p_holm'])}"
    )
    base = next(other for other in table["rows"] if other["name"] == table["baseline"] and other["kind"] == "run")
    spreads = [r["cells"][column["path"]] for r in (row, base)]
    if all(s["std"] is not None for s in spreads):
        error = sqrt(sum(s["std"] ** 2 / s["n"] for s in spreads))
        if abs(gap["mean"]) < 2 * error:
            text += "; seeds alone can explain it (it is below two standard errors over seeds)"
    return text + "."


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.2g}" if p < 0.1 else f"{p:.2f}"
