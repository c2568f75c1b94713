"""Materials: the colour of a surface as glTF says it, whichever way it is written.

Kept are base colour, opacity and what is emitted. A metal has its colour as base colour too, and is drawn in it: there
is nothing around an object that it could mirror. Of specular-glossiness materials `glossy` finds the base.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from captionless.errors import DataError
from captionless.mesh import Alpha
from captionless.precompute.meshes.gltf import glossy
from captionless.precompute.meshes.gltf.document import Document, Entry
from captionless.precompute.meshes.gltf.glossy import Base, Bases
from captionless.precompute.meshes.gltf.textures import Texture, Textures
from captionless.precompute.meshes.reading import Loss

_ALPHA: dict[str, Alpha] = {"OPAQUE": "opaque", "MASK": "mask", "BLEND": "blend"}


@dataclass(frozen=True)
class Material:
    """factor: linear light and opacity, which multiply `texture`. glow: linear light, which multiplies
    `glow_texture`. losses: what of the material is missing, its textures apart."""

    factor: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    texture: Texture | None = None
    glow: tuple[float, float, float] = (0.0, 0.0, 0.0)
    glow_texture: Texture | None = None
    alpha: Alpha = "opaque"
    cutoff: float = 0.5
    unlit: bool = False
    losses: tuple[Loss, ...] = ()

    @property
    def is_black(self) -> bool:
        """Whether nothing is seen of it but what it emits."""
        return max(self.factor[:3]) < glossy.BLACK


class Materials:
    """Reads each material once."""

    def __init__(self, document: Document, textures: Textures) -> None:
        self._document = document
        self._textures = textures
        self._found: dict[int, Material] = {}
        self._bases = Bases()

    def material(self, index: int | None, by: str) -> Material:
        """The material that `by`, a place in the document, names; white if it names none."""
        if index is None:
            return Material()
        if index not in self._found:
            self._found[index] = self._read(self._document.get("materials", index, by))
        return self._found[index]

    def _read(self, entry: Entry) -> Material:
        mode = entry.text("alphaMode", "OPAQUE")
        if mode not in _ALPHA:
            raise DataError(f"{entry.place('alphaMode')}: expected OPAQUE, MASK or BLEND, found {mode[:20]!r}")
        base = self._base(entry)
        unlit = entry.extension("KHR_materials_unlit") is not None
        glow, glow_texture = ((0.0, 0.0, 0.0), None) if unlit else self._emitted(entry)
        return Material(
            factor=base.factor,
            texture=base.texture,
            glow=glow,
            glow_texture=glow_texture,
            alpha=_ALPHA[mode],
            cutoff=entry.number("alphaCutoff", 0.5),
            unlit=unlit,
            losses=base.losses,
        )

    def _base(self, entry: Entry) -> Base:
        extension = entry.extension(glossy.NAME)
        if extension is not None:
            specular = _unit(extension, "specularFactor", (1.0, 1.0, 1.0))
            textures = (self._texture(extension, n) for n in ("diffuseTexture", "specularGlossinessTexture"))
            return self._bases.base(_color(extension, "diffuseFactor"), specular, *textures)
        pbr = entry.entry("pbrMetallicRoughness")
        if pbr is None:
            return Base((1.0, 1.0, 1.0, 1.0), None)
        return Base(_color(pbr, "baseColorFactor"), self._texture(pbr, "baseColorTexture"))

    def _emitted(self, entry: Entry) -> tuple[tuple[float, float, float], Texture | None]:
        strength = entry.extension("KHR_materials_emissive_strength")
        times = max(strength.number("emissiveStrength", 1.0), 0.0) if strength is not None else 1.0
        red, green, blue = (channel * times for channel in _unit(entry, "emissiveFactor", (0.0, 0.0, 0.0)))
        glow = (red, green, blue)
        return glow, self._texture(entry, "emissiveTexture") if max(glow) > 0 else None

    def _texture(self, entry: Entry, name: str) -> Texture | None:
        info = entry.entry(name)
        return self._textures.texture(info) if info is not None else None


def _unit(entry: Entry, name: str, default: tuple[float, float, float]) -> tuple[float, float, float]:
    red, green, blue = (float(c) for c in np.clip(entry.vector(name, default), 0, 1))
    return red, green, blue


def _color(entry: Entry, name: str) -> tuple[float, float, float, float]:
    red, green, blue, opacity = (float(c) for c in np.clip(entry.vector(name, (1.0, 1.0, 1.0, 1.0)), 0, 1))
    return red, green, blue, opacity
