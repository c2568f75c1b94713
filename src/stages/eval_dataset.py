"""The data set of `--data`: a published test set, a file of labelled clouds, or a YAML file with a `data:` section.

modelnet40=FOLDER             a test set by its name (`precompute.testsets`), all of it
clouds.npz, clouds.h5         labelled clouds, all of them
my.yaml                       the objects of any source, a split of them
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from captionless.errors import SpecError, did_you_mean
from captionless.precompute import file_kinds
from captionless.precompute.losses import Strict
from captionless.precompute.sources import Loader, ObjectRef, open_source
from captionless.precompute.testsets import NAMES, open_testset
from captionless.spec import load
from captionless.spec.data import DataSpec, ReadingLimits, SourceKind, SourceSpec
from captionless.stages.broken import Limit, limit_of
from captionless.stages.source_clouds import of_split
from captionless.store import objects

if TYPE_CHECKING:
    from captionless.precompute.testsets.base import Photos

Split = Literal["test", "train", "all"]


@dataclass(frozen=True)
class Options:
    """Options of `--data`, None if not given; each applies to some kinds of data only.

    up: the up axis of a file of clouds. split: the objects of a source. max_skipped: how many broken objects may be
    skipped; a YAML file sets it itself. crop: whether pictures are cropped to the object.
    """

    up: Literal["x", "y", "z"] | None = None
    split: Split | None = None
    max_skipped: int | None = None
    crop: bool = False

    @property
    def limit(self) -> Limit:
        return Limit(self.max_skipped or 0, "--max-skipped")

    def only(self, where: str, *names: str) -> None:
        """SpecError for an option that is given but is not among `names`, those that `where` supports."""
        for name in ("up", "split", "max_skipped", "crop"):
            if name not in names and getattr(self, name) not in (None, False):
                raise SpecError(f"--{name.replace('_', '-')}: not supported for {where}")


@dataclass(frozen=True)
class EvalDataset:
    """Objects to evaluate on.

    described: plain JSON for the provenance, including `name`. files: those whose digests identify the edition. points:
    of a cloud sampled from a mesh. limit: of broken objects. classes: what the objects may be taken for, sorted, be
    there objects of it or not. names: what prompts call each of these. photos: pictures of the objects, None if there
    are none. strict: `data.strict`. limits: `data.limits`.
    """

    described: Mapping[str, Any]
    source: Loader
    refs: Sequence[ObjectRef]
    files: Sequence[str]
    points: int
    limit: Limit
    classes: Sequence[str]
    names: Sequence[str]
    photos: Photos | None = None
    strict: Strict = "none"
    limits: ReadingLimits = field(default_factory=ReadingLimits)

    @property
    def name(self) -> str:
        return str(self.described["name"])


def open_eval_dataset(where: str, options: Options = Options()) -> EvalDataset:
    """The data set that `where` names. SpecError for an unknown name, missing data, or an unsupported option."""
    name, _, url = where.partition("=")
    if name in NAMES:
        options.only(f"the test set {name}", "max_skipped", *(["crop"] if name.startswith("pix3d") else []))
        return _test_set(name, url or None, options)
    if is_cloud_file(where):
        options.only("a file of clouds", "up", "split", "max_skipped")
        return _of_source(_cloud_file(where, options), where, options.split or "all", options.limit)
    if where != "-" and not objects.exists(where):
        known = f"for a published test set use NAME=FOLDER with one of {', '.join(NAMES)}"
        raise SpecError(f"--data {where}: no such file; {known}{did_you_mean(name, NAMES)}")
    options.only(f"{where}, which sets it in its `data:` section", "split")
    data = load_data(where)
    return _of_source(data, where, options.split or "test", limit_of(data))


def is_cloud_file(where: str) -> bool:
    """Whether a path or URL is that of a file of labelled clouds, by its name, or else by its content."""
    found = file_kinds.by_name(where)
    if found is None and where != "-" and (size := objects.size(where)):
        found = file_kinds.by_content(objects.read_bytes(where, 0, min(size, file_kinds.HEAD)), size)
    return found is not None and found.name in file_kinds.CLOUDS


def load_data(where: str) -> DataSpec:
    """The `data:` section of a YAML file, or a file that is that section itself."""
    document = load.read_document(where)
    section = document.get("data", document)
    return load.validated(DataSpec, section, where=where)


def _test_set(name: str, url: str | None, options: Options) -> EvalDataset:
    found = open_testset(name, url, options.crop)
    described: dict[str, Any] = {
        "name": name, "title": found.about.title, "url": url, "official": found.about.count, "unit": found.about.unit,
    }  # fmt: skip
    if found.photos is not None:
        described["pictures"] = dict(found.photos.described)
    points = DataSpec.model_fields["points"].default
    refs = found.refs()
    classes = _classes(refs)
    return EvalDataset(described, found, refs, found.files, points, options.limit, classes, classes, found.photos)


def _cloud_file(where: str, options: Options) -> DataSpec:
    if options.up is None:
        raise SpecError(f"--up: required, since {where} does not define an up axis; expected x, y or z")
    source = SourceSpec(kind=SourceKind.points, url=where, up=options.up)
    return DataSpec(source=source, test_fraction=0)


def _of_source(data: DataSpec, where: str, split: Split, limit: Limit) -> EvalDataset:
    source = open_source(data)
    about = data.source.model_dump(mode="json", exclude_defaults=True)
    listing = data.source.kind in (SourceKind.points, SourceKind.manifest)
    files = [url for url in (data.source.url, data.source.test_url) if url and listing]
    every = source.refs()
    refs, classes = of_split(every, split), _classes(every)
    names = [data.display_name(name) for name in classes]
    described = {"name": where, **about, "split": split}
    return EvalDataset(
        described, source, refs, files, data.points, limit, classes, names, strict=data.strict, limits=data.limits
    )


def _classes(refs: Sequence[ObjectRef]) -> list[str]:
    return sorted({ref.category for ref in refs})
