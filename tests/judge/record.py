"""What a session of the judge leaves: a table in Markdown, and sheets of views side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from tests.judge.comparison import IOU, NEAR, SHARE, Likeness, Pixels, difference

_CELL = 96
_COLUMNS = 6
_MOST = 90
"""Objects on a sheet."""

_HEAD = f"""# What three.js says

Written by `make test-judge`. Every object is read and drawn by captionless, and by three.js in a headless Chromium; the
two share no code. Both draw plain base colours (three.js: a Lambert surface under a lamp from everywhere), one sample a
pixel, with a camera that each works out by itself from what it has read. In every view the silhouettes' IoU must be at
least {IOU} and, of the pixels inside both silhouettes (eroded by one), {SHARE:.0%} must be within {NEAR}/255 in
colour, on white and on black, and in opacity.

Three things are made equal beforehand. Textures are smoothed, also where a file asks for blocks, and have smaller
copies of their largest level; levels are interpolated as they are stored and turned to linear light afterwards, which
three.js by itself does the other way round: the column *linear filter* says what share is near then. An OBJ material's
`Kd` does not tint its texture, and what has no colour is grey ([docs/meshes.md](../../docs/meshes.md)). What is blended
is peeled off layer by layer, since three.js sorts whole objects only.
"""


@dataclass(frozen=True)
class Verdict:
    """views: the first one, by captionless and by three.js. linear: the least share when three.js filters textures in
    linear light, if it was asked for."""

    name: str
    likenesses: Sequence[Likeness]
    faces: int
    views: tuple[Pixels, Pixels]
    linear: float | None = None

    @property
    def agrees(self) -> bool:
        return all(likeness.agrees for likeness in self.likenesses)

    @property
    def iou(self) -> float:
        return min(likeness.iou for likeness in self.likenesses)

    @property
    def share(self) -> float:
        return min(likeness.share for likeness in self.likenesses)


@dataclass
class Record:
    """cases, real, mutants: verdicts in the order of the session. listed: what is not judged, and why."""

    cases: list[Verdict] = field(default_factory=list)
    real: list[Verdict] = field(default_factory=list)
    mutants: list[tuple[str, Verdict]] = field(default_factory=list)
    listed: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "judge.md").write_text(self._text())
        some = self.cases[:: -(-len(self.cases) // _MOST) or 1]
        for name, verdicts in (("cases", some), ("real", self.real), ("mutants", [v for _, v in self.mutants])):
            if verdicts:
                _sheet(verdicts[:_MOST]).save(folder / f"{name}.jpg", quality=80)

    def _text(self) -> str:
        groups = [verdict.name.split("/")[0] for verdict in self.cases]
        parts = [
            _HEAD,
            f"## Cases\n\n{len(self.cases)} small files of `tests/precompute/meshes` and `tests/data/field`; "
            "[some of them](cases.jpg).\n",
            _table(
                ("group", "judged", "worst IoU", "worst share", "not judged"),
                [self._of_group(group) for group in dict.fromkeys((*groups, *self._groups_listed()))],
            ),
            f"## Real models\n\n{len(self.real)} models, each seen from six sides: [all of them](real.jpg), by "
            "captionless, by three.js, and four times their difference.\n",
            _table(
                ("model", "faces", "worst IoU", "worst share", "linear filter"),
                [
                    (v.name, v.faces, f"{v.iou:.4f}", f"{v.share:.4f}", f"{v.linear:.4f}")
                    for v in sorted(self.real, key=lambda v: v.name)
                ],
            ),
            "## Mutants\n\nMistakes made on purpose in what captionless draws; the judge must find all of them.\n",
            _table(
                ("mistake", "object", "worst IoU", "worst share"),
                [(what, v.name, f"{v.iou:.4f}", f"{v.share:.4f}") for what, v in self.mutants],
            ),
            "## Not judged\n\nthree.js does not read these rightly, or the format leaves open what is right. The right "
            "answer is written beside\neach case in `tests/precompute/meshes`, whose tests hold it. Of each small file "
            "here it is tested that the two do not agree.\n",
            _table(("object", "why"), sorted(self.listed.items())),
        ]
        return "\n".join(parts)

    def _groups_listed(self) -> Iterable[str]:
        return (name.split("/")[0] for name in self.listed if not name.startswith(("furniture/", "controllers/")))

    def _of_group(self, group: str) -> tuple[object, ...]:
        found = [verdict for verdict in self.cases if verdict.name.startswith(f"{group}/")]
        listed = sum(name.startswith(f"{group}/") for name in self.listed)
        worst = [f"{min(of):.4f}" if of else "" for of in ([v.iou for v in found], [v.share for v in found])]
        return group, len(found), *worst, listed


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def _sheet(verdicts: Sequence[Verdict]) -> Image.Image:
    """Of each object three pictures: by captionless, by three.js, and four times their difference."""
    rows = -(-len(verdicts) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * 3 * _CELL, rows * _CELL), "white")
    for k, verdict in enumerate(verdicts):
        one, other = verdict.views
        apart = np.minimum(4 * difference(one, other), 255).astype(np.uint8)
        for column, picture in enumerate((_shown(one), _shown(other), Image.fromarray(255 - apart).convert("RGB"))):
            at = ((k % _COLUMNS * 3 + column) * _CELL, k // _COLUMNS * _CELL)
            sheet.paste(picture.resize((_CELL, _CELL), Image.Resampling.BOX), at)
    return sheet


def _shown(view: Pixels) -> Image.Image:
    picture = Image.fromarray(view)
    white = Image.new("RGBA", picture.size, "white")
    white.alpha_composite(picture)
    return white.convert("RGB")
