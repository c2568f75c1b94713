"""Search queries: the file of a picture or shape, an object of the gallery, or else words.

    chair.png, s3://b/photo.jpg    a picture        by its content, or else its suffix, one of PICTURES
    chair.glb, scan.ply, scan.npy  a shape          a mesh in a supported format; a cloud, (P, 3) numbers or more, or a
                                                    PLY file without faces
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
from captionless.mesh import Up, points_y_up
from captionless.precompute import file_kinds, losses, point_files
from captionless.precompute.file_kinds import FileKind
from captionless.precompute.formats import DEFAULT_UP
from captionless.precompute.object_files import ObjectFiles
from captionless.stages import cloud_drawing
from captionless.stages.source_clouds import Cloud, stored_cloud
from captionless.store import objects
from captionless.store.gallery import Gallery
from captionless.store.views import encode_view, on_white
from captionless.telemetry.progress import say
from captionless.trainer.run_folder import model_digest, model_url

Kind = Literal["text", "picture", "shape", "object"]

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
CLOUDS = (".npy",)
_CLOUD_KINDS = ("npy",)
_FOLDERS = (".", "..")  # and all that is written with a slash; other names of folders may be words, as categories are
_NEITHER = "neither a picture nor a shape"
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
    """The query of a command-line argument. SpecError for an empty one, a folder, or a file that is none; DataError for
    a missing file."""
    kind, _, rest = text.partition(":")
    if kind in ("key", "text") and rest:
        return Query("object" if kind == "key" else "text", rest)
    if not text.strip():
        raise SpecError('query: expected words, a file or key:NAME, found ""')
    size, named = objects.size(text), file_kinds.by_name(text)
    if size is None:
        if named is not None and _kind_of(named) is not None:
            raise DataError(f"{text}: no such file; to search for these words, use text:{text}")
        if "://" in text:
            raise _unsupported(text, _NEITHER)
        if ("/" in text or text in _FOLDERS) and objects.exists(text):
            raise _unsupported(text, "a folder")
        return Query("text", text)
    head = objects.read_bytes(text, 0, min(size, file_kinds.HEAD)) if size else b""
    found = file_kinds.by_content(head, size) or named
    if found is None or (of_query := _kind_of(found)) is None:
        raise _unsupported(text, found.title if found is not None else _NEITHER)
    return Query(of_query, text)


def _kind_of(found: FileKind) -> Literal["picture", "shape"] | None:
    """What a kind of file is as a query, None for one that is not supported."""
    if found.shape == "picture":
        return "picture"
    return "shape" if found.shape == "mesh" or found.name in _CLOUD_KINDS else None


def _unsupported(text: str, what: str) -> SpecError:
    return SpecError(
        f"{text}: {what}; expected a picture ({', '.join(PICTURES)}), a shape (a mesh file or {', '.join(CLOUDS)}), "
        "or text:WORDS"
    )


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
        return vector, encode_view(cloud_drawing.draw(cloud))

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
    from captionless.precompute.meshfile import read_object  # brings decoders and compiled kernels
    from captionless.precompute.sources import Loaded

    name = posixpath.splitext(posixpath.basename(url))[0]
    data = objects.read_bytes(url)
    kind = file_kinds.kind_of(url, data, (*file_kinds.MESHES, *_CLOUD_KINDS), "a mesh or a NumPy array")
    if up is None and DEFAULT_UP.get(kind) is None:
        raise SpecError(f"--up: required, since {url} does not define an up axis; expected x, y or z")
    cloud = point_files.points(kind, data)
    if cloud is None:
        reading = read_object(ObjectFiles(url), up)  # which the user names: it may refer to files anywhere
        if reading.losses:
            say(f"{url}: lacks something that its file has: {losses.described(reading.losses)}")
        loaded = Loaded(mesh=reading.mesh)
    else:
        loaded = Loaded(points=points_y_up(_some(cloud, sampled, name), up or "y"))
    return stored_cloud(loaded, name, count, sampled, _WANTS, count)


_WANTS = "the encoder"


def _some(points: NDArray[np.float64], most: int, name: str) -> NDArray[np.float64]:
    """The points; of more than `most`, the size of stored clouds, a sample."""
    if len(points) <= most:
        return points
    random = np.random.default_rng(list(name.encode()))
    return points[np.sort(random.choice(len(points), most, replace=False))]
