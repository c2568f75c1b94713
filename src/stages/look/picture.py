"""The pictures of a contact sheet, and all of them with its text as one PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from captionless.mesh import Picture
from captionless.stages import cloud_drawing
from captionless.stages.look.measure import Seen
from captionless.stages.look.sheet import Sheet
from captionless.store.views import on_white

TILE = 224
"""Pixels of a picture's side in a sheet."""

_GAP, _LINE, _COLUMNS, _WIDEST, _CAPTION = 12, 16, 4, 130, 34
_INK, _SOFT, _WARNING, _PAPER = (29, 33, 37), (90, 98, 107), (168, 58, 70), (252, 252, 250)
_CHECKS = ((255, 255, 255), (214, 217, 220))


def of_object(seen: Seen) -> Sheet:
    """The sheet of one object."""
    return Sheet(
        seen.title,
        "The object as it is read: what it looks like, where it is, and what of its file is missing.",
        tiles(seen),
        seen.facts,
        seen.warnings,
        "Views are named by the azimuth of the camera.",
    )


def tiles(seen: Seen) -> list[tuple[str, Image.Image]]:
    """All pictures with their captions: views, cloud, textures."""
    found = [
        (f"{azimuth:g}°", Image.fromarray(on_white(view)))
        for azimuth, view in zip(seen.azimuths, seen.views, strict=True)
    ]
    drawn = cloud_drawing.draw(seen.cloud, colored=True)
    found.append((f"cloud, {len(seen.cloud):,} points", Image.fromarray(on_white(drawn))))
    for number, texture in enumerate(seen.textures, 1):
        height, width = texture.texels.shape[:2]
        found.append((f"texture {number}, {width} x {height}, {' '.join(texture.wrap)}", on_checks(texture)))
    return [(caption, _fitted(picture)) for caption, picture in found]


def cloud_tile(cloud: NDArray[np.floating], reach: float) -> Image.Image:
    """A cloud (P, 3) as a tile, see `cloud_drawing.draw`."""
    return Image.fromarray(on_white(cloud_drawing.draw(cloud, TILE, reach=reach)))


def on_checks(texture: Picture) -> Image.Image:
    """A texture of a tile's size at most, on a checkerboard where it is transparent."""
    small = Image.fromarray(texture.texels)
    small.thumbnail((TILE, TILE))
    rows, columns = np.indices((small.height, small.width)) // 8
    board: NDArray[np.uint8] = np.where(((rows + columns) % 2 == 0)[..., None], *_CHECKS).astype(np.uint8)
    below = Image.fromarray(board)
    below.paste(small, mask=small.getchannel("A"))
    return below


def png(sheet: Sheet) -> bytes:
    """The whole sheet as a PNG file."""
    font = ImageFont.load_default(13)
    lines = [(sheet.title, _INK), *((f"warning: {each}", _WARNING) for each in sheet.warnings or ())]
    lines += [(f"{name}: {value}", _SOFT) for name, value in sheet.facts]
    wrapped = [(part, color) for text, color in lines for part in _wrapped(text)]
    cell = TILE + _LINE + _GAP
    rows = -(-len(sheet.pictures) // _COLUMNS)
    width = _GAP + _COLUMNS * (TILE + _GAP)
    top = _GAP + _LINE * len(wrapped) + _GAP
    found = Image.new("RGB", (width, top + rows * cell), _PAPER)
    draw = ImageDraw.Draw(found)
    for number, (text, color) in enumerate(wrapped):
        draw.text((_GAP, _GAP + number * _LINE), _drawable(text), color, font)
    for number, (caption, tile) in enumerate(sheet.pictures):
        left, upper = _GAP + number % _COLUMNS * (TILE + _GAP), top + number // _COLUMNS * cell
        found.paste(tile, (left, upper))
        draw.rectangle((left - 1, upper - 1, left + TILE, upper + TILE), outline=(223, 226, 229))
        draw.text((left, upper + TILE + 2), _drawable(_shortened(caption)), _SOFT, font)
    sink = io.BytesIO()
    found.save(sink, "PNG")
    return sink.getvalue()


def _fitted(picture: Image.Image) -> Image.Image:
    """In the middle of a white tile, as large as it goes."""
    scale = TILE / max(picture.size)
    size = [max(1, round(side * scale)) for side in picture.size]
    grown = picture.resize((size[0], size[1]), Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST)
    tile = Image.new("RGB", (TILE, TILE), (255, 255, 255))
    tile.paste(grown, ((TILE - size[0]) // 2, (TILE - size[1]) // 2))
    return tile


def _wrapped(text: str) -> Sequence[str]:
    """Pieces that fit into a sheet's width."""
    return [text[start : start + _WIDEST] for start in range(0, len(text), _WIDEST)] or [""]


def _shortened(caption: str) -> str:
    """A caption that a tile has room for: of a long key the end, which tells it from its neighbours."""
    return caption if len(caption) <= _CAPTION else f"..{caption[2 - _CAPTION :]}"


def _drawable(text: str) -> str:
    """What the font has, which is Latin; `?` for the rest."""
    return "".join(c if c.isprintable() and ord(c) < 0x250 else "?" for c in text)
