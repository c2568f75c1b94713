"""Search queries: the file of a picture or shape, an object of the gallery, or else words.

    chair.png, s3://b/photo.jpg    a picture        by its suffix, one of PICTURES
    chair.glb, scan.ply, scan.npy  a shape          a supported mesh format, or CLOUDS: (P, 3) numbers or more
    key:chair-test-0012            an object of the gallery
    a chair with arms              words; prefix `text:` if they would read as one of the above

Every query becomes one unit vector in the space that CLIP and the encoder share. A shape is sampled, normalised, put
in farthest-point order and encoded like those of the gallery.
"""

from __future__ import annotations

import io
import posixpath
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from captionless.clip import checkpoints, openclip
from captionless.errors import DataError, SpecError
from captionless.eval import prompts, zero_shot
from captionless.mesh import Up
from captionless.precompute.formats import DEFAULT_UP, file_type
from captionless.stages.search import drawing
from captionless.stages.source_clouds import Cloud, stored_cloud
from captionless.store import objects
from captionless.store.gallery import Gallery
from captionless.store.shards import decode_array
from captionless.store.views import encode_view, on_white
from captionless.trainer.run_folder import model_digest, model_url

Kind = Literal["text", "picture", "shape", "object"]

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
CLOUDS = (".npy",)
AS_IT_IS = "{}"
"""The template that leaves the words unchanged."""

_THUMBNAIL = 256


@dataclass(frozen=True)
class Query:
    """A query: its kind, and the words, the file's URL or the object's key."""

    kind: Kind
    what: str


@dataclass(frozen=True)
class EmbeddedQuery:
    """A query as a unit vector (D,) in the gallery's space, with its picture as an image file, if any."""

    query: Query
    vector: NDArray[np.floating]
    picture: bytes | None = None


def parse(text: str) -> Query:
    """The query of a command-line argument. SpecError for an empty one, DataError for a missing file."""
    kind, _, rest = text.partition(":")
    if kind in ("key", "text") and rest:
        return Query("object" if kind == "key" else "text", rest)
    if not text.strip():
        raise SpecError('query: expected words, a file or key:NAME, found ""')
    found = _kind_of_file(text)
    if found is None and ("://" in text or objects.size(text) is not None):
        raise SpecError(
            f"{text}: unsupported file type; expected a picture ({', '.join(PICTURES)}), a shape (a mesh file or "
            f"{', '.join(CLOUDS)}), or text:WORDS"
        )
    if found is not None and objects.size(text) is None:
        raise DataError(f"{text}: no such file; to search for these words, use text:{text}")
    return Query(found or "text", text)


def _kind_of_file(text: str) -> Literal["picture", "shape"] | None:
    """The kind of file, by its suffix."""
    suffix = posixpath.splitext(text)[1].lower()
    if not suffix or suffix in PICTURES:
        return "picture" if suffix else None
    return "shape" if suffix in CLOUDS or file_type(text) else None


class Embedder:
    """Embeds queries for a gallery; models are loaded on first use.

    checkpoint: the model file that the gallery was built with, or its run's folder; None for the URL that the gallery
    names. Only shapes need it. up: the up axis of files that do not define it. prompt: a name or template of
    `eval.prompts`, for words.

    Raises:
        SpecError: a model other than the gallery's, or none there; a CLIP model other than the one it was trained
            against; an invalid prompt.
    """

    def __init__(self, gallery: Gallery, checkpoint: str | None, up: Up | None, prompt: str) -> None:
        self._gallery, self._checkpoint, self._up = gallery, checkpoint, up
        self._templates = prompts.templates(prompt)
        if checkpoint is not None:
            _same_model(gallery, checkpoint)

    def text(self, words: str) -> NDArray[np.float64]:
        """(D,): the mean over the templates' texts, as for classes in zero-shot classification."""
        texts = self._clip.texts([template.format(words) for template in self._templates])
        vector: NDArray[np.float64] = zero_shot.class_vectors(texts[None])[0]
        return vector

    def picture(self, url: str) -> tuple[NDArray[np.float32], bytes]:
        """(D,) of a picture, transparent parts on white, and a thumbnail of it."""
        try:
            with Image.open(io.BytesIO(objects.read_bytes(url))) as opened:
                rgba = np.asarray(ImageOps.exif_transpose(opened).convert("RGBA"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"{url}: cannot read the picture ({error})") from error
        small = Image.fromarray(on_white(rgba))
        vector = self._clip.images([np.asarray(small)])[0]
        small.thumbnail((_THUMBNAIL, _THUMBNAIL))
        sink = io.BytesIO()
        small.save(sink, "WEBP", quality=85)
        return vector, sink.getvalue()

    def shape(self, url: str) -> tuple[NDArray[np.float32], bytes]:
        """(D,) of a mesh or cloud, and a drawing of the encoder's input."""
        from captionless.trainer.infer import encode_points

        encoder, count = self._encoder, int(self._gallery.about["model"]["points"])
        try:
            cloud = _cloud(url, self._up, count, int(self._gallery.about["sampled"]))
        except DataError as error:
            raise DataError(f"{url}: {str(error).removeprefix(f'{url}: ')}") from error
        vector = encode_points(encoder, cloud[None], count)[0]
        return vector, encode_view(drawing.draw(cloud))

    @cached_property
    def _clip(self) -> openclip.Clip:
        about = self._gallery.about["clip"]
        model, pretrained = about["model"], about["pretrained"] or None
        if not checkpoints.is_of(about["identity"], model, pretrained):
            raise SpecError(
                f"{self._gallery.url}: its encoder was trained against other weights of the CLIP model {model} than "
                "those installed here"
            )
        return openclip.load(model, pretrained)

    @cached_property
    def _encoder(self) -> Any:
        from captionless.trainer.model_file import load_model

        sha256 = self._gallery.about["model"]["sha256"]
        return load_model(self._checkpoint or _own_model(self._gallery), sha256)[0]


def _same_model(gallery: Gallery, checkpoint: str) -> None:
    """SpecError unless the checkpoint is the one that the gallery was built with."""
    expected, found = gallery.about["model"], model_digest(checkpoint)
    if found != expected["sha256"]:
        raise SpecError(
            f"{model_url(checkpoint)}: not the model that {gallery.url} was built with, {expected['url']} "
            f"(sha256 {found[:12]}, expected {expected['sha256'][:12]}); pass that one with "
            "--checkpoint, or rebuild the gallery"
        )


def _own_model(gallery: Gallery) -> str:
    """The URL of the model that the gallery names. SpecError if it is not there any more, or has changed."""
    url, sha256 = gallery.about["model"]["url"], gallery.about["model"]["sha256"]
    try:
        _same_model(gallery, url)
    except DataError as error:
        raise SpecError(
            f"--checkpoint: required to search by shape, since {url}, which {gallery.url} was built with "
            f"(sha256 {sha256[:12]}), is missing"
        ) from error
    return str(url)


def _cloud(url: str, up: Up | None, count: int, sampled: int) -> Cloud:
    """The first points of a file's shape in the form of stored clouds, sampled with a seed from the file's name."""
    from captionless.precompute.meshfile import load_mesh  # brings trimesh
    from captionless.precompute.sources import Loaded

    name = posixpath.splitext(posixpath.basename(url))[0]
    kind = file_type(url)
    if up is None and (kind is None or DEFAULT_UP[kind] is None):
        raise SpecError(f"--up: required, since {url} does not define an up axis; expected x, y or z")
    if kind is None:
        loaded = Loaded(points=_points(url, up or "y", sampled, name))
    else:
        loaded = Loaded(mesh=load_mesh(url, up))
    return stored_cloud(loaded, name, count, sampled, _WANTS, count)


_WANTS = "the encoder"


def _points(url: str, up: Up, most: int, name: str) -> NDArray[np.float32]:
    """(P, 3): the points of a .npy, y up; of more than `most`, the size of stored clouds, a sample."""
    from captionless.mesh import points_y_up

    points = decode_array(objects.read_bytes(url), url)
    if points.ndim != 2 or points.shape[1] < 3 or points.dtype.kind not in "fiu":
        raise DataError(f"is {points.dtype} {points.shape}, expected numbers (P, 3): xyz; further columns are ignored")
    xyz = points[:, :3].astype(np.float32)
    if len(xyz) > most:
        random = np.random.default_rng(list(name.encode()))
        xyz = xyz[np.sort(random.choice(len(xyz), most, replace=False))]
    return points_y_up(xyz, up).astype(np.float32)
