"""Lamp, door, airplane: thin and sparse shapes, each unlike all the furniture."""

from __future__ import annotations

import numpy as np
from captionless.precompute.world.grammar import (
    Attribute,
    Attributes,
    Category,
    Draw,
    Parts,
)
from captionless.precompute.world.shapes import (
    Solid,
    ball,
    block,
    box,
    cylinder,
    ellipse,
    extrude,
    holed_plate,
    hoop,
    rectangle,
    revolve,
    rod,
    side_plate,
    slab,
    tube,
)
from captionless.precompute.world.supports import bar_handle


def _shade(kind: str, size: float) -> list[Solid]:
    """A shade about the y axis with its middle at y = 0, open below."""
    r, h = size, 0.9 * size
    if kind == "globe":
        return [ball(0.8 * r)]
    if kind == "dome":
        angle = np.linspace(0, np.pi / 2, 9)
        outer = np.stack([r * np.cos(angle), h * np.sin(angle) - 0.3 * h], 1)
    else:
        top = 0.45 * r if kind == "cone" else 0.86 * r
        outer = np.array([(r if kind == "cone" else 0.86 * r, -h * 0.6), (top, h * 0.6)])
    inner = outer[::-1] * np.array([0.94, 1.0])
    edge = outer[-1:] if kind != "dome" else np.zeros((0, 2))
    return [revolve(np.concatenate([inner[-1:], outer[:1], outer, edge, edge[:1] * np.array([0.94, 1.0]), inner]), 24)]


def _lamp(a: Attributes, draw: Draw) -> Parts:
    low, tall, foot = draw(0.5, 0.58), draw(1.35, 1.55), draw(0.15, 0.18)
    pole, size, reach = draw(0.014, 0.02), draw(0.17, 0.21), draw(0.3, 0.36)
    bulge, tray = draw(0.055, 0.07), draw(0.42, 0.5)
    floor = a["height"] == "tall"
    height = tall if floor else low
    if floor:
        foot, size, reach, bulge = 1.15 * foot, 1.15 * size, 1.25 * reach, 1.2 * bulge
    parts: Parts = []
    start = 0.02
    if a["base"] == "round":
        parts.append(("base", cylinder(foot, 0.04, 0.9 * foot)))
    elif a["base"] == "square":
        parts.append(("base", block((-foot, foot), (0, 0.05), (-foot, foot), 0.01)))
    else:
        start = 0.35 * height
        for k in range(3):
            angle = np.pi / 2 + 2 * np.pi * k / 3
            end = (1.35 * foot * np.cos(angle), 0.0, 1.35 * foot * np.sin(angle))
            parts.append(("base", rod((0, start + 0.02, 0), end, 1.1 * pole)))
    heads: list[tuple[float, float]] = [(0.0, height)]  # where shades hang, (x, y)
    if a["stem"] == "curved":
        angle = np.linspace(0, 0.82 * np.pi, 14)
        bend = np.stack([reach * (1 - np.cos(angle)) / 2, height - reach / 2 + 0.6 * reach * np.sin(angle)], 1)
        path = np.concatenate([[(0.0, start)], bend])
        parts.append(("stem", tube(np.insert(path, 2, 0.0, axis=1), pole)))
        heads = [(float(bend[-1, 0]), float(bend[-1, 1]) - 0.3 * size)]
    elif a["stem"] == "jointed":
        elbow = (-0.6 * reach, 0.62 * height)
        end = (0.7 * reach, 0.98 * height)
        parts += [("stem", rod((0, start, 0), (*elbow, 0), pole)), ("stem", rod((*elbow, 0), (*end, 0), pole))]
        parts += [("stem", ball(2.2 * pole, 10).moved(*elbow)), ("stem", ball(2.2 * pole, 10).moved(*end))]
        heads = [(end[0], end[1] - 0.3 * size)]
    else:
        parts.append(("stem", rod((0, start, 0), (0, height, 0), pole)))
        if a["stem"] == "bulged":
            ys = [0.5] if not floor else [0.45, 0.62, 0.79]
            parts += [("stem", ball(bulge).scaled(y=1.5 if not floor else 1.2).moved(y=y * height)) for y in ys]
    if a["shades"] == "two":
        y = height - 0.25 * size
        parts.append(("stem", rod((-1.15 * size, y, 0), (1.15 * size, y, 0), pole)))
        heads = [(-1.15 * size, y), (1.15 * size, y)]
        size *= 0.8
    parts += [("shade", s.moved(x, y)) for x, y in heads for s in _shade(a["shade"], size)]
    if a["tray"] == "yes":
        y = tray * height if a["stem"] != "jointed" else start + 0.3 * (0.62 * height - start)
        at = 0.0 if a["stem"] != "jointed" else -0.6 * reach * 0.3
        parts.append(("base", cylinder(1.05 * foot, 0.025).moved(at, max(y, start + 0.04))))
    return parts


LAMP = Category(
    "lamp",
    (
        Attribute("height", {"short": "short", "tall": "tall"}, adjective=True),
        Attribute("base", {"round": "a round base", "square": "a square base", "tripod": "a tripod base"}),
        Attribute(
            "stem",
            {
                "plain": "a plain stem",
                "bulged": "a bulged stem",
                "curved": "a curved stem",
                "jointed": "a jointed stem",
            },
        ),
        Attribute(
            "shade",
            {"cone": "a cone shade", "drum": "a drum shade", "dome": "a dome shade", "globe": "a globe shade"},
        ),
        Attribute("shades", {"one": "a single head", "two": "two heads"}),
        Attribute("tray", {"no": "no tray", "yes": "a tray on the stem"}),
    ),
    _lamp,
    lambda a: a["shades"] == "one" or a["stem"] in ("plain", "bulged"),
)


def _leaf_outline(left: float, right: float, bottom: float, spring: float, rise: float, half: float) -> Array:
    """The part of an arched (or, with no rise, straight) door between two x, from y = bottom up."""
    x = np.linspace(right, left, 14 if rise else 2)
    y = spring + rise * np.sqrt(np.clip(1 - (x / half) ** 2, 0, 1))
    return np.concatenate([[(left, bottom), (right, bottom)], np.stack([x, y], 1)])


def _door(a: Attributes, draw: Draw) -> Parts:
    single, double, height = draw(0.82, 0.95), draw(1.4, 1.6), draw(1.9, 2.1)
    thick, casing, proud = draw(0.05, 0.065), draw(0.09, 0.12), draw(0.03, 0.04)
    lever = draw(0.95, 1.05)
    width = single if a["leaves"] == "single" else double
    half = width / 2
    rise = (0.45 if a["leaves"] == "single" else 0.32) * half * 1.1 if a["top"] == "arched" else 0.0
    spring = height - rise
    parts: Parts = []
    gap = 0.012
    spans = [(-half, half)] if a["leaves"] == "single" else [(-half, -gap), (gap, half)]
    for left, right in spans:
        wide, middle = right - left, (left + right) / 2
        sill = 0.58 * height
        if a["window"] == "none":
            parts.append(("leaf", extrude(_leaf_outline(left, right, 0.0, spring, rise, half), thick)))
        else:
            parts.append(("leaf", block((left, right), (0, sill), (-thick / 2, thick / 2), 0.004)))
            span = min(0.62 * wide, 0.5)
            y = sill + 0.47 * (spring - sill) + 0.02
            tall = 0.62 * (spring - sill)
            if a["window"] == "round":
                round_ = min(span, tall) * 1.08
                hole = ellipse(round_, round_, middle, y, 28)
                ring = hoop(round_ / 2, 0.03).turned("x", 90).moved(middle, y)
                parts.append(("casing", ring))
            else:
                hole = rectangle(span, tall, middle, y)
                bar = 0.025
                parts.append(("leaf", box((bar, tall, 0.6 * thick), (middle, y, 0))))
                parts.append(("leaf", box((span, bar, 0.6 * thick), (middle, y, 0))))
            parts.append(("leaf", holed_plate(_leaf_outline(left, right, sill, spring, rise, half), hole, thick)))
        # Panels on both faces, in what the window leaves free.
        high = (sill if a["window"] != "none" else spring) - 0.1
        low = 0.12
        depth = thick + 2 * proud
        if a["panels"] in ("two", "four"):
            columns = 1 if a["panels"] == "two" else 2
            for i in range(columns):
                each_w, each_h = 0.84 * wide / columns, (high - low) / 2
                for j in range(2):
                    x = middle + (i - (columns - 1) / 2) * each_w
                    size = (0.8 * each_w, 0.82 * each_h, depth)
                    parts.append(("panels", box(size, (x, low + each_h * (j + 0.5), 0), 0.02)))
        elif a["panels"] == "boards":
            count = 4
            for i in range(count):
                x = left + wide * (i + 0.5) / count
                parts.append(("panels", box((0.62 * wide / count, high - low + 0.12, 0.85 * depth), (x, (high + low) / 2, 0), 0.01)))
        face = thick / 2
        x = right - 0.075 if a["leaves"] == "single" or left < 0 else left + 0.075
        turn = -1 if a["leaves"] == "single" or left < 0 else 1
        for s in (-1, 1):
            if a["handle"] == "knob":
                parts.append(("handle", ball(0.05, 14).moved(x, lever, s * (face + 0.06))))
                parts.append(("handle", rod((x, lever, 0), (x, lever, s * (face + 0.06)), 0.02)))
            elif a["handle"] == "lever":
                parts.append(("handle", rod((x, lever, 0), (x, lever, s * (face + 0.07)), 0.018)))
                parts.append(("handle", rod((x + 0.01, lever, s * (face + 0.07)), (x + turn * 0.19, lever, s * (face + 0.07)), 0.02)))
            else:
                bar = bar_handle(x, 1.02 * lever, face, 0.75, True)
                parts += [("handle", b if s > 0 else b.turned("y", 180).moved(x=2 * x)) for b in bar]
    if a["frame"] == "yes":
        deep = thick + 0.1
        for s in (-1, 1):
            x = s * (half + casing / 2)
            parts.append(("casing", block((x - casing / 2, x + casing / 2), (0, spring), (-deep / 2, deep / 2), 0.008)))
        if rise:
            angle = np.linspace(0, np.pi, 15)
            for first, last in zip(angle[:-1], angle[1:], strict=True):
                points = [
                    ((half + o) * np.cos(t), spring + (rise + o) * np.sin(t))
                    for o, t in ((0.0, first), (casing, first), (casing, last), (0.0, last))
                ]
                parts.append(("casing", extrude(points, deep)))
        else:
            parts.append(("casing", block((-half - casing, half + casing), (height, height + casing), (-deep / 2, deep / 2), 0.008)))
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


def _airplane(a: Attributes, draw: Draw) -> Parts:
    length, span, slender, stout = draw(1.9, 2.1), draw(1.9, 2.15), draw(0.085, 0.1), draw(0.15, 0.175)
    chord, tail_span, fin = draw(0.3, 0.36), draw(0.62, 0.74), draw(0.34, 0.4)
    sweep, tip, nacelle, gear = draw(0.38, 0.48), draw(0.14, 0.2), draw(0.05, 0.06), draw(0.16, 0.2)
    radius = slender if a["body"] == "slender" else stout
    half, nose, end = span / 2, length / 2, -length / 2
    stations = np.array([(0, 0), (0.3, 0.03), (0.55, 0.1), (0.85, 0.22), (1.0, 0.4), (1.0, 0.62), (0.72, 0.82), (0.3, 1.0)])
    profile = np.concatenate([stations[:, :1] * radius, nose - length * stations[:, 1:]], 1)[::-1]
    profile = np.concatenate([[(0.0, end)], profile[:1], profile])
    parts: Parts = [("body", revolve(profile, 20).turned("x", 90))]
    y = 0.62 * radius if a["mounting"] == "high" else -0.62 * radius
    root = 0.12 * length + chord / 2
    back, point = {"straight": (0.05, 0.65), "swept": (sweep, 0.45), "delta": (0.0, 0.0)}[a["wings"]]
    if a["wings"] == "delta":
        wing = [(0, 0.3 * length), (half * 0.78, end * 0.62), (half * 0.78, end * 0.78), (0, end * 0.78)]
    else:
        outer = root - back
        wing = [(0, root), (half, outer), (half, outer - point * chord), (0, root - 1.25 * chord)]
    reach = wing[1][0]
    for s in (-1, 1):
        parts.append(("wings", slab(np.array(wing) * (s, 1), 0.03).moved(y=y - 0.015)))
        if a["tips"] == "upturned":
            front, rear = wing[1][1], wing[2][1]
            winglet = [(front, 0), (rear, 0), (rear - 0.06, tip + 0.05), (front - 0.6 * (front - rear) - 0.06, tip + 0.05)]
            parts.append(("wings", side_plate(winglet, 0.025).moved(x=s * reach, y=y)))
    # Tail: fins upright, planes level.
    fin_outline = [(end + 0.36, 0), (end, 0), (end - 0.06, fin), (end + 0.1, fin)]
    plane = [(0, end + 0.3), (tail_span / 2, end + 0.12), (tail_span / 2, end), (0, end + 0.06)]
    level = 0.25 * radius
    if a["tail"] == "high":
        level = fin + 0.3 * radius
        plane = [(px, pz - 0.12) for px, pz in plane]
    fins = (-1, 1) if a["tail"] == "twin" else (0,)
    for s in fins:
        x = s * tail_span / 2
        start = 0.25 * radius if s else 0.3 * radius
        parts.append(("tail", side_plate(fin_outline, 0.03).moved(x=x, y=start, z=-0.02 if s else 0.0)))
    parts += [("tail", slab(np.array(plane) * (s, 1), 0.025).moved(y=level)) for s in (-1, 1)]

    def engine(x: float, at_y: float, z: float) -> Solid:
        pod = revolve([(0, -0.16), (0.6, -0.16), (0.6, -0.16), (1, 0.02), (0.9, 0.16), (0.9, 0.16), (0.7, 0.1), (0, 0.1)], 14)
        return pod.scaled(nacelle, 1.0, nacelle).turned("x", 90).moved(x, at_y, z)

    edge = (lambda x: root - back * x / half) if a["wings"] != "delta" else (lambda x: 0.3 * length - (0.3 * length - end * 0.62) * x / reach)
    if a["engines"] in ("two", "four"):
        for share in (0.34,) if a["engines"] == "two" else (0.3, 0.58):
            x = share * reach
            parts += [("engines", engine(s * x, y - 0.015 - 0.9 * nacelle, edge(x) - 0.02)) for s in (-1, 1)]
    elif a["engines"] == "rear":
        parts += [("engines", engine(s * (0.75 * radius + nacelle), 0.25 * radius, end + 0.42)) for s in (-1, 1)]
    else:
        parts.append(("engines", revolve([(0, 0), (0.05, 0), (0.05, 0), (0.03, 0.08), (0, 0.11)], 12).turned("x", 90).moved(z=nose - 0.01)))
        parts += [("engines", box((0.05, 0.6, 0.02), (0, 0, nose + 0.04)).turned("z", t)) for t in (30, 120)]
    if a["gear"] == "yes":
        for x, z in ((0.0, 0.33 * length), (-0.24, -0.02), (0.24, -0.02)):
            lowest = -radius - gear
            parts.append(("gear", rod((x, min(y, 0.0) if x else -0.5 * radius, z), (x, lowest + 0.05, z), 0.016, 6)))
            wheel = cylinder(0.055, 0.04, segments=14).turned("z", 90)
            parts.append(("gear", wheel.moved(x + 0.02, lowest + 0.055, z)))
    return parts


AIRPLANE = Category(
    "airplane",
    (
        Attribute("body", {"slender": "slender", "stout": "stout"}, adjective=True),
        Attribute("wings", {"straight": "straight wings", "swept": "swept wings", "delta": "triangular wings"}),
        Attribute("mounting", {"low": "wings set low", "high": "wings set high"}),
        Attribute("tips", {"plain": "plain wing tips", "upturned": "upturned wing tips"}),
        Attribute(
            "engines",
            {
                "two": "two engines under the wings",
                "four": "four engines under the wings",
                "rear": "two engines at the tail",
                "propeller": "a propeller at the nose",
            },
        ),
        Attribute("tail", {"plain": "a plain tail", "high": "a tail shaped like a T", "twin": "twin fins"}),
        Attribute("gear", {"no": "no wheels", "yes": "wheels below"}),
    ),
    _airplane,
)

FIXTURES = (LAMP, DOOR)
AIRCRAFT = (AIRPLANE,)
