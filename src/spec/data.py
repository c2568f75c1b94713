""""""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self

from pydantic import (
    Field,
    model_validator,
)

from captionless.spec.section import Section


class SourceKind(StrEnum):
    parametric = "parametric"
    folder = "folder"
    manifest = "manifest"
    points = "points"


class SourceSpec(Section):
    kind: SourceKind
    """`parametric` (the embedded demo world), `folder` (a sub-folder per category of meshes), `manifest`
    (JSONL of key, category, mesh, source, licence), `points` (npz or h5 of labelled clouds)."""
    url: str = ""
    """Where the folder, manifest or training clouds are; unused by `parametric`."""
    test_url: str = ""
    """`points` only: a second file whose clouds are the test split."""
    up: Literal["", "x", "y", "z"] = ""
    """The up axis of the meshes or clouds. May be left out where the format has a default (GLB, GLTF, OBJ: y)."""
    objects: int = Field(720, ge=1)
    """`parametric` only: training objects, dealt evenly over the categories."""
    test_objects: int = Field(240, ge=0)
    """`parametric` only: test objects, of attribute combinations that training never sees."""
    categories: tuple[str, ...] = ()
    """Only these categories; empty: all of them."""
    seed: int = 0
    """`parametric` only: which objects are drawn."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind is not SourceKind.parametric and not self.url:
            raise ValueError(f"url is required for kind: {self.kind}")
        return self


class DataSpec(Section):
    source: SourceSpec
    split: Literal["hash", "manifest"] = "hash"
    """`hash`: an object's split follows from a stable hash of its key; `manifest`: the source says it.
    `parametric` and `points` with a `testUrl` bring their own split whatever this says."""
    test_fraction: float = Field(0.2, ge=0, lt=1)
    """The share of objects that `split: hash` holds out."""
    views: int = Field(30, ge=1, le=360)
    """Views per object, at equally spaced azimuths (the method's R)."""
    image_size: int = Field(224, ge=16, le=2048)
    """Edge of a rendered view in pixels."""
    elevation: float = Field(20.0, ge=-89, le=89)
    """The camera's height above the horizon in degrees."""
    points: int = Field(10_000, ge=16)
    """Points stored per object, in farthest-point order."""
    shard_objects: int = Field(256, ge=1)
    """About how many objects a shard holds; the number of shards is a power of two, so that adding a few
    objects leaves the other shards as they are."""
    max_skipped: int = Field(0, ge=0)
    """How many broken objects may be left out, each counted and named; more than that ends the stage."""
