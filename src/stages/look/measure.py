"""Reads one object, and measures what a contact sheet shows of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError, SpecError, did_you_mean
from captionless.mesh import Mesh, Picture, Up
from captionless.precompute import losses
from captionless.precompute.formats import DEFAULT_UP, axis_of, file_type
from captionless.precompute.isolated_reader import IsolatedReader
from captionless.precompute.object_files import MeshFile, Scope
from captionless.precompute.pointcloud import cloud
from captionless.precompute.render import Renderer
from captionless.precompute.sources import FileSeen, Loaded, ObjectRef, open_source
from captionless.precompute.surface import areas, triangles
from captionless.precompute.visibility import shown
from captionless.spec.load import load_spec
from captionless.stages.eval_dataset import is_cloud_file
from captionless.store import objects
from captionless.store.file_index import FileIndex

_SIZE = 224  # pixels of a view of a file
_ELEVATION = 20.0
_POINTS = 2048  # of a cloud that is drawn
_FAR = 1000  # extents from the origin, from which a single's coordinates are coarse
_KEYS = 20_000  # that are compared with an unknown one


@dataclass(frozen=True)
class Seen:
    """An object as it was read.

    facts: names and values in words. warnings: what is lost or doubtful, in words. views: (V, S, S, 4) uint8 RGBA, at
    `azimuths` degrees. cloud: (n, 6) as stored. textures: each once.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    warnings: Sequence[str]
    views: NDArray[np.uint8]
    azimuths: Sequence[float]
    cloud: NDArray[np.float16]
    textures: Sequence[Picture]


class _OneFile:
    """A mesh file as a source of one object."""

    def __init__(self, url: str, up: Up | None) -> None:
        self._url, self._up = url, up

    def mesh_file(self, ref: ObjectRef) -> MeshFile:
        """It may name files anywhere: the user has named it."""
        return MeshFile(self._url, self._up, Scope())

    def load(self, ref: ObjectRef) -> Loaded:
        raise NotImplementedError("it is read in a process of its own")


def of_file(url: str, up: Up | None, views: int) -> Seen:
    """A mesh file. SpecError when its format defines no up axis and `up` is None; DataError when it cannot be read."""
    if objects.size(url) is None:
        raise DataError("no such file; expected a mesh, or a spec and the key of an object of it")
    if url.endswith((".yaml", ".yml")):
        raise SpecError(f"{url}: a spec needs the key of one of its objects: captionless look {url} KEY")
    if is_cloud_file(url):
        raise SpecError(f"{url}: has clouds; expected a mesh file")
    kind = file_type(url)
    if kind is not None and up is None and DEFAULT_UP[kind] is None:
        raise SpecError(f"--up: required, since {kind.upper()} files do not define their up axis; expected x, y or z")
    ref = ObjectRef(url, "", "train", "", "", url=url)
    with IsolatedReader(_OneFile(url, up)) as reader:
        loaded = reader.load(ref)
    axis = f"{axis_of(kind, up)}, turned to y" if kind is not None else "of its format, turned to y"
    return _seen(url, loaded, [("up axis of the file", axis)], views, _SIZE, _ELEVATION)


def of_spec(where: str, key: str, overrides: Sequence[str], views: int) -> Seen:
    """An object of a spec's source, rendered as the spec says. SpecError for an unknown key."""
    data = load_spec(where, overrides).data
    source = open_source(data)
    ref = next((each for each in source.stream(FileIndex()) if each.key == key), None)
    if ref is None:
        known = [each.key for each in islice(source.stream(FileIndex()), _KEYS)]
        raise SpecError(f"{where}: its source has no object {key!r}{did_you_mean(key, known)}")
    with IsolatedReader(source, data.limits) as reader:
        loaded = reader.load(ref)
    about = [("category", ref.category), ("split", ref.split), ("source", ref.source), ("licence", ref.licence)]
    seen = _seen(key, loaded, about, min(views, data.views), data.image_size, data.elevation)
    if reason := losses.refused(loaded.losses, data.strict):
        return Seen(**{**vars(seen), "warnings": [f"broken for this spec: {reason}", *seen.warnings]})
    return seen


def _seen(
    title: str, loaded: Loaded, about: Sequence[tuple[str, str]], views: int, size: int, elevation: float
) -> Seen:
    mesh = loaded.mesh
    if mesh is None:
        raise DataError("has points but no mesh")
    textures = {id(t): t for part in mesh.parts for t in (part.texture, part.glow and part.glow.picture) if t}
    facts = [*about, *_facts(mesh, list(textures.values())), *_files(loaded.files)]
    return Seen(
        title,
        facts,
        [*map(losses.text, loaded.losses), *_doubts(mesh)],
        Renderer(views, size, elevation).render(mesh),
        [360.0 * pose / views for pose in range(views)],
        cloud(mesh, _POINTS, title),
        list(textures.values()),
    )


def _facts(mesh: Mesh, textures: Sequence[Picture]) -> list[tuple[str, str]]:
    corners = triangles(shown(mesh)).reshape(-1, 3)
    low, high = corners.min(axis=0), corners.max(axis=0)
    kinds = {
        "textures": sum(part.texture is not None for part in mesh.parts),
        "vertex colours": sum(part.vertex_colors is not None for part in mesh.parts),
        "face colours": sum(part.face_colors is not None for part in mesh.parts),
        "blending": sum(part.alpha == "blend" for part in mesh.parts),
        "cut-outs": sum(part.alpha == "mask" for part in mesh.parts),
        "glow": sum(part.glow is not None for part in mesh.parts),
    }
    looks = ", ".join(f"{kind} in {count:,}" for kind, count in kinds.items() if count) or "plain colours"
    return [
        ("faces", f"{mesh.face_count:,}"),
        ("vertices", f"{sum(len(part.vertices) for part in mesh.parts):,}"),
        ("parts", f"{len(mesh.parts):,}: {looks}"),
        ("pictures", ", ".join(f"{t.texels.shape[1]} x {t.texels.shape[0]}" for t in textures) or "none"),
        *((f"{axis}, y up", f"{a:.6g} to {b:.6g}") for axis, a, b in zip("xyz", low, high, strict=True)),
        ("extent", " x ".join(f"{side:.6g}" for side in high - low)),
    ]


def _files(files: Sequence[FileSeen]) -> list[tuple[str, str]]:
    if not files:
        return []
    return [("files", ", ".join(f"{f.path}{'' if f.version else ' (missing)'}" for f in files))]


def _doubts(mesh: Mesh) -> list[str]:
    """What is not lost, and often wrong all the same."""
    corners = triangles(mesh)
    flat = int((areas(corners) == 0).sum())
    points = triangles(shown(mesh)).reshape(-1, 3)
    low, high = points.min(axis=0), points.max(axis=0)
    extent, away = float((high - low).max()), float(np.abs(low / 2 + high / 2).max())
    found = []
    if flat:
        found.append(f"{flat:,} of {len(corners):,} faces have no area")
    if away > _FAR * extent:
        found.append(f"it is {away / extent:,.0f} times its extent away from the origin, as at coordinates of a map")
    if float((high - low).min()) == 0:
        found.append("it is flat")
    return found
