"""A contact sheet as one HTML file that needs no network."""

from __future__ import annotations

import io

from PIL import Image

from captionless.eval.report.html import data_uri, render_page
from captionless.stages.look.measure import Seen
from captionless.stages.look.picture import tiles


def html(seen: Seen) -> str:
    """The whole page."""
    return render_page(
        "look.html",
        seen=seen,
        pictures=[(caption, data_uri(_webp(picture))) for caption, picture in tiles(seen)],
        charts={},
    )


def _webp(picture: Image.Image) -> bytes:
    sink = io.BytesIO()
    picture.save(sink, "WEBP", lossless=True)
    return sink.getvalue()
