"""The lamp: a base, a stem and one or two shades, sparser than any furniture."""

from __future__ import annotations

import numpy as np

from captionless.demo_world.grammar import Attribute, Attributes, Category, Draw, Parts
from captionless.demo_world.shapes import Solid, ball, block, cylinder, revolve, rod, tube


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
        turn = np.linspace(0, 0.82 * np.pi, 14)
        bend = np.stack([reach * (1 - np.cos(turn)) / 2, height - reach / 2 + 0.6 * reach * np.sin(turn)], 1)
        path = np.concatenate([[(0.0, start)], bend])
        parts.append(("stem", tube(np.insert(path, 2, 0.0, axis=1), pole)))
        heads = [(float(bend[-1, 0]), float(bend[-1, 1]) - 0.3 * size)]
    elif a["stem"] == "jointed":
        elbow = (-0.6 * reach, 0.62 * height)
        joint = (0.7 * reach, 0.98 * height)
        parts += [("stem", rod((0, start, 0), (*elbow, 0), pole)), ("stem", rod((*elbow, 0), (*joint, 0), pole))]
        parts += [("stem", ball(2.2 * pole, 10).moved(*elbow)), ("stem", ball(2.2 * pole, 10).moved(*joint))]
        heads = [(joint[0], joint[1] - 0.3 * size)]
    else:
        parts.append(("stem", rod((0, start, 0), (0, height, 0), pole)))
        if a["stem"] == "bulged":
            ys = [0.5] if not floor else [0.45, 0.62, 0.79]
            parts += [("stem", ball(bulge).scaled(y=1.5 if not floor else 1.2).moved(y=y * height)) for y in ys]
    if a["shades"] == "two":
        cross, out = height - 0.25 * size, 1.15 * size
        parts.append(("stem", rod((-out, cross, 0), (out, cross, 0), pole)))
        heads = [(-out, cross), (out, cross)]
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
