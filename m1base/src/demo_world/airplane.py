"""The airplane, nose towards +z: a body, wings, engines and a tail, unlike all else here."""

from __future__ import annotations

import numpy as np

from captionless.demo_world.grammar import Attribute, Attributes, Category, Draw, Parts
from captionless.demo_world.shapes import Solid, box, cylinder, revolve, rod, side_plate, slab


def _airplane(a: Attributes, draw: Draw) -> Parts:
    length, span, slender, stout = draw(1.9, 2.1), draw(1.9, 2.15), draw(0.085, 0.1), draw(0.15, 0.175)
    chord, tail_span, fin = draw(0.3, 0.36), draw(0.62, 0.74), draw(0.34, 0.4)
    sweep, tip, nacelle, gear = draw(0.38, 0.48), draw(0.2, 0.28), draw(0.05, 0.06), draw(0.16, 0.2)
    radius = slender if a["body"] == "slender" else stout
    half, nose, end = span / 2, length / 2, -length / 2
    stations = np.array(
        [(0, 0), (0.3, 0.03), (0.55, 0.1), (0.85, 0.22), (1.0, 0.4), (1.0, 0.62), (0.72, 0.82), (0.3, 1.0)]
    )
    profile = np.concatenate([stations[:, :1] * radius, nose - length * stations[:, 1:]], 1)[::-1]
    profile = np.concatenate([[(0.0, end)], profile[:1], profile])
    parts: Parts = [("body", revolve(profile, 20).turned("x", 90))]
    y = 0.9 * radius if a["mounting"] == "high" else -0.9 * radius
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
            winglet = [
                (front, 0),
                (rear, 0),
                (rear - 0.06, tip + 0.05),
                (front - 0.6 * (front - rear) - 0.06, tip + 0.05),
            ]
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
        pod = revolve(
            [(0, -0.16), (0.6, -0.16), (0.6, -0.16), (1, 0.02), (0.9, 0.16), (0.9, 0.16), (0.7, 0.1), (0, 0.1)], 14
        )
        return pod.scaled(nacelle, 1.0, nacelle).turned("x", 90).moved(x, at_y, z)

    def leading_edge(x: float) -> float:
        return float(np.interp(x, [0.0, reach], [wing[0][1], wing[1][1]]))

    if a["engines"] in ("two", "four"):
        for share in (0.34,) if a["engines"] == "two" else (0.3, 0.58):
            x = share * reach
            parts += [("engines", engine(s * x, y - 0.015 - 0.9 * nacelle, leading_edge(x) - 0.02)) for s in (-1, 1)]
    elif a["engines"] == "rear":
        parts += [("engines", engine(s * (0.75 * radius + nacelle), 0.25 * radius, end + 0.42)) for s in (-1, 1)]
    else:
        parts.append(
            (
                "engines",
                revolve([(0, 0), (0.05, 0), (0.05, 0), (0.03, 0.08), (0, 0.11)], 12)
                .turned("x", 90)
                .moved(z=nose - 0.01),
            )
        )
        parts += [("engines", box((0.05, 0.6, 0.02), (0, 0, nose + 0.04)).turned("z", t)) for t in (30, 120)]
    if a["gear"] == "yes":
        for x, z in ((0.0, 0.33 * length), (-0.2, -0.02), (0.2, -0.02)):
            lowest = -radius - gear
            parts.append(("gear", rod((0.3 * x, -0.6 * radius, z), (x, lowest + 0.05, z), 0.016, 6)))
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
