"""Objaverse-LVIS as OpenShape published it (Liu et al., 2023): 46,832 clouds of 1,156 classes.

    meta_data/split/lvis.json      [{uid, category, group, data_path, ...}], the whole of it the test set
    objaverse-processed/merged_for_training_final/Objaverse/000-076/<uid>.npy ...

The second is what the archives Objaverse/000-XXX.tar.gz unpack to; `Objaverse/` may also be directly in the folder.
`data_path` is a path on the owners' machine; only the part after `Objaverse/` is used. A .npy wraps a dict whose
`xyz` is the cloud, (10000, 3), y up; its colours, texts and features are not read. Class names have underscores for
spaces, as LVIS writes them (`bow_(decorative_ribbons)`).
"""

from __future__ import annotations

import json
import posixpath
from typing import Any

from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.precompute.sources.base import ObjectRef
from captionless.precompute.testsets import pickles
from captionless.precompute.testsets.base import About, CloudSet, object_ref
from captionless.store import objects

ABOUT = About(
    name="objaverse-lvis",
    title="Objaverse-LVIS in OpenShape's edition",
    count=46832,
    home="https://huggingface.co/datasets/OpenShape/openshape-training-data, meta_data.zip and Objaverse/000-*.tar.gz",
    terms="OpenRAIL for the edition; the objects' own licences are Objaverse's",
    layout=(
        "meta_data/split/lvis.json",
        "objaverse-processed/merged_for_training_final/Objaverse/000-XXX/UID.npy",
    ),
)

_CLOUDS = "Objaverse"


def read(url: str | None) -> CloudSet:
    """The set below `url`. SpecError for missing files, DataError for an invalid list."""
    index = ABOUT.find(url, "meta_data/split/lvis.json")
    clouds = ABOUT.find(url, f"objaverse-processed/merged_for_training_final/{_CLOUDS}", _CLOUDS)
    listed = objects.read_json(index)
    if not isinstance(listed, list) or not listed:
        raise DataError(f"{index}: expected a list of objects")
    refs = [_ref(index, number, entry, clouds) for number, entry in enumerate(listed)]
    return CloudSet(ABOUT, sorted(refs, key=lambda ref: ref.key), _cloud, up="y", files=[index])


def _ref(index: str, number: int, entry: Any, clouds: str) -> ObjectRef:
    try:
        uid, category, path = (str(entry[field]) for field in ("uid", "category", "data_path"))
    except (TypeError, KeyError) as error:
        raise DataError(f"{index}: entry {number}: missing {error}; expected uid, category and data_path") from None
    below = path.rpartition(f"/{_CLOUDS}/")[2]
    if below == path or posixpath.normpath(below) != below or below.startswith("../"):
        raise DataError(
            f"{index}: entry {number}: data_path {json.dumps(path)}: expected .../{_CLOUDS}/000-XXX/UID.npy"
        )
    return object_ref(ABOUT, uid, category, objects.join(clouds, below))


def _cloud(ref: ObjectRef) -> NDArray[Any]:
    try:
        held = pickles.loads_npy(objects.read_bytes(str(ref.url)))
    except FileNotFoundError:
        raise DataError(f"{ref.url}: no such file") from None
    except DataError as error:
        raise DataError(f"{ref.url}: {error}") from error
    if not isinstance(held, dict) or "xyz" not in held:
        raise DataError(f"{ref.url}: missing field 'xyz'")
    cloud: NDArray[Any] = held["xyz"]
    return cloud
