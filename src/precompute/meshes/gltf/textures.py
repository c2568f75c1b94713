"""Textures: which picture a material's `textureInfo` means, with which coordinates, and how it goes on at its edges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.mesh import Picture, Wrap
from captionless.precompute.meshes import pictures
from captionless.precompute.meshes.gltf.buffers import Buffers
from captionless.precompute.meshes.gltf.document import Document, Entry
from captionless.spec.data import ReadingLimits

_WRAPS: dict[int, Wrap] = {10497: "repeat", 33071: "clamp", 33648: "mirror"}
_NEAREST = 9728  # of `magFilter`

_DECODED = ("EXT_texture_webp",)
_PREFERABLY_NOT = ("KHR_texture_basisu", "EXT_texture_avif", "MSFT_texture_dds")  # only if there is no other picture


@dataclass(frozen=True)
class Texture:
    """picture: None if it is missing. coordinates: the number of the set, as in TEXCOORD_0. transform: (2, 3), applied
    to coordinates with v = 0 at the top."""

    picture: Picture | None
    name: str
    coordinates: int
    transform: NDArray[np.float64] | None

    def uv(self, stored: NDArray[np.float64]) -> NDArray[np.float64]:
        """(V, 2) of the picture, v = 0 at the bottom, from a set's (V, 2)."""
        moved = stored if self.transform is None else stored @ self.transform[:, :2].T + self.transform[:, 2]
        return np.stack([moved[:, 0], 1 - moved[:, 1]], 1)


class Textures:
    """Decodes each picture once."""

    def __init__(self, document: Document, buffers: Buffers, limits: ReadingLimits) -> None:
        self._document = document
        self._buffers = buffers
        self._limits = limits
        self._pictures: dict[int, Picture | None] = {}

    def texture(self, info: Entry) -> Texture:
        """What a `textureInfo` means. DataError for a damaged picture, or of a kind that is not read."""
        texture = self._document.get("textures", info.whole("index"), info.place("index"))
        picture, name = self._found(texture)
        transform = info.extension("KHR_texture_transform")
        coordinates = info.whole("texCoord", 0)
        if transform is not None:
            coordinates = transform.whole("texCoord", coordinates)
        return Texture(
            self._sampled(picture, texture) if picture is not None else None,
            name,
            coordinates,
            _matrix(transform) if transform is not None else None,
        )

    def _found(self, texture: Entry) -> tuple[Picture | None, str]:
        """The first of a texture's pictures that is there, None if none is, and its name: that of the first then."""
        name = ""
        for source, by in self._sources(texture):
            image = self._document.get("images", source, by)
            name = name or image.text("uri")[:100] or image.at
            if source not in self._pictures:
                self._pictures[source] = self._picture(image)
            if (picture := self._pictures[source]) is not None:
                return picture, image.text("uri")[:100] or image.at
        return None, name or f"{texture.at}, which names none"

    def _sources(self, texture: Entry) -> Iterator[tuple[int, str]]:
        """The numbers of a texture's pictures, the best first, each with the place that names it. There may be none,
        or only one of an extension that is not known."""
        for name in (*_DECODED, "", *_PREFERABLY_NOT):
            by = texture.extension(name) if name else texture
            if by is not None and (source := by.index("source")) is not None:
                yield source, by.place("source")

    def _picture(self, image: Entry) -> Picture | None:
        if (uri := image.text("uri")) and not image.has("bufferView"):
            content = self._buffers.file(uri)
            what = f"the texture {uri[:100]}" if uri[:5].lower() != "data:" else f"the texture {image.at}"
        else:
            view = self._buffers.view(image.whole("bufferView"), image.place("bufferView"))
            content, what = bytes(view.data), f"the texture {image.at}"
        return None if content is None else pictures.picture(content, what, self._limits)

    def _sampled(self, picture: Picture, texture: Entry) -> Picture:
        index = texture.index("sampler")
        if index is None:
            return picture
        sampler = self._document.get("samplers", index, texture.place("sampler"))
        wrap = _wrapping(sampler, "wrapS"), _wrapping(sampler, "wrapT")
        return replace(picture, wrap=wrap, is_sharp=sampler.whole("magFilter", 0) == _NEAREST)


def _wrapping(sampler: Entry, name: str) -> Wrap:
    value = sampler.whole(name, 10497)
    if value not in _WRAPS:
        raise DataError(f"{sampler.place(name)}: expected one of {sorted(_WRAPS)}, found {value}")
    return _WRAPS[value]


def _matrix(transform: Entry) -> NDArray[np.float64]:
    """(2, 3): scale, then turn, then move. It turns as the extension's example and all viewers do, which is the
    inverse of the matrix that its text writes."""
    angle = transform.number("rotation", 0.0)
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, sin], [-sin, cos]])
    scaled = turn * transform.vector("scale", (1.0, 1.0))
    return np.column_stack([scaled, transform.vector("offset", (0.0, 0.0))])
