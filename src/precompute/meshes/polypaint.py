"""ZBrush's polypaint: colours of vertices in the comments of an OBJ file, as SculptGL writes them too.

Lines of `#MRGB` hold eight hexadecimal digits a vertex, MMRRGGBB, in the order of the vertices; MM is a mask.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from captionless.precompute.meshes.told import Told

_MARK = b"#MRGB"
_LINE = re.compile(rb"(?:\A|[\r\n])[^\S\r\n]*" + _MARK + rb"[^\S\r\n]+([0-9A-Fa-f]*)")
_DIGITS = 8


def polypaint(data: bytes, count: int, told: Told) -> NDArray[np.float32] | None:
    """(V, 4) colours as fractions, and opacity, of a file of `count` vertices; None if it has none, or another number
    of them, which is told."""
    if _MARK not in data:
        return None
    digits = b"".join(_LINE.findall(data))
    if len(digits) != _DIGITS * count:
        if digits:
            told("colours dropped", f"{len(digits) / _DIGITS:g} of #MRGB for {count} vertices")
        return None
    written = np.frombuffer(bytes.fromhex(digits.decode()), np.uint8).reshape(count, 4)
    found = np.ones((count, 4), np.float32)
    found[:, :3] = written[:, 1:] / np.float32(255)
    return found
