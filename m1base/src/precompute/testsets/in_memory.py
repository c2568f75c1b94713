"""Test sets whose files contain many clouds each and are read as a whole."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from captionless.mesh import Up
from captionless.precompute.sources.base import ObjectRef, clean_key
from captionless.precompute.sources.points import Clouds
from captionless.precompute.testsets.base import About, CloudSet, object_ref


def in_memory(about: About, contents: Sequence[tuple[str, Clouds]], up: Up, files: Sequence[str]) -> CloudSet:
    """The set of the clouds of some files, by the URL of each.

    An object's key is its name if the file has names, else the file's name and its index.
    """
    clouds: dict[str, NDArray[Any]] = {}
    refs: list[ObjectRef] = []
    for url, content in contents:
        stem = posixpath.splitext(posixpath.basename(url))[0]
        for index, category in enumerate(content.categories):
            key = clean_key(content.names[index] if content.names else f"{stem}-{index:05d}")
            refs.append(object_ref(about, key, category, f"{url}#{index}"))
            clouds[key] = content.points[index]
    return CloudSet(about, refs, lambda ref: clouds[ref.key], up, files)
