"""The `data` section: where the objects come from, and how they are packed."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, model_validator

from captionless.spec.section import Section


class SourceKind(StrEnum):
    """Kinds of sources of objects."""

    parametric = "parametric"
    folder = "folder"
    manifest = "manifest"
    points = "points"


class SourceSpec(Section):
    """Where the objects come from."""

    kind: SourceKind
    """`parametric`: the embedded demo world. `folder`: meshes, in one sub-folder per category. `manifest`: a JSONL file
    with key, category, mesh, source and licence of each object. `points`: labelled point clouds (npz or h5)."""
    url: str = ""
    """URL or path of the folder, the manifest or the training clouds. Required, except for `parametric`."""
    test_url: str = ""
    """`points` only: a second file, whose clouds are the test split; empty: `split` decides."""
    up: Literal["", "x", "y", "z"] = ""
    """Up axis of the meshes or clouds. Optional for formats that define one (GLB, GLTF and OBJ: y)."""
    objects: int = Field(720, ge=1)
    """`parametric` only: number of training objects, distributed evenly over the categories."""
    test_objects: int = Field(240, ge=0)
    """`parametric` only: number of test objects, with combinations of attributes that no training object has."""
    categories: tuple[str, ...] = ()
    """Use only these categories; empty: all."""
    seed: int = 0
    """`parametric` only: seed of the generated objects."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind is not SourceKind.parametric and not self.url:
            raise ValueError(f"url is required for kind: {self.kind}")
        return self


class DataSpec(Section):
    """The objects: where they come from, how they are split, rendered and sampled."""

    source: SourceSpec
    split: Literal["hash", "manifest"] = "hash"
    """How objects are split into training and test. `hash`: by a stable hash of the object's key. `manifest`: as the
    source states. `parametric` sources, and `points` with a `testUrl`, define their own split and ignore this field."""
    test_fraction: float = Field(0.2, ge=0, lt=1)
    """Share of the objects that `split: hash` holds out for testing."""
    views: int = Field(30, ge=1, le=360)
    """Rendered views per object, at equally spaced azimuths (R in docs/method.md)."""
    image_size: int = Field(224, ge=16, le=2048)
    """Width and height of a rendered view, in pixels."""
    elevation: float = Field(20.0, ge=-89, le=89)
    """Elevation of the camera above the horizon, in degrees."""
    points: int = Field(10_000, ge=16)
    """Points stored per object, in farthest-point order."""
    shard_objects: int = Field(256, ge=1)
    """Approximate number of objects per shard. The number of shards is a power of two, so that adding a few objects
    changes few shards."""
    max_skipped: int = Field(0, ge=0)
    """Number of broken objects that may be skipped; each is reported by name. With more, the stage fails."""
