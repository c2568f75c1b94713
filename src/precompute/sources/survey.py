"""What a user's meshes are, as far as a few listings tell: what `captionless init` writes into a spec."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from captionless.errors import SpecError
from captionless.precompute import synsets
from captionless.precompute.formats import DEFAULT_UP, file_type
from captionless.precompute.sources.split_folders import FOLDERS
from captionless.store import objects
from captionless.store.scan import scan

MANIFESTS = (".jsonl", ".json", ".ndjson")

_CATEGORIES = 64  # that are looked into for folders of splits
_FILES = 1000  # that are looked at for their formats


@dataclass(frozen=True)
class Survey:
    """What was found.

    kind: of the source. split: how its objects are split. allow: folders that links lead to, from which objects are to
    be read. class_names: names of categories that are numbers, as `data.classNames` has them. axis: the formats of
    which all files seen are, and which do not define an up axis; empty if others are there.
    """

    kind: Literal["folder", "manifest"]
    split: Literal["hash", "folders"] = "hash"
    allow: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    axis: tuple[str, ...] = ()


def survey(url: str) -> Survey:
    """Looks at the folder or manifest at `url`. SpecError if it is neither, or empty."""
    if objects.size(url) is not None:
        if not url.partition("?")[0].lower().endswith(MANIFESTS):
            raise SpecError(f"{url}: is a file; expected a folder of meshes, or a manifest ({', '.join(MANIFESTS)})")
        return Survey("manifest")
    if url.lower().endswith(MANIFESTS) and not objects.exists(url):
        raise SpecError(f"{url}: no such manifest")
    names = objects.list_names(url)
    if not names:
        raise SpecError(f"{url}: missing or empty; expected a folder with one sub-folder of meshes per category")
    by_folders = _splits(url, names)
    categories = _inside(url, names) if by_folders and set(FOLDERS) <= set(names) else names
    named = synsets.named(categories, url)
    return Survey(
        "folder",
        "folders" if by_folders else "hash",
        _links(url, names),
        tuple(f"{category}={name}" for category, name in sorted(named.items())),
        _without_axis(url),
    )


def _splits(url: str, names: Sequence[str]) -> bool:
    """Whether there are folders of both splits, around the categories or in each one that is looked into: folders
    without meshes, such as those that archives of macOS bring, are none."""
    if set(FOLDERS) <= set(names):
        return True
    folders = [folder for name in names[:_CATEGORIES] if _is_folder(folder := objects.join(url, name))]
    whole = [folder for folder in folders if not _has_both(folder)]
    return len(whole) < len(folders) and not any(_has_meshes(folder) for folder in whole)


def _has_meshes(folder: str) -> bool:
    return any(file_type(file) is not None for file in _some_files(folder))


def _has_both(category: str) -> bool:
    return all(_is_folder(objects.join(category, name)) for name in FOLDERS)


def _is_folder(url: str) -> bool:
    return objects.size(url) is None and objects.exists(url)


def _inside(url: str, names: Sequence[str]) -> list[str]:
    return sorted({each for name in FOLDERS if name in names for each in objects.list_names(objects.join(url, name))})


def _links(url: str, names: Sequence[str]) -> tuple[str, ...]:
    """Where those categories are that are links out of the folder."""
    if not objects.is_local(url):
        return ()
    root = os.path.realpath(objects.local_path(url))
    targets = {os.path.realpath(os.path.join(root, name)) for name in names}
    outside = (t for t in targets if os.path.isdir(t) and os.path.commonpath([root, t]) != root)
    return tuple(sorted(outside))


def _without_axis(url: str) -> tuple[str, ...]:
    kinds = {kind for file in _some_files(url) if (kind := file_type(file)) is not None}
    return () if any(DEFAULT_UP[kind] for kind in kinds) else tuple(sorted(kinds))


def _some_files(url: str) -> Iterator[str]:
    return islice((found.url for page in scan(url) for found in page), _FILES)
