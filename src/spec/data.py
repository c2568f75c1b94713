"""The `data` section: where the objects come from, and how they are packed."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from captionless.clip.class_names import alike
from captionless.spec.quantities import Quantity, whole_bytes
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


class ReadingLimits(Section):
    """What reading one object may take; an object that takes more is broken, and the rest goes on."""

    bytes: int = Field(2 << 30, ge=1)
    """Bytes of all its files together."""
    faces: int = Field(5_000_000, ge=1)
    """Triangles of its mesh."""
    vertices: int = Field(15_000_000, ge=1)
    """Vertices of its mesh."""
    pixels: int = Field(1 << 28, ge=1)
    """Pixels of one texture, as its file has it."""
    depth: int = Field(100, ge=1)
    """Levels of nodes within nodes."""
    seconds: float = Field(120.0, gt=0)
    """Seconds of processor time."""
    memory: Quantity = "8Gi"
    """Memory, and never more than half of what the container or the machine has."""

    def allows(self, other: ReadingLimits) -> bool:
        """Whether what was read within `other` is within these limits too."""
        numbers = type(self).model_fields.keys() - {"memory"}
        return whole_bytes(self.memory) >= whole_bytes(other.memory) and all(
            getattr(self, name) >= getattr(other, name) for name in numbers
        )


class DataSpec(Section):
    """The objects: where they come from, how they are split, rendered and sampled."""

    source: SourceSpec
    split: Literal["hash", "manifest", "folders"] = "hash"
    """How objects are split into training and test. `hash`: by a stable hash of the object's key. `manifest`: as the
    source states. `folders`: by folders named `train` and `test`, one of each in every category (ModelNet) or around
    all of them. `parametric` sources, and `points` with a `testUrl`, define their own split and ignore this field."""
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
    """Objects per shard. Stored shards keep the objects they have: new objects fill the last shard of their split and
    then new ones, so that adding some changes few shards."""
    max_skipped: int = Field(0, ge=0)
    """Number of broken objects that may be skipped; each is reported by name. With more, the stage fails at its end,
    when all objects have been tried."""
    max_skipped_share: float = Field(0.0, ge=0, le=1)
    """The same limit as a share of all objects; the one that allows more applies."""
    allow: tuple[str, ...] = ()
    """URLs or paths of folders outside the source's own from which an object's files (materials, textures, buffers) may
    be read as well. Without them an object that names such a file is broken. Devices and private network addresses are
    refused always."""
    licences: tuple[str, ...] = ()
    """Leave out objects whose licence, as the source states it, is none of these; empty: any licence."""
    filter: tuple[Annotated[str, Field(pattern=r"^[^=!]+!?=")], ...] = ()
    """Leave out objects that do not match, each as `field=value` or `field!=value`; the field is `key`, `category`,
    `source`, `licence`, `text` or the name of an attribute. Several values of a field with `=` are alternatives."""
    deny: str = ""
    """URL or path of a text file of keys, one per line, that are left out: taken-down objects, for example."""
    duplicates: Literal["together", "drop", "error"] = "together"
    """Objects whose own files have the same content. `together`: a copy joins the split of the older object, so that no
    test object is known from training. `drop`: it is left out. `error`: the stage fails."""
    min_per_category: int = Field(1, ge=1)
    """Leave out the objects of categories that have fewer objects than this."""
    class_names: tuple[Annotated[str, Field(pattern=r"^[^=]+=.")], ...] = ()
    """Names of categories in prompts and reports, each as `category=name`, where folders or manifests have others
    (`02691156=airplane`). No two may have the same name: their prompts would be the same."""

    strict: Literal["none", "geometry", "appearance", "all"] = "none"
    """Losses that make an object broken: what its file has and reading cannot give it. `geometry`: faces, skins, morphs
    and the like; `appearance`: textures, materials, extensions that change its looks; `all`: both. `none`: such losses
    are counted and told (`captionless data broken`), and the object is used as it is."""
    limits: ReadingLimits = ReadingLimits()
    """What reading one object may take; one that takes more is broken. After an increase, broken objects are tried
    again; after a decrease, those that were read within wider limits are as well."""

    RENDERING: ClassVar = frozenset({"views", "image_size", "elevation", "points"})
    """Fields that say how objects are rendered and sampled: what packed shards depend on beside the listing."""
    READING: ClassVar = frozenset({"allow", "strict", "limits"})
    """Fields that say which files may be read, and how much of them must be: what packed shards depend on as well."""
    LATER: ClassVar = frozenset({"strict", "limits"})
    NAMING: ClassVar = frozenset({"class_names"})
    """Fields that only prompts and reports depend on."""
    OPERATIONAL: ClassVar = frozenset({"max_skipped", "max_skipped_share", "shard_objects"})
    """Fields that do not affect results."""

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        named = [entry.partition("=")[0] for entry in self.class_names]
        again = next((name for name in named if named.count(name) > 1), None)
        if again is not None:
            raise ValueError(f"classNames: {again} is named twice")
        same = alike([entry.partition("=")[2] for entry in self.class_names])
        if same:
            first, second = (self.class_names[at] for at in same[0])
            raise ValueError(
                f'classNames: "{first}" and "{second}" make the same prompts, by which no object can be told to be of '
                "one or the other category; give one of them another name"
            )
        return self

    def display_name(self, category: str) -> str:
        """What a category is called in prompts and reports."""
        named = (entry.partition("=") for entry in self.class_names)
        return next((name for given, _, name in named if given == category), category)
