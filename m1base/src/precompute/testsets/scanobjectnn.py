"""ScanObjectNN (Uy et al., 2019): scans of real objects of 15 classes, three variants of the main split's test half.

    h5_files/main_split/test_objectdataset.h5                          OBJ_BG: the object with what surrounds it
    h5_files/main_split_nobg/test_objectdataset.h5                     OBJ_ONLY: the surroundings cut away
    h5_files/main_split/test_objectdataset_augmentedrot_scale75.h5     PB_T50_RS: boxes shifted, turned and scaled

Each has `data` (N, 2048, 3), y up, `label` (N,) and `mask` (which points are the object's; not read). The files number
the classes and do not name them; the order of the names is the one of the owners' own code.
"""

from __future__ import annotations

import posixpath

from captionless.precompute.sources.points import read_clouds
from captionless.precompute.testsets.base import About, CloudSet
from captionless.precompute.testsets.in_memory import in_memory

CLASSES = (
    "bag", "bin", "box", "cabinet", "chair", "desk", "display", "door", "shelf", "table", "bed", "pillow", "sink",
    "sofa", "toilet",
)  # fmt: skip

_VARIANTS = {
    "obj-bg": ("OBJ_BG", 581, "main_split/test_objectdataset.h5"),
    "obj-only": ("OBJ_ONLY", 581, "main_split_nobg/test_objectdataset.h5"),
    "pb-t50-rs": ("PB_T50_RS", 2882, "main_split/test_objectdataset_augmentedrot_scale75.h5"),
}


def read(variant: str, url: str | None) -> CloudSet:
    """A variant of the test split. SpecError if its file is missing, DataError if it is invalid."""
    title, count, path = _VARIANTS[variant]
    about = About(
        name=f"scanobjectnn-{variant}",
        title=f"ScanObjectNN, {title}",
        count=count,
        home="https://hkust-vgd.github.io/scanobjectnn/, h5_files.zip",
        terms="ScanObjectNN Terms of Use: research, on request by a form",
        layout=(path,),
    )
    file = about.find(url, path, posixpath.join("h5_files", path))
    return in_memory(about, [(file, read_clouds(file, CLASSES))], up="y", files=[file])
