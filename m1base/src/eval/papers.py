"""Figures reported by the papers, shown only next to figures for the same data, texts and CLIP model.

Sbrolli & Matteucci, "No Captions, No Problem", arXiv 2406.02202: zero-shot classification, top-1 and top-5 in percent,
text "a point cloud of a <class>", CLIP ViT-B-32 of tag laion2b_s34b_b79k. Their data is recognised by its content, not
by a file's name: the class names and the size of the test split.

Left out: figures that are not known to be comparable. The table there also has ULIP-2, ReCon, ULIP, CLIP2Point and
PointCLIP, and OpenShape reports more, all with other texts and CLIP models. ScanObjectNN has variants (objects only,
with background, perturbed), and the paper does not state which one was used, nor how Pix3D's pictures were cropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CITATION = "Sbrolli & Matteucci, arXiv 2406.02202"
CLIP = ("ViT-B-32", "laion2b_s34b_b79k")
TEMPLATES = ("a point cloud of a {}",)


@dataclass(frozen=True)
class Reported:
    """One row of a paper's table: shares by the path of a figure tree."""

    name: str
    figures: dict[tuple[str, ...], float]


@dataclass(frozen=True)
class _Dataset:
    name: str
    classes: frozenset[str]
    objects: int | None
    """The size of the split that the papers measure on; None where that is not known."""
    rows: tuple[Reported, ...]


def _row(name: str, top1: float, top5: float) -> Reported:
    return Reported(name, {("zero_shot", "top1"): top1 / 100, ("zero_shot", "top5"): top5 / 100})


_MODELNET40_CLASSES = """
airplane bathtub bed bench bookshelf bottle bowl car chair cone cup curtain desk door dresser flower_pot glass_box
guitar keyboard lamp laptop mantel monitor night_stand person piano plant radio range_hood sink sofa stairs stool table
tent toilet tv_stand vase wardrobe xbox"""
_SCANOBJECTNN_CLASSES = "bag bed bin box cabinet chair desk display door pillow shelf sink sofa table toilet"

_DATASETS = (
    _Dataset(
        "ModelNet40",
        frozenset(_MODELNET40_CLASSES.split()),
        2468,
        (_row("I2I", 64.2, 87.1), _row("(I2L)²", 63.7, 86.9), _row("AVG", 65.9, 87.0)),
    ),
    _Dataset("ScanObjectNN", frozenset(_SCANOBJECTNN_CLASSES.split()), None, ()),
)


def beside(
    classes: Sequence[str], objects: int, templates: Sequence[str], clip: tuple[str, str]
) -> tuple[tuple[Reported, ...], str]:
    """The rows comparable with zero-shot figures on `objects` objects; if there are none, the reason."""
    names = {name.lower().replace(" ", "_") for name in classes}
    dataset = next((one for one in _DATASETS if one.classes == names), None)
    if dataset is None:
        return (), f"they report no data set with these {len(classes)} classes"
    if dataset.objects is None:
        return (), f"it is not known which variant of {dataset.name} they used"
    if objects != dataset.objects:
        return (), f"theirs are for the {dataset.objects:,} test objects of {dataset.name}, these for {objects:,}"
    if tuple(templates) != TEMPLATES:
        return (), f'theirs use the text "{TEMPLATES[0]}"'
    if clip != CLIP:
        return (), f"theirs use CLIP {'/'.join(CLIP)}, these {'/'.join(filter(None, clip))}"
    return dataset.rows, ""
