"""The evaluation sets of the literature by name, each read from the files in which it is published.

A set is a folder that its owner has put there; nothing is downloaded. Each module knows
the official names below that folder, what its clouds' up axis is, and where the files
are to be had, which is what somebody is told who has not got them.
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

    url: None when nobody said where it is. crop: whether pictures are cut to the object, see `pix3d`. SpecError when
    files are not there, saying where to get them and how they should lie.
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
