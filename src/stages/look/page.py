"""A contact sheet as one HTML file that needs no network."""

from __future__ import annotations

import io

from PIL import Image

from captionless.eval.report.html import data_uri, render_page
from captionless.stages.look.sheet import Sheet


def html(sheet: Sheet) -> str:
    """The whole page."""
    return render_page(
        "look.html",
        sheet=sheet,
        pictures=[(caption, data_uri(_webp(picture))) for caption, picture in sheet.pictures],
        charts={},
    )


def _webp(picture: Image.Image) -> bytes:
    sink = io.BytesIO()
    picture.save(sink, "WEBP", lossless=True)
    return sink.getvalue()
