"""The page of `captionless search --out`: every query with the pictures of its hits, in one file."""

from __future__ import annotations

from collections.abc import Sequence

from captionless.eval.report.html import data_uri, render_page
from captionless.stages.search.service import Answer, Pictures

KINDS = {
    "text": "Words",
    "picture": "A picture",
    "shape": "A shape, drawn as the points given to the encoder",
    "object": "A shape of the gallery",
}


def html(answers: Sequence[Answer], pictures: Pictures, described: str) -> str:
    """The whole page, everything inlined."""
    asked = [answer.asked.picture or pictures.views.get(answer.query.what) for answer in answers]
    return render_page(
        "search.html",
        answers=answers,
        asked=[picture and data_uri(picture) for picture in asked],
        kinds=KINDS,
        pictures={key: data_uri(view) for key, view in pictures.views.items()},
        missing=pictures.missing,
        described=described,
        charts={},
    )
