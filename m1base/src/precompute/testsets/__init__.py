"""The published evaluation sets by name, each read from the files in which it is distributed.

A set is a folder that the user has downloaded; nothing is downloaded here. Each module
knows the official file names below that folder, the up axis of its clouds, and where to
get the files, which the error for missing files says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from captionless.precompute.testsets.base import TestSet

NAMES = (
    "modelnet40",
    "scanobjectnn-obj-bg",
    "scanobjectnn-obj-only",
    "scanobjectnn-pb-t50-rs",
    "objaverse-lvis",
    "pix3d",
    "pix3d-masked",
)


def open_testset(name: str, url: str | None, crop: bool = False) -> TestSet:
    """The set `name`, one of `NAMES`, whose files are below `url`.

    url: None if not given. crop: whether pictures are cropped to the object, see `pix3d`. SpecError for missing
    files, with where to get them and the expected layout.
    """
    match name.partition("-")[0]:
        case "modelnet40":
            from captionless.precompute.testsets import modelnet40

            return modelnet40.read(url)
        case "scanobjectnn":
            from captionless.precompute.testsets import scanobjectnn

            return scanobjectnn.read(name.partition("-")[2], url)
        case "objaverse":
            from captionless.precompute.testsets import objaverse_lvis

            return objaverse_lvis.read(url)
        case "pix3d":
            from captionless.precompute.testsets import pix3d

            return pix3d.read(url, masked=name.endswith("-masked"), crop=crop)
        case _:
            raise ValueError(f"no test set {name!r}")
