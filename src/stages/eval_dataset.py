"""What `--data` names: a published test set, a file of labelled clouds, or a YAML file with a `data:` section.

modelnet40=FOLDER             a test set by its name (`precompute.testsets`), all of it
clouds.npz, clouds.h5         labelled clouds, all of them
my.yaml                       the objects of any source, a split of them
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from captionless.errors import SpecError, did_you_mean
from captionless.precompute.sources import ObjectRef, open_source
from captionless.precompute.testsets import NAMES, open_testset
from captionless.spec import load
from captionless.spec.data import DataSpec, SourceKind, SourceSpec
from captionless.stages.broken import Limit
from captionless.stages.source_clouds import Loader, of_split
from captionless.store import objects

if TYPE_CHECKING:
    from captionless.precompute.testsets.base import Photos

CLOUD_FILES = (".npz", ".h5", ".hdf5")

Split = Literal["test", "train", "all"]


@dataclass(frozen=True)
class Options:
    """What may be said of the data beside its name, None where it was not; each is for some kinds of data only.

    up: the axis of a file of clouds. split: which objects of a source. max_skipped: how many broken objects may be left
    out; a YAML file says it itself. crop: whether pictures are cut to the object.
    """

    up: Literal["x", "y", "z"] | None = None
    split: Split | None = None
    max_skipped: int | None = None
    crop: bool = False

    @property
    def limit(self) -> Limit:
        return Limit(self.max_skipped or 0, "--max-skipped")

    def only(self, where: str, *names: str) -> None:
        """SpecError for an option that is said but is none of `names`, those that `where` takes."""
        for name in ("up", "split", "max_skipped", "crop"):
            if name not in names and getattr(self, name) not in (None, False):
                raise SpecError(f"--{name.replace('_', '-')}: not for {where}")


@dataclass(frozen=True)
class EvalDataset:
    """Objects to measure on.

    described: plain JSON for the provenance, `name` in it. files: those whose digests tell the edition. points: of a
    cloud sampled from a mesh. limit: of broken objects. photos: pictures of the objects, None where there are none.
    """

    described: Mapping[str, Any]
    source: Loader
    refs: Sequence[ObjectRef]
    files: Sequence[str]
    points: int
    limit: Limit
    photos: Photos | None = None

    @property
    def name(self) -> str:
        return str(self.described["name"])


def open_eval_dataset(where: str, options: Options = Options()) -> EvalDataset:
    """The data that `where` names. SpecError for what is not there, is misspelt, or takes no such option."""
    name, _, url = where.partition("=")
    if name in NAMES:
        options.only(f"the test set {name}", "max_skipped", *(["crop"] if name.startswith("pix3d") else []))
        return _named(name, url or None, options)
    if where.endswith(CLOUD_FILES):
        options.only("a file of clouds", "up", "split", "max_skipped")
        return _of_source(_clouds(where, options), where, options.split or "all", options.limit)
    if where != "-" and not objects.exists(where):
        known = f"a test set is named as NAME=FOLDER, with {', '.join(NAMES)}"
        raise SpecError(f"--data {where}: no such file; {known}{did_you_mean(name, NAMES)}")
    options.only(f"{where}, which says it itself, in its `data:` section", "split")
    data = load_data(where)
    return _of_source(data, where, options.split or "test", Limit(data.max_skipped))


def load_data(where: str) -> DataSpec:
    """The `data:` section of a YAML file, or a file that is that section itself."""
    document = load.read_document(where)
    section = document.get("data", document)
    return load.validated(DataSpec, section, where=where)


def _named(name: str, url: str | None, options: Options) -> EvalDataset:
    found = open_testset(name, url, options.crop)
    described: dict[str, Any] = {
        "name": name, "title": found.about.title, "url": url, "official": found.about.count, "unit": found.about.unit,
    }  # fmt: skip
    if found.photos is not None:
        described["pictures"] = dict(found.photos.described)
    points = DataSpec.model_fields["points"].default
    return EvalDataset(described, found, found.refs(), found.files, points, options.limit, found.photos)


def _clouds(where: str, options: Options) -> DataSpec:
    if options.up is None:
        raise SpecError(f"--up: {where} does not say which axis is up; pass --up x, y or z")
    source = SourceSpec(kind=SourceKind.points, url=where, up=options.up)
    return DataSpec(source=source, test_fraction=0)


def _of_source(data: DataSpec, where: str, split: Split, limit: Limit) -> EvalDataset:
    source = open_source(data)
    about = data.source.model_dump(mode="json", exclude_defaults=True)
    listing = data.source.kind in (SourceKind.points, SourceKind.manifest)
    files = [url for url in (data.source.url, data.source.test_url) if url and listing]
    refs = of_split(source.refs(), split)
    return EvalDataset({"name": where, **about, "split": split}, source, refs, files, data.points, limit)
