"""The output of `captionless search`: a table, with pictures above it on a colour terminal.

Pictures are drawn with half-block characters, two pixels each: the foreground and the background colour. Transparent
pixels of the stored view show the terminal's own background.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from captionless.stages.search.service import Answer, Pictures
from captionless.store.views import decode_view

_SIDE = 20  # pixels, and so characters across; half as many lines
_GAP = 2


def draws(console: Console) -> bool:
    """Whether the console can show pictures."""
    return console.is_terminal and console.color_system in ("256", "truecolor")


def show(console: Console, answers: list[Answer], pictures: Pictures, described: str, page: str | None) -> None:
    """Prints the answers, what was searched, and the path of the page."""
    for answer in answers:
        console.print(heading(answer), style="bold", highlight=False, markup=False)
        if draws(console):
            _strip(console, answer, pictures)
        table = Table(box=None, header_style="dim", pad_edge=False)
        for name, justify in (("rank", "right"), ("object", "left"), ("category", "left"), ("cosine", "right")):
            table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
        for hit in answer.hits:
            table.add_row(str(hit.rank), Text(hit.key), Text(hit.category), f"{hit.cosine:.4f}")
        console.print(table)
        console.print()
    if pictures.missing:
        console.print(f"no pictures: {pictures.missing}", style="dim", highlight=False, markup=False)
    console.print(described, style="dim", highlight=False, markup=False)
    if page is not None:
        console.print(f"page: {page}", highlight=False, soft_wrap=True, markup=False)


def heading(answer: Answer) -> str:
    """The query and its kind."""
    kind, what = answer.query.kind, answer.query.what
    within = f", in category {answer.within}" if answer.within else ""
    return f"“{what}”{within}" if kind == "text" else f"{kind} {what}{within}"


def _strip(console: Console, answer: Answer, pictures: Pictures) -> None:
    """The pictures of the first hits side by side, as many as fit, each above its rank."""
    shown = [hit for hit in answer.hits if hit.key in pictures.views][: (console.width + _GAP) // (_SIDE + _GAP)]
    small = [_small(pictures.views[hit.key], hit.key) for hit in shown]
    for row in range(0, _SIDE if small else 0, 2):
        line = Text()
        for pixels in small:
            for top, bottom in zip(pixels[row], pixels[row + 1], strict=True):
                line.append(*_cell(top, bottom))
            line.append(" " * _GAP)
        console.print(line, no_wrap=True, overflow="crop")
    if shown:
        console.print("".join(f"{hit.rank:^{_SIDE + _GAP}}" for hit in shown), style="dim", highlight=False)


def _small(view: bytes, key: str) -> NDArray[np.uint8]:
    """(_SIDE, _SIDE, 4) of a stored view."""
    return np.asarray(Image.fromarray(decode_view(view, key)).resize((_SIDE, _SIDE), Image.Resampling.BOX))


def _cell(top: NDArray[np.uint8], bottom: NDArray[np.uint8]) -> tuple[str, Style]:
    """The character of two pixels (4,), one above the other, and its colours."""
    colors = [f"#{r:02x}{g:02x}{b:02x}" if a >= 128 else None for r, g, b, a in (top.tolist(), bottom.tolist())]
    if colors[0] is None:
        return (" ", Style()) if colors[1] is None else ("▄", Style(color=colors[1]))
    return "▀", Style(color=colors[0], bgcolor=colors[1])
