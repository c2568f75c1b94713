"""Chair, armchair, stool, bench, sofa.

What keeps them apart whatever their size: a chair is thin and stands clear of the floor
with a back; an armchair and a sofa are closed bodies between arms, one and several seats
wide; a stool is a small seat on long legs; a bench is a long thin seat.
"""

from __future__ import annotations

import numpy as np

from captionless.demo_world.grammar import Attribute, Attributes, Category, Draw, Parts
from captionless.demo_world.shapes import (
    Solid,
    arch,
    block,
    box,
    cushion,
    cylinder,
    ellipse,
    extrude,
    hoop,
    leg,
    rectangle,
    rod,
    side_plate,
    slab,
)
from captionless.demo_world.supports import crossbars, four_legs, runners, star_base


def _back_infill(kind: str, width: float, height: float, thick: float) -> list[Solid]:
    """A chair back in the plane z = 0 from y = 0 up, its lower end open above the seat."""
    post = 1.1 * thick
    frame = [
        block((s * width / 2 - post / 2, s * width / 2 + post / 2), (0, height), (-thick / 2, thick / 2))
        for s in (-1, 1)
    ]
    rail = 1.6 * thick
    inner = width - post
    frame.append(block((-inner / 2, inner / 2), (height - rail, height), (-thick / 2, thick / 2)))
    if kind == "slats":
        foot = 0.06
        frame.append(block((-inner / 2, inner / 2), (foot, foot + thick), (-thick / 2, thick / 2)))
        xs = np.linspace(-inner / 2, inner / 2, 6)[1:-1]
        frame += [box((0.035, height - foot - rail, 0.6 * thick), (x, (height + foot - rail) / 2, 0)) for x in xs]
    elif kind == "ladder":
        rungs = np.linspace(0.0, height - rail / 2, 4 if height > 0.45 else 3)[:-1] + 0.09
        frame += [box((inner, 0.055, 0.6 * thick), (0, y, 0)) for y in rungs]
    elif kind == "solid":
        frame.append(block((-inner / 2, inner / 2), (0.03, height - rail), (-0.35 * thick, 0.35 * thick)))
    return frame


def _chair(a: Attributes, draw: Draw) -> Parts:
    width, depth, seat = draw(0.42, 0.5), draw(0.40, 0.48), draw(0.43, 0.5)
    thick, leg_width, lean = draw(0.03, 0.05), draw(0.032, 0.05), draw(4, 12)
    short, high, splay = draw(0.30, 0.36), draw(0.58, 0.7), draw(0.06, 0.1)
    bar = draw(0.10, 0.2)
    parts: Parts = []
    round_seat = a["seat"] == "round"
    outline = ellipse(1.08 * width, 1.08 * depth) if round_seat else rectangle(width, depth)
    parts.append(("seat", slab(outline, thick).moved(y=seat - thick)))
    under = seat - 0.5 * thick
    spread = 0.66 if round_seat else 0.86
    w, d = spread * width, spread * depth
    if a["legs"] in ("straight", "splayed"):
        out = splay if a["legs"] == "splayed" else 0.0
        parts += [("legs", s) for s in four_legs(w, d, under, leg_width, out)]
        if a["crossbars"] == "yes":
            more = 2 * out * (1 - bar / under)
            parts += [("legs", s) for s in crossbars(w + more, d + more, bar, 0.014)]
    elif a["legs"] == "post":
        parts += [("legs", s) for s in star_base(0.62 * width, under, 0.032)]
    else:
        parts += [("legs", s) for s in runners(0.9 * width, 0.9 * depth, under, 0.017)]
    height = high if a["height"] == "high" else short
    # A round seat has no corners for the back's posts to stand on.
    behind, across = (0.36 * depth, 0.76 * width) if round_seat else (0.44 * depth, 0.92 * width)
    back = _back_infill(a["back"], across, height, 0.8 * thick)
    parts += [("back", s.turned("x", -lean).moved(y=seat - 0.02, z=-behind)) for s in back]
    if a["arms"] == "yes":
        top, x = seat + 0.21, (0.46 if round_seat else 0.5) * width
        for s in (-1, 1):
            parts.append(
                ("arms", block((s * x - 0.026, s * x + 0.026), (top - 0.03, top), (-behind - 0.04, 0.3 * depth)))
            )
            parts.append(
                ("arms", leg((s * x, top - 0.02, 0.24 * depth), (s * x, seat - thick, 0.24 * depth), 0.03, 0.03))
            )
    if a["cushion"] == "yes":
        size = (0.94 * width, 0.1, 0.9 * depth)
        parts.append(("cushion", cushion(size, (0, seat + 0.04, 0.01), 0.9 if round_seat else 0.35)))
    return parts


CHAIR = Category(
    "chair",
    (
        Attribute("height", {"low": "low-backed", "high": "high-backed"}, adjective=True),
        Attribute(
            "legs",
            {
                "straight": "four straight legs",
                "splayed": "four splayed legs",
                "post": "a central post on a star base",
                "runners": "two runners",
            },
        ),
        Attribute(
            "back",
            {"slats": "a slatted back", "ladder": "a ladder back", "solid": "a solid back", "open": "an open back"},
        ),
        Attribute("seat", {"square": "a square seat", "round": "a round seat"}),
        Attribute("cushion", {"no": "no cushion", "yes": "a thick cushion"}),
        Attribute("arms", {"no": "no arms", "yes": "two arms"}),
        Attribute("crossbars", {"no": "no crossbars", "yes": "crossbars between the legs"}),
    ),
    _chair,
    lambda a: a["crossbars"] == "no" or a["legs"] in ("straight", "splayed"),
)


def _arm(kind: str, width: float, bottom: float, top: float, back: float, front: float) -> list[Solid]:
    """One arm of an upholstered seat about x = 0, from z = back to front."""
    if kind == "sloping":
        outline = [(back, bottom), (front, bottom), (front, bottom + 0.35 * (top - bottom)), (back, top + 0.06)]
        return [side_plate(outline, width)]
    body = block((-width / 2, width / 2), (bottom, top), (back, front), 0.025)
    if kind == "square":
        return [body]
    radius = 0.62 * width
    roll = cylinder(radius, front - back + 0.02, segments=20).turned("x", 90)
    return [body, roll.moved(y=top, z=back)]


def _armchair(a: Attributes, draw: Draw) -> Parts:
    width, depth, seat = draw(0.78, 0.88), draw(0.72, 0.8), draw(0.36, 0.42)
    arm, rise, back_thick = draw(0.12, 0.17), draw(0.17, 0.22), draw(0.13, 0.18)
    short, high, feet = draw(0.3, 0.36), draw(0.6, 0.7), draw(0.12, 0.15)
    parts: Parts = []
    clear = {"feet": feet, "closed": 0.0, "swivel": feet + 0.06}[a["base"]]
    inner, front, behind = width - 2 * arm, depth / 2, -depth / 2
    parts.append(("body", block((-width / 2, width / 2), (clear, seat), (behind, front - 0.02), 0.03)))
    if a["base"] == "feet":
        parts += [("feet", s) for s in four_legs(0.86 * width, 0.84 * depth, clear + 0.02, 0.06, 0.0, 0.6)]
    elif a["base"] == "swivel":
        parts += [("feet", cylinder(0.3, 0.035)), ("feet", cylinder(0.05, clear + 0.02))]
    for s in (-1, 1):
        x = s * (width - arm) / 2
        parts += [("body", p.moved(x=x)) for p in _arm(a["arms"], arm, seat - 0.05, seat + rise, behind, front)]
    height = high if a["height"] == "high" else short
    at = behind + back_thick / 2
    if a["back"] == "rounded":
        back = extrude(arch(width, 0.45 * height, 0.75 * height, 20), back_thick)
        parts.append(("body", back.moved(y=seat - 0.02, z=at)))
    else:
        parts.append(
            ("body", block((-width / 2, width / 2), (seat - 0.02, seat + height), (behind, behind + back_thick), 0.03))
        )
    if a["back"] == "wings":
        z0, z1 = behind + 0.5 * back_thick, behind + back_thick + 0.26
        wing = [
            (z0, seat + 0.1),
            (z1, seat + 0.16),
            (z1, seat + 0.7 * height),
            (z0 + 0.1, seat + 1.02 * height),
            (z0, seat + 1.02 * height),
        ]
        parts += [("body", side_plate(wing, 0.07).moved(x=s * (width / 2 - 0.035))) for s in (-1, 1)]
    if a["cushion"] == "yes":
        size = (0.98 * inner, 0.17, depth - back_thick)
        parts.append(("cushion", cushion(size, (0, seat + 0.06, back_thick / 2 + 0.03), 0.25)))
    if a["headrest"] == "yes":
        size = (0.9 * inner, 0.17, 0.16)
        parts.append(("cushion", cushion(size, (0, seat + height - 0.06, behind + back_thick + 0.05), 0.5)))
    if a["footrest"] == "yes":
        rest = box((0.92 * inner, 0.07, 0.36), bevel=0.02).turned("x", 8)
        parts.append(("cushion", rest.moved(y=seat - 0.06, z=front + 0.19)))
    return parts


ARMCHAIR = Category(
    "armchair",
    (
        Attribute("height", {"low": "low-backed", "high": "high-backed"}, adjective=True),
        Attribute("arms", {"square": "square arms", "rolled": "rolled arms", "sloping": "sloping arms"}),
        Attribute("back", {"straight": "a straight back", "wings": "a winged back", "rounded": "a rounded back"}),
        Attribute("base", {"feet": "short feet", "closed": "a closed base", "swivel": "a post on a disc"}),
        Attribute("cushion", {"no": "no cushion", "yes": "a thick cushion"}),
        Attribute("headrest", {"no": "no headrest", "yes": "a headrest"}),
        Attribute("footrest", {"no": "no footrest", "yes": "a footrest"}),
    ),
    _armchair,
)


def _stool(a: Attributes, draw: Draw) -> Parts:
    width, thick_seat, thin_seat = draw(0.31, 0.37), draw(0.09, 0.12), draw(0.025, 0.035)
    low, tall, leg_width = draw(0.46, 0.52), draw(0.74, 0.84), draw(0.03, 0.042)
    splay, apron = draw(0.07, 0.1), draw(0.05, 0.07)
    height = tall if a["height"] == "tall" else low
    thick = thick_seat if a["padding"] == "thick" else thin_seat
    under = height - thick
    outline = {
        "round": ellipse(width, width),
        "square": rectangle(0.92 * width, 0.92 * width),
        "oval": ellipse(1.4 * width, 0.82 * width),
    }[a["seat"]]
    parts: Parts = [("seat", slab(outline, thick).moved(y=under))]
    wide = 1.3 if a["seat"] == "oval" else 1.0
    if a["apron"] == "yes":
        skirt = slab(outline * 0.84, apron).moved(y=under - apron)
        parts.append(("legs", skirt))
    out = splay if a["stance"] == "splayed" else 0.0
    reach = 0.36 * width
    ring_y = 0.36 * under
    if a["legs"] == "post":
        parts += [("legs", cylinder(0.42 * width, 0.03)), ("legs", cylinder(0.035, under + 0.01, segments=16))]
    elif a["legs"] == "four":
        parts += [("legs", s) for s in four_legs(1.45 * reach * wide, 1.45 * reach, under + 0.005, leg_width, out)]
    else:
        for k in range(3):
            angle = np.pi / 2 + 2 * np.pi * k / 3
            x, z = reach * np.cos(angle), reach * np.sin(angle)
            foot = (x + 1.3 * out * np.cos(angle), 0.0, z + 1.3 * out * np.sin(angle))
            parts.append(
                ("legs", leg((x * wide, under + 0.005, z), (foot[0] * wide, 0.0, foot[2]), leg_width, 0.8 * leg_width))
            )
    if a["ring"] == "yes":
        if a["legs"] == "post":
            parts.append(("legs", hoop(0.33 * width, 0.014).moved(y=ring_y)))
            parts += [("legs", rod((-0.33 * width, ring_y, 0), (0.33 * width, ring_y, 0), 0.012))]
        else:
            radius = reach + 1.3 * out * (1 - ring_y / under)
            parts.append(("legs", hoop(radius, 0.014).scaled(x=wide).moved(y=ring_y)))
    return parts


STOOL = Category(
    "stool",
    (
        Attribute("height", {"low": "low", "tall": "tall"}, adjective=True),
        Attribute("seat", {"round": "a round seat", "square": "a square seat", "oval": "an oval seat"}),
        Attribute("padding", {"thin": "a thin top", "thick": "a thick top"}),
        Attribute("legs", {"three": "three legs", "four": "four legs", "post": "a single post on a disc"}),
        Attribute("stance", {"straight": "a straight stance", "splayed": "a splayed stance"}),
        Attribute("ring", {"no": "no foot ring", "yes": "a foot ring"}),
        Attribute("apron", {"no": "no apron", "yes": "an apron under the seat"}),
    ),
    _stool,
    lambda a: a["stance"] == "straight" or a["legs"] != "post",
)


def _bench(a: Attributes, draw: Draw) -> Parts:
    short, long, depth = draw(1.0, 1.15), draw(1.65, 1.9), draw(0.36, 0.44)
    seat, thick, high = draw(0.42, 0.48), draw(0.035, 0.05), draw(0.36, 0.44)
    leg_width = draw(0.045, 0.065)
    width = long if a["length"] == "long" else short
    under, z = seat - thick, depth / 2
    parts: Parts = []
    if a["seat"] == "slats":
        gap = depth / 4
        parts += [
            ("seat", box((width, thick, 0.66 * gap), (0, seat - thick / 2, -z + gap * (k + 0.5)))) for k in range(4)
        ]
        parts += [("legs", box((0.05, 0.03, 0.9 * depth), (s * 0.44 * width, under - 0.01, 0))) for s in (-1, 1)]
    else:
        parts.append(("seat", box((width, thick, depth), (0, seat - thick / 2, 0))))
    if a["seat"] == "padded":
        parts.append(("cushion", cushion((0.98 * width, 0.13, 0.98 * depth), (0, seat + 0.045, 0), 0.2)))
    x = 0.44 * width
    if a["legs"] == "posts":
        parts += [("legs", s) for s in four_legs(2 * x, 0.8 * depth, under + 0.01, leg_width)]
    elif a["legs"] == "panels":
        parts += [("legs", box((0.045, under, 0.94 * depth), (s * x, under / 2, 0))) for s in (-1, 1)]
    else:
        for s in (-1, 1):
            for t in (-1, 1):
                parts.append(("legs", leg((s * x, under, t * 0.42 * depth), (s * x, 0, -t * 0.46 * depth), 0.05, 0.05)))
    if a["back"] != "none":
        at = -z + 0.02
        rails = [block((-width / 2, width / 2), (seat + high - 0.07, seat + high), (at - 0.018, at + 0.018))]
        rails += [leg((s * x, seat + high, at), (s * x, under, at), 0.045, 0.045) for s in (-1, 1)]
        if a["back"] == "solid":
            rails.append(block((-width / 2, width / 2), (seat + 0.05, seat + high - 0.04), (at - 0.012, at + 0.012)))
        else:
            count = 9 if a["length"] == "short" else 14
            rails.append(block((-width / 2, width / 2), (seat + 0.05, seat + 0.09), (at - 0.015, at + 0.015)))
            xs = np.linspace(-x, x, count)[1:-1]
            rails += [box((0.032, high - 0.1, 0.02), (at_x, seat + high / 2 + 0.02, at)) for at_x in xs]
        parts += [("back", s.turned("x", -6).moved(z=-seat * np.sin(np.deg2rad(6)) * -1)) for s in rails]
    if a["arms"] == "yes":
        top = seat + 0.23
        for s in (-1, 1):
            at_x = s * (width / 2 - 0.03)
            parts.append(("arms", block((at_x - 0.03, at_x + 0.03), (top - 0.035, top), (-z, z))))
            parts += [
                ("arms", leg((at_x, top - 0.02, t * 0.8 * z), (at_x, under, t * 0.8 * z), 0.04, 0.04)) for t in (-1, 1)
            ]
    if a["shelf"] == "yes":
        y = 0.3 * under
        parts.append(("seat", block((-x, x), (y, y + 0.025), (-0.36 * depth, 0.36 * depth))))
    return parts


BENCH = Category(
    "bench",
    (
        Attribute("length", {"short": "short", "long": "long"}, adjective=True),
        Attribute("seat", {"solid": "a solid seat", "slats": "a slatted seat", "padded": "a padded seat"}),
        Attribute("legs", {"posts": "four legs", "panels": "two panel ends", "crossed": "crossed legs"}),
        Attribute("back", {"none": "no back", "slats": "a slatted back", "solid": "a solid back"}),
        Attribute("arms", {"no": "no arms", "yes": "arms at both ends"}),
        Attribute("shelf", {"no": "no shelf", "yes": "a shelf below"}),
    ),
    _bench,
)


def _sofa(a: Attributes, draw: Draw) -> Parts:
    width, depth, seat = draw(1.9, 2.25), draw(0.82, 0.92), draw(0.38, 0.43)
    arm, rise, back_thick = draw(0.15, 0.2), draw(0.18, 0.24), draw(0.16, 0.2)
    short, high, feet, long_feet = draw(0.3, 0.35), draw(0.52, 0.6), draw(0.05, 0.07), draw(0.16, 0.2)
    chaise = draw(0.6, 0.75)
    clear = {"closed": 0.0, "short": feet, "tall": long_feet}[a["base"]]
    if a["arms"] == "none":
        arm = 0.0
    inner, front, behind = width - 2 * arm, depth / 2, -depth / 2
    parts: Parts = [("body", block((-width / 2, width / 2), (clear, seat - 0.08), (behind, front - 0.02), 0.03))]
    if a["base"] != "closed":
        parts += [("feet", s) for s in four_legs(0.9 * width, 0.82 * depth, clear + 0.02, 0.07, 0.0, 0.6)]
    for s in (-1, 1) if arm else ():
        x = s * (width - arm) / 2
        parts += [("body", p.moved(x=x)) for p in _arm(a["arms"], arm, clear, seat + rise, behind, front)]
    height = high if a["height"] == "high" else short
    top = seat + height - (0.1 if a["back"] == "cushions" else 0.0)
    if a["back"] == "curved":
        back = extrude(arch(width, 0.55 * height, 0.6 * height, 24), back_thick)
        parts.append(("body", back.moved(y=seat - 0.1, z=behind + back_thick / 2)))
    else:
        parts.append(("body", block((-width / 2, width / 2), (clear, top), (behind, behind + back_thick), 0.03)))
    count = {"one": 1, "two": 2, "three": 3}[a["seats"]]
    each, room = inner / count, depth - back_thick
    for k in range(count):
        x = -inner / 2 + each * (k + 0.5)
        more = chaise if a["chaise"] == "yes" and k == count - 1 and count > 1 else 0.0
        size = (0.94 * each, 0.17, room + more)
        parts.append(("seat", cushion(size, (x, seat, behind + back_thick + (room + more) / 2), 0.16)))
        if a["back"] == "cushions":
            pillow = cushion((0.93 * each, 1.05 * height, 0.2), (0, 0, 0), 0.3).turned("x", -12)
            parts.append(("cushion", pillow.moved(x, seat + 0.06 + height / 2, behind + back_thick + 0.09)))
    if a["chaise"] == "yes":
        each = inner / max(count, 2)
        low, far = inner / 2 - each, front + chaise
        parts.append(("body", block((low + 0.01, inner / 2), (clear, seat - 0.08), (front - 0.1, far - 0.02), 0.03)))
        if count == 1:
            size = (0.95 * each, 0.17, chaise + 0.05)
            parts.append(("seat", cushion(size, (inner / 2 - each / 2, seat, front + chaise / 2 - 0.02), 0.16)))
        if clear:
            ends = (low + 0.08, inner / 2 - 0.07)
            parts += [("feet", leg((x, clear + 0.02, far - 0.1), (x, 0, far - 0.1), 0.07, 0.042)) for x in ends]
    return parts


SOFA = Category(
    "sofa",
    (
        Attribute("height", {"low": "low-backed", "high": "high-backed"}, adjective=True),
        Attribute("seats", {"one": "one long seat", "two": "two seats", "three": "three seats"}),
        Attribute("arms", {"none": "no arms", "square": "square arms", "rolled": "rolled arms"}),
        Attribute("back", {"straight": "a straight back", "cushions": "back cushions", "curved": "a curved back"}),
        Attribute("base", {"closed": "a closed base", "short": "short feet", "tall": "tall legs"}),
        Attribute("chaise", {"no": "no chaise", "yes": "a chaise at one end"}),
    ),
    _sofa,
)

SEATING = (CHAIR, ARMCHAIR, STOOL, BENCH, SOFA)
