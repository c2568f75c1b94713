"""Folders that say their objects' split: ModelNet's CLASS/train and CLASS/test, or train/CLASS and test/CLASS."""

from __future__ import annotations

from typing import NamedTuple

from captionless.store.listing import Split

FOLDERS: dict[str, Split] = {"train": "train", "test": "test"}


class Place(NamedTuple):
    """An object's category and split by its folders; None where these do not say it."""

    category: str
    split: Split | None


def place_of(path: str) -> Place:
    """The place of a mesh file by its path from the source's folder, which has a folder at least.

    Both `train/test/x` and `test/train/x` are test objects of the category of trains.
    """
    first, *below = path.split("/")[:-1]
    second = below[0] if below else ""
    if first in FOLDERS and second in FOLDERS and first != second:
        return Place("train", "test")
    if first in FOLDERS and second:
        return Place(second, FOLDERS[first])
    return Place(first, FOLDERS.get(second))
