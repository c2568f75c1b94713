"""Pix3D (Sun et al., 2018): 10,069 photographs of furniture and tools, and the exact shape that each shows.

    pix3d.json     [{img, mask, model, category, img_size, bbox, ...}], paths below the folder
    img/bed/0001.png ..., mask/bed/0001.png ..., model/bed/IKEA_MALM_2/... .obj

The unique `model` files are the shapes, y up; `img` shows one of them. `mask` is its silhouette, white on black, of the
picture's size. Masking makes everything outside it white, as in rendered views. Cropping cuts the picture to the square
around `bbox` (left, top, right, bottom), padded with white beyond the picture's edge.

A picture or mask whose size is not `img_size`, as a few published ones are, is broken: it is reported by name.
"""

from __future__ import annotations

import io
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, Field, ValidationError

from captionless.errors import CaptionlessError, DataError, one_line
from captionless.precompute.meshfile import read_mesh
from captionless.precompute.object_files import MeshFile, Scope
from captionless.precompute.sources.base import Loaded, ObjectRef, clean_key
from captionless.precompute.testsets.base import About, Photo, Photos, object_ref
from captionless.store import objects

_OBJECT = 128  # of a mask's 0..255: from here on it is the object
_WHITE = 255


class Entry(BaseModel):
    """What is read of an entry of pix3d.json; it has more."""

    img: str = Field(min_length=1)
    mask: str = Field(min_length=1)
    model: str = Field(min_length=1)
    category: str = Field(min_length=1)
    img_size: tuple[int, int]
    bbox: tuple[float, float, float, float]


@dataclass(frozen=True)
class Pix3D:
    """The shapes, and the photographs of them."""

    about: About
    listed: Sequence[ObjectRef]
    photos: Photos
    files: Sequence[str]

    def refs(self) -> Sequence[ObjectRef]:
        return self.listed

    def load(self, ref: ObjectRef) -> Loaded:
        return Loaded(mesh=read_mesh(self.mesh_file(ref).open(), "y"))

    def mesh_file(self, ref: ObjectRef) -> MeshFile:
        root = posixpath.dirname(self.files[0])
        return MeshFile(str(ref.url), "y", Scope((root,), root))


def read(url: str | None, masked: bool, crop: bool) -> Pix3D:
    """The set below `url`. SpecError for missing files, DataError for an invalid list."""
    about = About(
        name="pix3d-masked" if masked else "pix3d",
        title="Pix3D" + (", background removed" if masked else ""),
        count=10069,
        unit="picture",
        home="http://pix3d.csail.mit.edu/data/pix3d.zip",
        terms="CC BY 4.0",
        layout=("pix3d.json", "img/CATEGORY/...", "mask/CATEGORY/...", "model/CATEGORY/NAME/... .obj"),
    )
    index = about.find(url, "pix3d.json")
    root = posixpath.dirname(index)
    for folder in ("img", "mask", "model"):
        about.find(root, folder)
    listed = objects.read_json(index)
    if not isinstance(listed, list) or not listed:
        raise DataError(f"{index}: expected a list of pictures")
    entries = [_entry(index, number, item) for number, item in enumerate(listed)]
    shapes = {entry.model: entry for entry in reversed(entries)}
    refs = [object_ref(about, _key(m), shapes[m].category, objects.join(root, m)) for m in sorted(shapes)]
    photos = [Photo(e.img, _key(e.model), partial(_photo, root, e, masked, crop)) for e in entries]
    described = {"background": "white" if masked else "kept", "crop": "square about bbox" if crop else "none"}
    return Pix3D(about, refs, Photos(photos, described), [index])


def _entry(index: str, number: int, item: Any) -> Entry:
    try:
        return Entry.model_validate(item)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the entry"
        raise DataError(f"{index}: entry {number}: {where}: {first['msg'].lower()}") from None


def _key(model: str) -> str:
    return clean_key(posixpath.splitext(model)[0])


def _photo(root: str, entry: Entry, masked: bool, crop: bool) -> NDArray[np.uint8]:
    picture = _picture(root, entry.img, entry.img_size, "RGB")
    if masked:
        mask = _picture(root, entry.mask, entry.img_size, "L")
        picture = np.where(mask[..., None] >= _OBJECT, picture, np.uint8(_WHITE))
    return _square(picture, entry.bbox) if crop else picture


def _picture(root: str, path: str, size: tuple[int, int], mode: str) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(objects.read_bytes(objects.join(root, path)))) as picture:
            pixels = np.asarray(picture.convert(mode))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (CaptionlessError, MemoryError):
        raise
    except Exception as error:  # Pillow raises whatever a damaged file makes it stumble over
        raise DataError(f"{path}: truncated or damaged picture ({one_line(error)})") from error
    if pixels.shape[1::-1] != size:
        raise DataError(f"{path}: size {pixels.shape[1]} x {pixels.shape[0]}, but img_size is {size[0]} x {size[1]}")
    return pixels


def _square(picture: NDArray[np.uint8], bbox: tuple[float, float, float, float]) -> NDArray[np.uint8]:
    """The smallest square about a box's centre that holds the box, white where it leaves the picture."""
    height, width = picture.shape[:2]
    left, right = np.clip(bbox[::2], 0, width)
    top, bottom = np.clip(bbox[1::2], 0, height)
    if not (left < right and top < bottom):
        raise DataError(f"bbox {list(bbox)} is empty within the picture of {width} x {height}")
    side = int(np.ceil(max(right - left, bottom - top)))
    x, y = (int(np.floor((low + high - side) / 2)) for low, high in ((left, right), (top, bottom)))
    square = np.full((side, side, 3), _WHITE, np.uint8)
    inside = picture[max(y, 0) : y + side, max(x, 0) : x + side]
    at_y, at_x = max(-y, 0), max(-x, 0)
    square[at_y : at_y + inside.shape[0], at_x : at_x + inside.shape[1]] = inside
    return square
