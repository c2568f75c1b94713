"""The door: a thin upright plate, seen from both sides alike."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from captionless.demo_world.grammar import Attribute, Attributes, Category, Draw, Parts
from captionless.demo_world.shapes import (
    Array,
    Solid,
    ball,
    block,
    box,
    ellipse,
    extrude,
    holed_plate,
    hoop,
    rectangle,
    rod,
)
from captionless.demo_world.supports import bar_handle


def _leaf_outline(left: float, right: float, bottom: float, spring: float, rise: float, half: float) -> Array:
    """The part of an arched (or, with no rise, straight) door between two x, from y = bottom up."""
    x = np.linspace(right, left, 14 if rise else 2)
    y = spring + rise * np.sqrt(np.clip(1 - (x / half) ** 2, 0, 1))
    return np.concatenate([[(left, bottom), (right, bottom)], np.stack([x, y], 1)])


def _panels(kind: str, left: float, right: float, low: float, high: float, depth: float) -> list[Solid]:
    """Raised panels or boards of the full `depth`, so that they show on both faces."""
    wide, tall, middle = right - left, high - low, (left + right) / 2
    if kind == "flat":
        return []
    if kind == "boards":
        each = wide / 4
        size = (0.62 * each, tall + 0.12, 0.85 * depth)
        return [box(size, (left + each * (k + 0.5), low + tall / 2, 0)) for k in range(4)]
    columns = 1 if kind == "two" else 2
    each, row = 0.84 * wide / columns, tall / 2
    size = (0.8 * each, 0.82 * row, depth)
    return [
        box(size, (middle + (i - (columns - 1) / 2) * each, low + row * (j + 0.5), 0), 0.02)
        for i in range(columns)
        for j in range(2)
    ]


def _handle(kind: str, x: float, y: float, face: float, turn: int) -> list[Solid]:
    """A handle on the face towards +z; a lever points along `turn` * x."""
    if kind == "bar":
        return bar_handle(x, 1.02 * y, face, 0.75, upright=True)
    out = face + 0.065
    if kind == "knob":
        return [rod((x, y, 0), (x, y, out), 0.02), ball(0.05, 14).moved(x, y, out)]
    return [rod((x, y, 0), (x, y, out), 0.018), rod((x + 0.01, y, out), (x + turn * 0.19, y, out), 0.02)]


def _frame(half: float, spring: float, rise: float, casing: float, deep: float) -> list[Solid]:
    """The casing around an opening `half` wide to each side; the arch goes from stone to stone."""
    z = (-deep / 2, deep / 2)
    posts = [block((half, half + casing), (0, spring), z), block((-half - casing, -half), (0, spring), z)]
    if not rise:
        return [*posts, block((-half - casing, half + casing), (spring, spring + casing), z)]
    arc = []
    for first, last in pairwise(np.linspace(0, np.pi, 15)):
        corners = ((0.0, first), (casing, first), (casing, last), (0.0, last))
        arc.append(extrude([((half + o) * np.cos(t), spring + (rise + o) * np.sin(t)) for o, t in corners], deep))
    return posts + arc


def _door(a: Attributes, draw: Draw) -> Parts:
    single, double, height = draw(0.82, 0.95), draw(1.4, 1.6), draw(1.9, 2.1)
    thick, casing, proud = draw(0.05, 0.065), draw(0.09, 0.12), draw(0.045, 0.06)
    lever = draw(0.95, 1.05)
    one = a["leaves"] == "single"
    half = (single if one else double) / 2
    rise = (0.5 if one else 0.35) * half if a["top"] == "arched" else 0.0
    spring, sill, gap, face = height - rise, 0.58 * height, 0.012, thick / 2
    parts: Parts = []
    for left, right in [(-half, half)] if one else [(-half, -gap), (gap, half)]:
        wide, middle = right - left, (left + right) / 2
        if a["window"] == "none":
            parts.append(("leaf", extrude(_leaf_outline(left, right, 0.0, spring, rise, half), thick)))
        else:
            parts.append(("leaf", block((left, right), (0, sill), (-face, face), 0.004)))
            span, tall = min(0.62 * wide, 0.5), 0.62 * (spring - sill)
            y = sill + 0.47 * (spring - sill) + 0.02
            if a["window"] == "round":
                across = 1.08 * min(span, tall)
                hole = ellipse(across, across, middle, y, 28)
                parts.append(("casing", hoop(across / 2, 0.03).turned("x", 90).moved(middle, y)))
            else:
                hole = rectangle(span, tall, middle, y)
                parts.append(("leaf", box((0.025, tall, 0.6 * thick), (middle, y, 0))))
                parts.append(("leaf", box((span, 0.025, 0.6 * thick), (middle, y, 0))))
            parts.append(("leaf", holed_plate(_leaf_outline(left, right, sill, spring, rise, half), hole, thick)))
        high = (spring if a["window"] == "none" else sill) - 0.1
        parts += [("panels", s) for s in _panels(a["panels"], left, right, 0.12, high, thick + 2 * proud)]
        # The handle is at the right edge, or where two leaves meet.
        turn = -1 if one or left < 0 else 1
        x = right - 0.075 if turn < 0 else left + 0.075
        parts += [("handle", s) for s in _handle(a["handle"], x, lever, face, turn)]
        parts += [("handle", s.turned("y", 180)) for s in _handle(a["handle"], -x, lever, face, -turn)]
    if a["frame"] == "yes":
        parts += [("casing", s) for s in _frame(half, spring, rise, casing, thick + 0.1)]
    return parts


DOOR = Category(
    "door",
    (
        Attribute("leaves", {"single": "single", "double": "double"}, adjective=True),
        Attribute(
            "panels",
            {"flat": "a flat face", "two": "two panels", "four": "four panels", "boards": "upright boards"},
        ),
        Attribute("window", {"none": "no window", "square": "a square window", "round": "a round window"}),
        Attribute("top", {"flat": "a flat top", "arched": "an arched top"}),
        Attribute("handle", {"knob": "a round knob", "lever": "a lever handle", "bar": "a long bar handle"}),
        Attribute("frame", {"no": "no frame", "yes": "a frame"}),
    ),
    _door,
)
