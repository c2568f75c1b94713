"""What many objects stand on, and the pieces of front that storage shares."""

from __future__ import annotations

import numpy as np

from captionless.demo_world.shapes import Solid, ball, block, box, cylinder, leg, rod, tube


def corners(width: float, depth: float) -> list[tuple[float, float]]:
    """The (x, z) of the corners of a rectangle about the origin."""
    return [(sx * width / 2, sz * depth / 2) for sx in (-1, 1) for sz in (-1, 1)]


def four_legs(
    width: float, depth: float, height: float, thick: float, splay: float = 0.0, taper: float = 0.8
) -> list[Solid]:
    """Legs whose middles stand `width` by `depth` apart at the top and `splay` further out on the floor."""
    return [
        leg((x, height, z), (x + splay * np.sign(x), 0.0, z + splay * np.sign(z)), thick, taper * thick)
        for x, z in corners(width, depth)
    ]


def crossbars(width: float, depth: float, y: float, radius: float) -> list[Solid]:
    """A bar between the legs of each side and one across the middle."""
    x, z = width / 2, depth / 2
    sides = [rod((s * x, y, -z), (s * x, y, z), radius) for s in (-1, 1)]
    return [*sides, rod((-x, y, 0), (x, y, 0), radius)]


def star_base(reach: float, height: float, radius: float) -> list[Solid]:
    """A central post on five spokes."""
    spokes = []
    for k in range(5):
        angle = 2 * np.pi * k / 5 + np.pi / 2
        end = (reach * np.cos(angle), 0.03, reach * np.sin(angle))
        spokes += [rod((0.0, 0.09, 0.0), end, 0.8 * radius, 6), ball(0.03, 8).moved(*end)]
    return [*spokes, cylinder(radius, height - 0.05, segments=16).moved(y=0.05)]


def runners(width: float, depth: float, height: float, radius: float) -> list[Solid]:
    """Two bent bars, each two legs and the run on the floor between them."""
    z = depth / 2
    path = [(height, z), (2.5 * radius, z), (radius, z - 2 * radius)]
    path += [(radius, -z + 2 * radius), (2.5 * radius, -z), (height, -z)]
    return [tube([(s * width / 2, y, at) for y, at in path], radius) for s in (-1, 1)]


def plinth(width: float, depth: float, height: float, inset: float = 0.03) -> Solid:
    """A closed base, a little smaller than what stands on it."""
    return block((-width / 2 + inset, width / 2 - inset), (0.0, height), (-depth / 2 + inset, depth / 2 - inset), 0.005)


def knob(x: float, y: float, z: float, radius: float) -> Solid:
    """A round knob in front of the plane `z`."""
    return ball(radius, 10).moved(x, y, z + 0.9 * radius)


def bar_handle(x: float, y: float, z: float, length: float, upright: bool) -> list[Solid]:
    """A straight bar held off the plane `z` by two short posts."""
    off, half = 0.045, length / 2
    across = np.array([0.0, half, 0.0]) if upright else np.array([half, 0.0, 0.0])
    middle = np.array([x, y, z + off])
    posts = [rod(middle + s * 0.8 * across - (0, 0, off), middle + s * 0.8 * across, 0.011, 6) for s in (-1, 1)]
    return [rod(middle - across, middle + across, 0.014, 6), *posts]


def framed(x: float, y: float, z: float, width: float, height: float, rail: float, thick: float = 0.02) -> list[Solid]:
    """A raised frame of rails around a front whose middle is (x, y), on the plane `z`."""
    w, h, at = width / 2, height / 2, z + thick / 2
    level = [box((width, rail, thick), (x, y + s * (h - rail / 2), at), 0.004) for s in (-1, 1)]
    upright = [box((rail, height - 2 * rail, thick), (x + s * (w - rail / 2), y, at), 0.004) for s in (-1, 1)]
    return level + upright
