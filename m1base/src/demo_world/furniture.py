"""Bed, table, desk, cabinet, bookshelf.

What keeps them apart whatever their size: a bed is low and deep under a thick mattress; a
table is a wide bare top on its support; a desk has drawers or panels below one side of
its top; a cabinet is closed by doors or drawers; a bookshelf is open between its shelves.
"""

from __future__ import annotations

import numpy as np

from captionless.demo_world.grammar import Attribute, Attributes, Category, Draw, Parts
from captionless.demo_world.shapes import (
    arch,
    block,
    box,
    cushion,
    cylinder,
    ellipse,
    extrude,
    leg,
    rectangle,
    rod,
    slab,
)
from captionless.demo_world.supports import bar_handle, corners, four_legs, framed, knob, plinth


def _bed(a: Attributes, draw: Draw) -> Parts:
    narrow, wide, length = draw(0.9, 1.0), draw(1.55, 1.75), draw(1.95, 2.1)
    frame, mattress, head = draw(0.3, 0.36), draw(0.2, 0.26), draw(0.5, 0.62)
    post, foot_height, thick = draw(0.06, 0.08), draw(0.3, 0.38), draw(0.05, 0.07)
    post_top = draw(1.5, 1.7)
    width = wide if a["width"] == "wide" else narrow
    w, z = width / 2, length / 2
    parts: Parts = []
    low = {"legs": frame - 0.12, "closed": 0.0, "drawers": 0.05}[a["base"]]
    parts.append(("frame", block((-w, w), (low, frame), (-z, z), 0.015)))
    if a["base"] == "legs":
        parts += [("frame", s) for s in four_legs(width - 0.1, length - 0.1, low + 0.02, 0.085, 0.0, 0.7)]
    if a["base"] == "drawers":
        for s in (-1, 1):
            for k in (-0.5, 0.5):
                at = k * 0.9 * z
                front = box((0.03, 0.72 * (frame - low), 0.8 * z), (s * (w + 0.012), (frame + low) / 2, at), 0.008)
                parts += [("drawers", front), ("knobs", rod((s * w, 0.2, at), (s * (w + 0.06), 0.2, at), 0.025))]
    size = (width - 0.03, mattress, length - 0.04)
    parts.append(("mattress", cushion(size, (0, frame + mattress / 2 - 0.02, 0), 0.12)))
    top = frame + mattress
    if a["headboard"] == "solid":
        parts.append(("frame", block((-w, w), (0.0, top + head), (-z - thick, -z), 0.015)))
    elif a["headboard"] == "slats":
        parts.append(("frame", block((-w, w), (top + head - 0.09, top + head), (-z - thick, -z), 0.015)))
        xs = np.linspace(-w + 0.04, w - 0.04, 8 if width > 1.2 else 6)
        parts += [("frame", block((x - 0.03, x + 0.03), (0, top + head - 0.05), (-z - 0.8 * thick, -z))) for x in xs]
    elif a["headboard"] == "arched":
        parts.append(("frame", extrude(arch(width, top + 0.3 * head, 0.85 * head, 20), thick).moved(z=-z - thick / 2)))
    if a["footboard"] == "yes":
        parts.append(("frame", block((-w, w), (0.0, top + foot_height - 0.1), (z, z + thick), 0.015)))
    if a["posts"] != "none":
        height = post_top if a["posts"] == "canopy" else 0.78 * post_top
        feet = corners(width, length + thick)
        parts += [("posts", leg((x, height, zz), (x, 0, zz), post, post)) for x, zz in feet]
        if a["posts"] == "canopy":
            for s in (-1, 1):
                parts.append(("posts", box((width, 0.05, 0.05), (0, height, s * (length + thick) / 2))))
                parts.append(("posts", box((0.05, 0.05, length), (s * w, height, 0))))
    if a["pillows"] == "yes":
        count = 2 if width > 1.2 else 1
        each = 0.9 * width / count
        for k in range(count):
            x = (k - (count - 1) / 2) * each
            pillow = cushion((0.88 * each, 0.2, 0.42), roundness=0.6).turned("x", 14)
            parts.append(("pillows", pillow.moved(x, top + 0.06, -z + 0.3)))
    return parts


BED = Category(
    "bed",
    (
        Attribute("width", {"narrow": "narrow", "wide": "wide"}, adjective=True),
        Attribute(
            "headboard",
            {
                "none": "no headboard",
                "solid": "a solid headboard",
                "slats": "a slatted headboard",
                "arched": "an arched headboard",
            },
        ),
        Attribute("footboard", {"no": "no footboard", "yes": "a footboard"}),
        Attribute("posts", {"none": "no posts", "tall": "four tall posts", "canopy": "a canopy frame"}),
        Attribute("base", {"legs": "short legs", "closed": "a closed base", "drawers": "drawers below"}),
        Attribute("pillows", {"no": "no pillows", "yes": "thick pillows"}),
    ),
    _bed,
)


def _table(a: Attributes, draw: Draw) -> Parts:
    width, ratio, oval = draw(1.25, 1.5), draw(0.6, 0.72), draw(0.62, 0.72)
    low, tall = draw(0.4, 0.46), draw(0.7, 0.78)
    thick_top, thin_top, leg_width = draw(0.085, 0.11), draw(0.025, 0.035), draw(0.06, 0.085)
    splay, apron = draw(0.08, 0.12), draw(0.09, 0.12)
    height = tall if a["height"] == "tall" else low
    thick = thick_top if a["thickness"] == "thick" else thin_top
    under = height - thick
    if a["top"] == "round":
        width, depth = 0.85 * width, 0.85 * width
        outline = ellipse(width, depth)
    elif a["top"] == "oval":
        depth = oval * width
        outline = ellipse(1.1 * width, depth)
    else:
        depth = ratio * width
        outline = rectangle(width, depth)
    parts: Parts = [("top", slab(outline, thick).moved(y=under))]
    fill = 0.84 if a["top"] == "rectangular" else 0.6
    w, d = fill * width, fill * depth
    if a["base"] in ("straight", "splayed"):
        out = splay if a["base"] == "splayed" else 0.0
        taper = 0.55 if out else 0.9
        parts += [("legs", s) for s in four_legs(w, d, under + 0.01, leg_width, out, taper)]
    elif a["base"] == "pedestal":
        parts += [("legs", cylinder(0.27 * width, 0.05, 0.2 * width)), ("legs", cylinder(0.06, under + 0.01))]
        parts.append(("legs", cylinder(0.06, 0.1, 0.16).moved(y=under - 0.1)))
    else:
        for s in (-1, 1):
            x = 0.4 * w * s * 1.1
            parts.append(("legs", box((0.07, under, 0.1), (x, under / 2, 0))))
            parts.append(("legs", box((0.075, 0.06, 1.0 * d), (x, 0.03, 0))))
            parts.append(("legs", box((0.075, 0.05, 0.9 * d), (x, under - 0.025, 0))))
        parts.append(("legs", box((0.88 * w, 0.07, 0.04), (0, 0.42 * under, 0))))
    if a["apron"] == "yes":
        for s in (-1, 1):
            parts.append(
                ("legs", block((-w / 2, w / 2), (under - apron, under), (s * d / 2 - 0.012, s * d / 2 + 0.012)))
            )
            parts.append(
                ("legs", block((s * w / 2 - 0.012, s * w / 2 + 0.012), (under - apron, under), (-d / 2, d / 2)))
            )
    if a["shelf"] == "yes":
        parts.append(("top", box((w, 0.03, d), (0, 0.32 * under, 0))))
    return parts


TABLE = Category(
    "table",
    (
        Attribute("height", {"low": "low", "tall": "tall"}, adjective=True),
        Attribute("top", {"round": "a round top", "rectangular": "a rectangular top", "oval": "an oval top"}),
        Attribute("thickness", {"thin": "a thin edge", "thick": "a thick edge"}),
        Attribute(
            "base",
            {
                "straight": "four straight legs",
                "splayed": "four splayed legs",
                "pedestal": "a central pedestal",
                "trestles": "two trestles",
            },
        ),
        Attribute("apron", {"no": "no apron", "yes": "an apron under the top"}),
        Attribute("shelf", {"no": "no shelf", "yes": "a shelf below"}),
    ),
    _table,
    lambda a: a["shelf"] == "no" or a["base"] in ("straight", "splayed"),
)


def _drawer_fronts(x: float, z: float, width: float, low: float, high: float, count: int) -> Parts:
    """Drawer fronts with knobs, one above another, on the plane `z`."""
    each = (high - low) / count
    parts: Parts = []
    for k in range(count):
        y = low + each * (k + 0.5)
        parts.append(("fronts", box((0.9 * width, 0.84 * each, 0.03), (x, y, z + 0.012), 0.008)))
        parts.append(("knobs", knob(x, y, z + 0.03, 0.022)))
    return parts


def _desk(a: Attributes, draw: Draw) -> Parts:
    width, depth, height = draw(1.3, 1.5), draw(0.6, 0.7), draw(0.72, 0.78)
    thick, unit, hutch = draw(0.03, 0.045), draw(0.34, 0.4), draw(0.4, 0.48)
    leg_width, wing, tray = draw(0.05, 0.065), draw(0.5, 0.6), draw(0.1, 0.13)
    under, w, z = height - thick, width / 2, depth / 2
    parts: Parts = [("top", block((-w, w), (under, height), (-z, z), 0.008))]
    sides = {"none": (), "one": (1,), "two": (-1, 1)}[a["drawers"]]
    for s in sides:
        x = s * (w - unit / 2 - 0.02)
        low = 0.06
        parts.append(("body", block((x - unit / 2, x + unit / 2), (low, under), (-z + 0.03, z - 0.04), 0.008)))
        parts.append(("body", block((x - 0.45 * unit, x + 0.45 * unit), (0, low), (-z + 0.06, z - 0.08), 0.005)))
        parts += _drawer_fronts(x, z - 0.04, unit, low, under, 2 if a["rows"] == "two" else 4)
    for s in (t for t in (-1, 1) if t not in sides):
        if a["ends"] == "panels":
            x = s * (w - 0.04)
            parts.append(("body", block((x - 0.02, x + 0.02), (0, under), (-z + 0.03, z - 0.03), 0.006)))
        else:
            x = s * (w - 0.06)
            parts += [
                ("body", leg((x, under, t * 0.82 * z), (x, 0, t * 0.82 * z), leg_width, 0.8 * leg_width))
                for t in (-1, 1)
            ]
    if a["panel"] == "yes":
        parts.append(("body", block((-w + 0.04, w - 0.04), (0.2, under), (-z + 0.03, -z + 0.055), 0.005)))
    if a["hutch"] != "none":
        top, deep = height + hutch, 0.4 * depth
        parts.append(("body", block((-w, w), (top - 0.025, top), (-z, -z + deep), 0.006)))
        xs = (-w + 0.015, w - 0.015) if a["hutch"] == "shelf" else np.linspace(-w + 0.015, w - 0.015, 5)
        parts += [("body", block((x - 0.015, x + 0.015), (height, top), (-z, -z + deep), 0.006)) for x in xs]
        if a["hutch"] == "compartments":
            parts.append(
                ("body", block((-w, w), (height + 0.5 * hutch, height + 0.5 * hutch + 0.02), (-z, -z + deep), 0.005))
            )
            parts.append(("body", block((-w, w), (height, top), (-z, -z + 0.015), 0.003)))
    if a["shape"] == "corner":
        end = -w + 0.75 * depth
        parts.append(("top", block((-w, end), (under, height), (z - 0.01, z + wing), 0.008)))
        parts.append(("body", block((-w + 0.03, end - 0.03), (0, under), (z + wing - 0.06, z + wing - 0.025), 0.006)))
    if a["tray"] == "yes":
        parts.append(
            ("top", block((-0.19 * width, 0.19 * width), (under - tray, under - tray + 0.025), (0, z + 0.14), 0.006))
        )
        parts += [
            ("body", block((s * 0.19 * width - 0.012, s * 0.19 * width + 0.012), (under - tray, under), (0, z - 0.05)))
            for s in (-1, 1)
        ]
    return parts


def _desk_is_valid(a: Attributes) -> bool:
    """Rows need drawers, ends an end without them; bare legs under a bare top would be a table."""
    if a["drawers"] == "none":
        return a["rows"] == "two" and (a["hutch"] != "none" or a["ends"] == "panels")
    return a["ends"] == "legs" or a["drawers"] == "one"


DESK = Category(
    "desk",
    (
        Attribute("shape", {"straight": "straight", "corner": "L-shaped"}, adjective=True),
        Attribute("drawers", {"none": "no drawers", "one": "drawers at one side", "two": "drawers at both sides"}),
        Attribute("rows", {"two": "two rows of drawers", "four": "four rows of drawers"}),
        Attribute("ends", {"legs": "square legs", "panels": "a panel end"}),
        Attribute("panel", {"no": "no back panel", "yes": "a back panel"}),
        Attribute("hutch", {"none": "no hutch", "shelf": "a raised shelf", "compartments": "a hutch with boxes"}),
        Attribute("tray", {"no": "no tray", "yes": "a tray under the top"}),
    ),
    _desk,
    _desk_is_valid,
)


def _cabinet(a: Attributes, draw: Draw) -> Parts:
    tall, wide, depth = draw(1.25, 1.45), draw(0.74, 0.84), draw(0.4, 0.48)
    narrow_width, wide_width = draw(0.68, 0.78), draw(1.15, 1.35)
    long_legs, feet, rail = draw(0.24, 0.3), draw(0.05, 0.07), draw(0.05, 0.065)
    height = tall if a["shape"] == "tall" else wide
    width = narrow_width if a["shape"] == "tall" else wide_width
    w, z = width / 2, depth / 2
    low = {"plinth": feet, "legs": long_legs}[a["base"]]
    parts: Parts = []
    if a["base"] == "plinth":
        parts.append(("body", plinth(width, depth, low + 0.01)))
    else:
        parts += [("legs", s) for s in four_legs(width - 0.1, depth - 0.1, low + 0.02, 0.05, 0.015, 0.6)]
    top = low + height
    niche = 0.28 * height if a["niche"] == "yes" else 0.0
    closed = top - niche
    parts.append(("body", block((-w, w), (low, closed), (-z, z), 0.01)))
    if niche:
        parts.append(("body", block((-w, w), (top - 0.03, top), (-z, z), 0.008)))
        parts.append(("body", block((-w, w), (closed, top), (-z, -z + 0.02), 0.005)))
        parts += [
            ("body", block((s * (w - 0.03) - 0.03, s * (w - 0.03) + 0.03), (closed, top), (-z, z), 0.005))
            for s in (-1, 1)
        ]
    if a["top"] == "crown":
        parts.append(("top", block((-w - 0.03, w + 0.03), (top, top + 0.03), (-z - 0.02, z + 0.03), 0.006)))
        parts.append(("top", block((-w - 0.07, w + 0.07), (top + 0.03, top + 0.08), (-z - 0.04, z + 0.07), 0.01)))
    elif a["top"] == "arched":
        parts.append(("top", extrude(arch(width, 0.03, 0.14, 18), 0.8 * depth).moved(y=top)))
    split = {"doors": closed, "mixed": low + 0.38 * (closed - low), "drawers": closed}[a["front"]]
    fronts: list[tuple[float, float, float, float, str]] = []  # x, y, width, height, kind
    if a["front"] != "doors":
        count = 4 if a["front"] == "drawers" else 2
        each = (split - low) / count
        fronts += [(0.0, low + each * (k + 0.5), 0.97 * width, 0.9 * each, "drawer") for k in range(count)]
    if a["front"] != "drawers":
        bottom = low if a["front"] == "doors" else split
        half = width / 2
        fronts += [
            (s * half / 2, (bottom + closed) / 2, 0.94 * half, 0.95 * (closed - bottom), "door") for s in (-1, 1)
        ]
    for x, y, fw, fh, kind in fronts:
        parts.append(("fronts", box((fw, fh, 0.03), (x, y, z + 0.01), 0.008)))
        face = z + 0.025
        if a["panels"] == "framed":
            parts += [("frames", s) for s in framed(x, y, face, fw, fh, rail if kind == "door" else 0.7 * rail, 0.035)]
            face += 0.03
        if a["handles"] != "none":
            at = x - np.sign(x) * (0.5 * fw - 0.04) if kind == "door" else x
            if a["handles"] == "knobs":
                parts.append(("handles", knob(at, y, face, 0.03)))
            else:
                parts += [("handles", s) for s in bar_handle(at, y, face, 0.22, kind == "door")]
    return parts


CABINET = Category(
    "cabinet",
    (
        Attribute("shape", {"tall": "tall", "wide": "wide"}, adjective=True),
        Attribute("front", {"doors": "two doors", "drawers": "four drawers", "mixed": "two doors above two drawers"}),
        Attribute("panels", {"flat": "flat fronts", "framed": "framed fronts"}),
        Attribute("handles", {"none": "no handles", "knobs": "round knobs", "bars": "bar handles"}),
        Attribute("base", {"plinth": "a low plinth", "legs": "tall legs"}),
        Attribute("top", {"flat": "a flat top", "crown": "a stepped top", "arched": "an arched top"}),
        Attribute("niche", {"no": "no open shelf", "yes": "an open shelf above"}),
    ),
    _cabinet,
)


def _bookshelf(a: Attributes, draw: Draw) -> Parts:
    narrow, wide, height = draw(0.6, 0.72), draw(1.15, 1.35), draw(1.65, 1.9)
    depth, board, raised = draw(0.28, 0.36), draw(0.025, 0.04), draw(0.2, 0.26)
    doors = draw(0.36, 0.42)
    width = wide if a["width"] == "wide" else narrow
    w, z = width / 2, depth / 2
    low = raised if a["base"] == "legs" else 0.0
    parts: Parts = []
    if a["base"] == "legs":
        parts += [("legs", s) for s in four_legs(width - 0.08, depth - 0.08, low + 0.01, 0.05, 0.01, 0.7)]
    start = low
    if a["base"] == "doors":
        start = doors
        parts.append(("sides", block((-w, w), (0, doors), (-z, z), 0.008)))
        for s in (-1, 1):
            parts.append(("fronts", box((0.45 * width, 0.85 * doors, 0.03), (s * w / 2, doors / 2, z + 0.01), 0.006)))
            parts.append(("knobs", knob(s * 0.06, 0.55 * doors, z + 0.025, 0.025)))
    top = height + low
    if a["sides"] == "panels":
        parts += [
            ("sides", block((s * w - 0.5 * board * (1 + s), s * w + 0.5 * board * (1 - s)), (low, top), (-z, z), 0.006))
            for s in (-1, 1)
        ]
    else:
        parts += [
            ("sides", leg((x, top, zz), (x, low, zz), 0.04, 0.04)) for x, zz in corners(width - 0.04, depth - 0.04)
        ]
    count = {"three": 3, "four": 4, "six": 6}[a["shelves"]]
    levels = np.linspace(start + board / 2 + 0.01, top - board / 2, count + 1)
    parts += [("shelves", box((width - board, board, depth), (0, y, 0), 0.005)) for y in levels]
    if a["back"] == "closed":
        parts.append(("sides", block((-w + 0.005, w - 0.005), (low, top), (-z, -z + 0.015), 0.003)))
    if a["divider"] == "yes":
        parts.append(("sides", block((-board / 2, board / 2), (start, top), (-z, z), 0.005)))
    if a["top"] == "crown":
        parts.append(("top", block((-w - 0.06, w + 0.06), (top, top + 0.09), (-z - 0.03, z + 0.06), 0.02)))
    elif a["top"] == "arched":
        parts.append(("top", extrude(arch(width, 0.02, 0.2, 18), 0.05).moved(y=top - 0.01, z=-z + 0.025)))
    return parts


BOOKSHELF = Category(
    "bookshelf",
    (
        Attribute("width", {"narrow": "narrow", "wide": "wide"}, adjective=True),
        Attribute("shelves", {"three": "three levels", "four": "four levels", "six": "six levels"}),
        Attribute("sides", {"panels": "solid sides", "posts": "corner posts"}),
        Attribute("back", {"open": "an open back", "closed": "a closed back"}),
        Attribute("divider", {"no": "no divider", "yes": "a middle divider"}),
        Attribute("base", {"floor": "a flat base", "legs": "tall legs", "doors": "two doors below"}),
        Attribute("top", {"flat": "a flat top", "crown": "a thick top board", "arched": "an arched top board"}),
    ),
    _bookshelf,
)

FURNITURE = (BED, TABLE, DESK, CABINET, BOOKSHELF)
