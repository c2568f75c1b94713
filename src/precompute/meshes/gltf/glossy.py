"""KHR_materials_pbrSpecularGlossiness: one base colour of a diffuse and a specular one.

The base is the diffuse colour. Metals are black in it, and have their colour as the specular one, which then is the
base: of the whole material by its factors, of single texels where both have pictures. Other surfaces that are black
reflect little, and stay so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from captionless.mesh import Picture
from captionless.precompute.meshes.colour import linear, srgb
from captionless.precompute.meshes.gltf.textures import Texture
from captionless.precompute.meshes.reading import Loss

NAME = "KHR_materials_pbrSpecularGlossiness"

Color = tuple[float, float, float]
Factor = tuple[float, float, float, float]

BLACK = 1e-3
"""Of linear light, up to which a factor is black."""
_DARK = 4e-3  # likewise a texel, of a JPEG perhaps
_METAL = 0.2  # of linear light, from which on only metals reflect


@dataclass(frozen=True)
class Base:
    """factor: linear light and opacity, which multiply `texture`. losses: what of the specular colour is missing."""

    factor: Factor
    texture: Texture | None
    losses: tuple[Loss, ...] = ()


class Bases:
    """Mixes the same pictures once."""

    def __init__(self) -> None:
        self._mixed: dict[tuple[Any, ...], tuple[NDArray[np.uint8], NDArray[np.uint8], Picture | None]] = {}

    def base(self, diffuse: Factor, specular: Color, texture: Texture | None, gloss: Texture | None) -> Base:
        """The base of factors, and of the diffuse and the specular picture, whose opacity is glossiness."""
        if max(diffuse[:3]) < BLACK:
            if max(specular) < BLACK:
                return Base(diffuse, texture)
            return Base((*specular, diffuse[3]), gloss and replace(gloss, picture=_opaque(gloss.picture)))
        if texture is None or texture.picture is None or gloss is None:
            return Base(diffuse, texture)
        light = linear(texture.picture.texels[..., :3] / 255.0) * diffuse[:3]
        if not (light.max(axis=2) < _DARK).any():
            return Base(diffuse, texture)
        if gloss.picture is None:
            return Base(diffuse, texture, (Loss("texture missing", gloss.name),))
        if not _lie_alike(texture, gloss):
            return Base(
                diffuse, texture, (Loss("texture not read", f"{gloss.name}: lies otherwise than {texture.name}"),)
            )
        mixed = self._mix(diffuse, specular, texture.picture, gloss.picture, light)
        if mixed is None:
            return Base(diffuse, texture)
        return Base((1.0, 1.0, 1.0, diffuse[3]), replace(texture, picture=mixed))

    def _mix(
        self, diffuse: Factor, specular: Color, picture: Picture, gloss: Picture, light: NDArray[np.float64]
    ) -> Picture | None:
        """The picture, `light` by its factor, with the specular colour where that is a metal's; None if nowhere."""
        key = (id(picture.texels), id(gloss.texels), diffuse[:3], specular, picture.wrap, picture.is_sharp)
        if key not in self._mixed:
            height, width = picture.texels.shape[:2]
            levels = np.ascontiguousarray(gloss.texels[..., :3])
            if levels.shape[:2] != (height, width):
                levels = np.asarray(Image.fromarray(levels).resize((width, height), Image.Resampling.NEAREST))
            shine = linear(levels / 255.0) * specular
            metal = (light.max(axis=2) < _DARK) & (shine.max(axis=2) >= _METAL)
            found = None
            if metal.any():
                seen = np.rint(255.0 * srgb(np.where(metal[..., None], shine, light))).astype(np.uint8)
                found = replace(picture, texels=np.dstack([seen, picture.texels[..., 3]]))
            self._mixed[key] = picture.texels, gloss.texels, found  # kept, so that no other arrays get their ids
        return self._mixed[key][2]


def _opaque(picture: Picture | None) -> Picture | None:
    if picture is None:
        return None
    return replace(
        picture, texels=np.dstack([picture.texels[..., :3], np.full(picture.texels.shape[:2], 255, np.uint8)])
    )


def _lie_alike(one: Texture, other: Texture) -> bool:
    assert one.picture is not None
    assert other.picture is not None
    whole = np.eye(2, 3)
    first, second = (whole if texture.transform is None else texture.transform for texture in (one, other))
    alike = (one.coordinates, one.picture.wrap) == (other.coordinates, other.picture.wrap)
    return alike and np.array_equal(first, second)
