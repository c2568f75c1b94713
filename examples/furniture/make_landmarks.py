"""Writes landmark texts for the furniture's classes: 128 per class, structure only, without a language model.

    python examples/furniture/make_landmarks.py OUT/landmarks.jsonl

Texts for classes of the demo world come from its grammar. Those of the others are composed
from slots: every text combines one phrase of each slot, in an order fixed by a hash, until
there are 128. If a language model is available, `landmarks.origin: llm` in the spec gives
better texts.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import sys
from pathlib import Path

from captionless import demo_world

COUNT = 128
CLASSES = Path(__file__).with_name("classes.csv")

SLOTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "box": (
        ("a tall", "a wide", "a low", "a small", "a long", "a square"),
        ("box",),
        ("with a flat lid", "with an open top", "with a raised lid", "with two flaps"),
        ("and straight sides", "and sloping sides", "and rounded corners", "and a thick rim"),
        ("on a flat base", "on short feet"),
    ),
    "car": (
        ("a long", "a short", "a low", "a tall", "a wide"),
        ("car",),
        ("with four doors", "with two doors", "with sliding doors"),
        ("a flat roof", "a sloping roof", "an open top", "a rounded roof"),
        ("and large wheels", "and small wheels", "and wide wheel arches"),
    ),
    "oven": (
        ("a tall", "a wide", "a low", "a small"),
        ("oven",),
        ("with one door", "with two doors", "with a drawer below"),
        ("four round plates on top", "a flat top", "two plates on top", "a raised back"),
        ("and a row of knobs", "and a long handle", "and short feet"),
    ),
    "person": (
        ("a tall", "a short", "a slim", "a wide"),
        ("person",),
        ("standing", "sitting", "walking"),
        ("with arms at the sides", "with bent arms", "with raised arms", "with one arm in front"),
        ("and straight legs", "and spread legs", "and crossed legs"),
    ),
    "plant": (
        ("a tall", "a low", "a wide", "a slim"),
        ("plant",),
        ("with long leaves", "with small round leaves", "with thin branches", "with broad leaves"),
        ("on a straight stem", "on several stems", "on a thick trunk"),
        ("in a round pot", "in a square pot", "without a pot"),
    ),
    "plug": (
        ("a flat", "a thick", "a small", "a wide"),
        ("plug",),
        ("with a square plate", "with a round plate", "with a long plate"),
        ("two round holes", "three holes", "two slots", "one deep hole"),
        ("and rounded corners", "and a raised rim", "and a thin frame"),
    ),
    "switch": (
        ("a flat", "a thick", "a small", "a wide"),
        ("switch",),
        ("with a square plate", "with a round plate", "with a long plate"),
        ("one large button", "two buttons side by side", "a round knob", "a small lever"),
        ("and rounded corners", "and a raised rim", "and a thin frame"),
    ),
    "washbasin": (
        ("a wide", "a small", "a deep", "a low"),
        ("washbasin",),
        ("with a round bowl", "with a square bowl", "with two bowls"),
        ("one tap behind the bowl", "two taps", "no tap", "a tall bent tap"),
        ("on a column", "on a cabinet", "fixed to the wall"),
    ),
    "window": (
        ("a tall", "a wide", "a small", "a square"),
        ("window",),
        ("with one pane", "with two panes", "with four panes", "with many small panes"),
        ("a flat top", "an arched top", "a round top"),
        ("and a thick frame", "and open shutters", "and a sill below"),
    ),
}


def texts(category: str) -> list[str]:
    """COUNT different texts of a class."""
    if category in demo_world.CLASSES:
        return demo_world.sentences(category, COUNT)
    made = [" ".join(phrases) for phrases in itertools.product(*SLOTS[category])]
    made.sort(key=lambda text: hashlib.sha256(text.encode()).digest())
    if len(made) < COUNT:
        raise SystemExit(f"{category}: the slots give {len(made)} texts, expected {COUNT}")
    return made[:COUNT]


def categories() -> list[str]:
    """Every class that the noun table can give, the ones without texts left out."""
    with CLASSES.open() as file:
        found = {row["category"] for row in csv.DictReader(file)} - {""}
    return sorted(c for c in found if c in demo_world.CLASSES or c in SLOTS)


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    out = Path(sys.argv[1])
    out.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"category": c, "text": t}) for c in categories() for t in texts(c)]
    out.write_text("\n".join(lines) + "\n")
    print(f"wrote {out}: {COUNT} texts for each of {len(categories())} classes")


if __name__ == "__main__":
    main()
