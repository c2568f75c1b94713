"""Mug, bottle, vase: surfaces of revolution.

What keeps them apart whatever their size: a mug is a wide open cup with a handle at one
side or both; a bottle ends in a neck narrower than a third of its body; a vase has a wide
mouth and no handle of a mug's size.
"""

from __future__ import annotations

import numpy as np

from captionless.demo_world.grammar import Attribute, Attributes, Category, Draw, Parts
from captionless.demo_world.shapes import (
    Array,
    Solid,
    ball,
    box,
    curve,
    cylinder,
    flutes,
    hollow,
    hoop,
    revolve,
    squircle,
    tube,
)


def _radius_at(profile: Array, y: float) -> float:
    """The radius of an outside profile, (K, 2) upwards, at the height y."""
    return float(np.interp(y, profile[:, 1], profile[:, 0]))


def _handle(kind: str, low: tuple[float, float], high: tuple[float, float], out: float, radius: float) -> Solid:
    """A handle in the plane z = 0 from (x, y) `low` to `high`, standing `out` off the wall."""
    (x0, y0), (x1, y1) = low, high
    if kind == "square":
        far, cut = max(x0, x1) + out, 0.15 * out
        path = np.array([(x1, y1), (far - cut, y1), (far, y1 - cut), (far, y0 + cut), (far - cut, y0), (x0, y0)])
    else:
        angle = np.linspace(np.pi / 2, -np.pi / 2, 17)
        share = (1 + np.sin(angle)) / 2  # of the upper end
        path = np.stack([x0 + (x1 - x0) * share + out * np.cos(angle), y0 + (y1 - y0) * share], 1)
    return tube(np.insert(path, 2, 0.0, axis=1), radius)


def _mug(a: Attributes, draw: Draw) -> Parts:
    short, tall, radius = draw(0.62, 0.72), draw(1.15, 1.3), draw(0.4, 0.45)
    wall, bar, out, foot = draw(0.035, 0.05), draw(0.045, 0.06), draw(0.26, 0.33), draw(0.09, 0.12)
    dish, taper, belly = draw(0.78, 0.88), draw(0.6, 0.68), draw(0.14, 0.2)
    height = tall if a["height"] == "tall" else short
    parts: Parts = []
    base = 0.0
    if a["saucer"] == "yes":
        plate = [
            (0, 0),
            (0.5 * dish, 0),
            (0.5 * dish, 0),
            (dish, 0.11),
            (dish, 0.11),
            (dish - 0.02, 0.14),
            (dish - 0.02, 0.14),
            (0.5 * dish, 0.05),
            (0, 0.05),
        ]
        parts.append(("saucer", revolve(plate, 32)))
        base = 0.045
    if a["foot"] == "yes":
        parts.append(
            (
                "body",
                revolve(
                    [
                        (0, 0),
                        (0.8 * radius, 0),
                        (0.8 * radius, 0),
                        (0.45 * radius, 0.4 * foot),
                        (0.45 * radius, 1.3 * foot),
                        (0, 1.3 * foot),
                    ],
                    28,
                ).moved(y=base),
            )
        )
        base += 1.2 * foot
    y = np.linspace(0, 1, 12)
    shape = {
        "straight": np.full(12, 1.0),
        "tapered": taper + (1.12 - taper) * y,
        "rounded": 0.45 + belly + 0.5 * np.sin(np.pi * (0.12 + 0.74 * y)),
    }[a["sides"]]
    if a["rim"] == "flared":
        shape = shape + 0.3 * np.clip((y - 0.72) / 0.28, 0, 1) ** 2
    outside = np.stack([radius * shape, height * y], 1)
    parts.append(("body", revolve(hollow(outside, wall, 0.06), 32).moved(y=base)))
    if a["bands"] == "yes":
        for level in (0.18, 0.5, 0.82):
            at = level * height
            parts.append(("bands", hoop(_radius_at(outside, at) + 0.005, 0.035).moved(y=base + at)))
    ends = [(_radius_at(outside, level * height) - 0.02, base + level * height) for level in (0.22, 0.78)]
    handle = _handle("square" if "square" in a["handles"] else "round", ends[0], ends[1], out, bar)
    parts.append(("handle", handle))
    if "two" in a["handles"]:
        parts.append(("handle", handle.turned("y", 180)))
    if a["lid"] == "yes":
        rim = float(outside[-1, 0])
        parts.append(
            (
                "lid",
                revolve(
                    [(0, 0), (rim + 0.02, 0), (rim + 0.02, 0), (rim, 0.05), (0.4 * rim, 0.12), (0, 0.13)], 28
                ).moved(y=base + height),
            )
        )
        parts.append(("lid", ball(0.075, 14).moved(y=base + height + 0.18)))
    return parts


MUG = Category(
    "mug",
    (
        Attribute("height", {"short": "short", "tall": "tall"}, adjective=True),
        Attribute("sides", {"straight": "straight sides", "tapered": "tapered sides", "rounded": "rounded sides"}),
        Attribute(
            "handles",
            {
                "round": "one round handle",
                "square": "one square handle",
                "two-round": "two round handles",
                "two-square": "two square handles",
            },
        ),
        Attribute("rim", {"plain": "a plain rim", "flared": "a flared rim"}),
        Attribute("foot", {"no": "no foot", "yes": "a raised foot"}),
        Attribute("bands", {"no": "no bands", "yes": "raised bands"}),
        Attribute("saucer", {"no": "no saucer", "yes": "a saucer"}),
        Attribute("lid", {"no": "no lid", "yes": "a lid"}),
    ),
    _mug,
)


def _bottle(a: Attributes, draw: Draw) -> Parts:
    slim, wide, body = draw(0.16, 0.18), draw(0.27, 0.31), draw(0.62, 0.7)
    short, long, neck = draw(0.1, 0.13), draw(0.34, 0.42), draw(0.055, 0.065)
    slope, bar = draw(0.2, 0.25), draw(0.022, 0.028)
    radius = wide if a["width"] == "wide" else slim
    rise = slope if a["shoulders"] == "sloping" else 0.035
    y = np.linspace(0, 1, 9)
    shape = {
        "straight": np.full(9, 1.0),
        "square": np.full(9, 0.86),
        "rounded": 0.72 + 0.4 * np.sin(np.pi * y),
        "waisted": 1.05 - 0.38 * np.sin(np.pi * y),
    }[a["body"]]
    side = np.stack([radius * shape, body * y], 1)
    if a["base"] == "flared":
        side[:, 0] += 0.45 * radius * np.clip(1 - y / 0.22, 0, 1)
    shoulder = float(side[-1, 0])
    t = np.linspace(0, 1, 6)[1:]
    bend = np.stack([neck + (shoulder - neck) * (1 - t) ** 0.8, body + rise * t ** (1.0 if rise > 0.1 else 0.3)], 1)
    mouth = body + rise + (long if a["neck"] == "long" else short)
    lip = np.array(
        [
            (neck, mouth - 0.03),
            (neck, mouth - 0.03),
            (1.35 * neck, mouth - 0.025),
            (1.35 * neck, mouth),
            (1.35 * neck, mouth),
        ]
    )
    profile = np.concatenate(
        [
            [(0.0, 0.0), side[0]],
            side,
            side[-1:],
            bend,
            bend[-1:],
            lip,
            [(0.7 * neck, mouth), (0.7 * neck, mouth), (0.7 * neck, mouth - 0.08), (0, mouth - 0.08)],
        ]
    )
    blend = np.zeros(len(profile))
    section = None
    if a["body"] == "square":
        section = squircle(9.0, 32)
        blend[: 2 + len(side)] = 1.0
        blend[2 + len(side) : 2 + len(side) + 1 + len(bend)] = np.concatenate([[1.0], 1 - t])
    parts: Parts = [("body", revolve(profile, 32, section, blend))]
    if a["cap"] == "screw":
        parts.append(("cap", cylinder(1.6 * neck, 0.12, 1.5 * neck).moved(y=mouth - 0.03)))
    elif a["cap"] == "ball":
        parts.append(("cap", ball(1.7 * neck).moved(y=mouth + 1.3 * neck)))
    elif a["cap"] == "pump":
        parts += [
            ("cap", cylinder(1.5 * neck, 0.07).moved(y=mouth - 0.02)),
            ("cap", cylinder(0.022, 0.16, segments=12).moved(y=mouth)),
        ]
        parts.append(("cap", box((0.09, 0.04, 0.09), (0, mouth + 0.16, 0))))
        parts.append(("cap", tube([(0, mouth + 0.16, 0), (0, mouth + 0.16, 0.17), (0, mouth + 0.12, 0.21)], 0.02)))
    if a["handle"] == "yes":
        low = (_radius_at(side, 0.5 * body) - 0.01, 0.5 * body)
        high = (neck - 0.005, body + rise + 0.05)
        path = curve(
            [
                (high[0], high[1], 0),
                (radius + 0.1, high[1] + 0.01, 0),
                (radius + 0.17, 0.8 * body + 0.02, 0),
                (low[0], low[1], 0),
            ],
            5,
        )
        parts.append(("cap", tube(path, bar)))
    return parts


BOTTLE = Category(
    "bottle",
    (
        Attribute("width", {"slim": "slim", "wide": "wide"}, adjective=True),
        Attribute(
            "body",
            {
                "straight": "a straight body",
                "square": "a square body",
                "rounded": "a rounded body",
                "waisted": "a waisted body",
            },
        ),
        Attribute("neck", {"short": "a short neck", "long": "a long neck"}),
        Attribute("shoulders", {"sloping": "sloping shoulders", "flat": "flat shoulders"}),
        Attribute("cap", {"none": "no cap", "screw": "a screw cap", "ball": "a ball stopper", "pump": "a pump"}),
        Attribute("base", {"flat": "a flat base", "flared": "a flared base"}),
        Attribute("handle", {"no": "no handle", "yes": "a side handle"}),
    ),
    _bottle,
)


def _vase(a: Attributes, draw: Draw) -> Parts:
    squat, tall, radius = draw(0.68, 0.78), draw(1.2, 1.4), draw(0.34, 0.4)
    wall, pedestal, bar = draw(0.025, 0.035), draw(0.24, 0.3), draw(0.03, 0.038)
    collar, ribs = draw(0.16, 0.2), draw(9, 13)
    height = tall if a["height"] == "tall" else squat
    control = {
        "round": [(0.45, 0), (0.88, 0.2), (1.05, 0.5), (0.9, 0.78), (0.55, 1)],
        "straight": [(0.6, 0), (0.62, 0.25), (0.62, 0.5), (0.62, 0.75), (0.6, 1)],
        "cone": [(0.4, 0), (0.53, 0.25), (0.68, 0.5), (0.84, 0.75), (1.0, 1)],
        "shouldered": [(0.42, 0), (0.55, 0.28), (0.82, 0.6), (1.0, 0.82), (0.6, 1)],
    }[a["body"]]
    body = curve(control, 4) * np.array([radius, height])
    mouth = float(body[-1, 0])
    pieces = [body]
    if a["neck"] == "yes":
        narrow = 0.62 * mouth
        top = height + collar * (1.0 if a["height"] == "squat" else 1.6)
        pieces.append(np.array([(narrow, height + 0.04), (narrow, (height + top) / 2), (1.25 * narrow, top)]))
        mouth, height = 1.25 * narrow, top
    if a["rim"] == "flared":
        pieces.append(
            np.array([(mouth + 0.03, height + 0.03), (mouth + 0.1, height + 0.065), (mouth + 0.19, height + 0.085)])
        )
    outside = np.concatenate(pieces)
    share = np.zeros(0)
    profile = hollow(outside, wall, 0.05)
    if a["sides"] == "fluted":
        # Ribs fade out towards the base and the rim; the inside stays round.
        height_share = np.clip(profile[:, 1] / body[-1, 1], 0, 1)
        share = np.where(np.arange(len(profile)) < len(outside) + 2, np.sin(np.pi * height_share) ** 0.5, 0.0)
    count = int(ribs)
    section = flutes(count, 0.09, 5 * count) if len(share) else None
    vessel = revolve(profile, 5 * count if len(share) else 32, section, share if len(share) else 1.0)
    base = 0.0
    parts: Parts = []
    if a["foot"] == "pedestal":
        wide, slim = 0.75 * radius, 0.22 * radius
        stem = [
            (0, 0),
            (wide, 0),
            (wide, 0),
            (wide, 0.04),
            (0.5 * wide, 0.08),
            (slim, 0.5 * pedestal),
            (slim, 0.8 * pedestal),
            (0.45 * radius, pedestal + 0.03),
            (0, pedestal + 0.03),
        ]
        parts.append(("foot", revolve(stem, 24)))
        base = pedestal
    elif a["foot"] == "balls":
        for k in range(3):
            angle = np.pi / 2 + 2 * np.pi * k / 3
            reach = 0.8 * float(outside[0, 0])
            parts.append(("foot", ball(0.085, 14).moved(reach * np.cos(angle), 0.085, reach * np.sin(angle))))
        base = 0.14
    parts.append(("body", vessel.moved(y=base)))
    if a["handles"] == "yes":
        low, high = 0.55 * body[-1, 1], 0.93 * body[-1, 1]
        ends = [(_radius_at(body, y) - 0.02, base + y) for y in (low, high)]
        handle = _handle("round", ends[0], ends[1], 0.17, bar)
        parts += [("handles", handle), ("handles", handle.turned("y", 180))]
    return parts


VASE = Category(
    "vase",
    (
        Attribute("height", {"squat": "squat", "tall": "tall"}, adjective=True),
        Attribute(
            "body",
            {
                "round": "a round body",
                "straight": "a straight body",
                "cone": "a cone body",
                "shouldered": "a body with shoulders",
            },
        ),
        Attribute("neck", {"no": "no neck", "yes": "a narrow neck"}),
        Attribute("rim", {"plain": "a plain rim", "flared": "a flared rim"}),
        Attribute("sides", {"smooth": "smooth sides", "fluted": "fluted sides"}),
        Attribute("foot", {"flat": "a flat base", "pedestal": "a tall foot", "balls": "three ball feet"}),
        Attribute("handles", {"no": "no handles", "yes": "two small handles"}),
    ),
    _vase,
)

VESSELS = (MUG, BOTTLE, VASE)
