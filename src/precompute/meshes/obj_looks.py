"""How faces with a material look: an MTL material -> what a `MeshPart` has besides its geometry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from captionless.mesh import Glow, Picture, Wrap
from captionless.precompute.meshes.colour import linear
from captionless.precompute.meshes.finding import Finder
from captionless.precompute.meshes.mtl import Color, Map, Material
from captionless.precompute.meshes.told import Told
from captionless.precompute.meshes.written_colors import see_through

GREY = (178, 178, 178)
WHITE = (255, 255, 255)
_BLACK = (0.0, 0.0, 0.0)
_OPAQUE = 255


@dataclass(frozen=True)
class Look:
    """A material with its pictures. by: the URL of its library, which its pictures' names start from."""

    material: Material
    by: str
    finder: Finder
    told: Told

    def of(self, uv: NDArray[np.float64] | None, vertex_colors: NDArray[np.float32] | None) -> dict[str, Any]:
        """What a part is made with, the vertices apart: its texture if there is uv (V, 2); else the vertices' colours
        (V, 4) if there are any, which an exporter writes beside a material that has none of its own; else the
        material's. Vertices that are white all over say nothing: exporters fill in that."""
        if vertex_colors is not None and (vertex_colors == 1.0).all():
            vertex_colors = None
        maps = self.material.maps if uv is not None else {}
        if uv is None and self.material.maps:
            self.told("texture coordinates missing", f"of faces with the material {self.material.name}")
        found: dict[str, Any] = {}
        texture = self._picture(maps.get("diffuse"))
        glow = self._glow(uv, maps.get("emission"))
        missing = "diffuse" in self.material.maps and texture is None
        unlit = "emission" in self.material.maps and glow is None
        if texture is None and vertex_colors is not None:
            found.update(color=WHITE, vertex_colors=vertex_colors, alpha=see_through(vertex_colors))
        elif (missing and uv is not None) or ((missing or unlit) and self.material.diffuse in (None, _BLACK)):
            found["color"] = GREY  # the colour beside a texture is often black
        else:
            found["color"] = levels(self.material.diffuse)
        mask = self._picture(maps.get("opacity"))
        if mask is not None and texture is not None and says_nothing(texture, mask):
            mask = None
        lies = maps.get("diffuse") if texture is not None else maps.get("opacity")
        if mask is not None:
            texture = masked(texture or _plain(found.pop("color"), mask), mask)
            found.pop("vertex_colors", None)
            found["alpha"] = "blend"
            if texture is not None and "diffuse" in maps and not _lie_alike(maps["diffuse"], maps["opacity"]):
                self.told("option ignored", f"map_d {maps['opacity'].name}: lies otherwise than map_Kd")
        if texture is not None and uv is not None and lies is not None:
            found.update(texture=texture, uv=self._laid(uv, lies))
        if self.material.opacity < 1.0:
            found.update(factor=(1.0, 1.0, 1.0, self.material.opacity), alpha="blend")
        if glow is not None:
            found["glow"] = glow
        return found

    def _picture(self, named: Map | None) -> Picture | None:
        if named is None:
            return None
        for option in named.ignored:
            self.told("option ignored", f"{option} of {named.name}")
        wrap: Wrap = "clamp" if named.clamp else "repeat"
        return self.finder.picture(named.name, self.by, wrap)

    def _glow(self, uv: NDArray[np.float64] | None, named: Map | None) -> Glow | None:
        """What the material emits: by its map, if it has one, and nothing where that is missing."""
        color = self.material.emission
        if "emission" not in self.material.maps:
            return Glow(_linear(color)) if color is not None and any(color) else None
        picture = self._picture(named)
        if picture is None or uv is None or named is None:
            return None
        return Glow(_linear(color or (1.0, 1.0, 1.0)), self._laid(uv, named), picture)

    def _laid(self, uv: NDArray[np.float64], named: Map) -> NDArray[np.float64]:
        """Texture coordinates by the options of a map."""
        if named.scale == (1.0, 1.0) and named.offset == (0.0, 0.0):
            return uv
        with np.errstate(over="ignore"):
            laid = uv * named.scale + named.offset
        if not np.isfinite(laid).all():
            self.told("texture coordinates missing", "some are not finite")
            laid = np.where(np.isfinite(laid), laid, 0.0)
        return laid


def levels(color: Color | None) -> tuple[int, int, int]:
    """A colour in 0..1 as levels; grey where there is none."""
    if color is None:
        return GREY
    red, green, blue = (round(255 * c) for c in color)
    return red, green, blue


def says_nothing(picture: Picture, mask: Picture) -> bool:
    """Whether a mask is the picture itself, without alpha: exporters that link its alpha write that, and do not mean
    its brightness."""
    return bool((mask.texels[..., 3] == _OPAQUE).all()) and np.array_equal(mask.texels, picture.texels)


def masked(picture: Picture, mask: Picture) -> Picture:
    """A picture with the opacity that another says: by its alpha, if that varies, or else by its brightness."""
    height, width = picture.texels.shape[:2]
    alpha = mask.texels[..., 3]
    if (alpha == _OPAQUE).all():
        alpha = np.asarray(Image.fromarray(np.ascontiguousarray(mask.texels[..., :3])).convert("L"))
    if alpha.shape != (height, width):
        alpha = np.asarray(Image.fromarray(np.ascontiguousarray(alpha)).resize((width, height)))
    return replace(picture, texels=np.dstack([picture.texels[..., :3], alpha]))


def _plain(color: tuple[int, int, int], like: Picture) -> Picture:
    texels = np.empty_like(like.texels)
    texels[:] = (*color, _OPAQUE)
    return replace(like, texels=texels)


def _lie_alike(one: Map, other: Map) -> bool:
    return (one.scale, one.offset, one.clamp) == (other.scale, other.offset, other.clamp)


def _linear(color: Color) -> Color:
    red, green, blue = linear(color).tolist()
    return red, green, blue
