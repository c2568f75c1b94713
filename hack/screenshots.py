"""Recreates the pictures of docs/report.md from finished runs, in a headless Chromium.

    python hack/screenshots.py [--demo runs/demo] [--furniture runs/furniture] [--out docs]

Run it after `make demo` and `make demo-furniture`. A picture is a small WebP file of a part of a page, at desktop or
phone size, in light or dark mode. The browser is that of the tests (`hack/ensure-chromium` installs it).
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script: the tests are no installed package

from tests.browser.chromium import SCREENS, chromium, opened, until

MOST_BYTES = 200_000
_LOADED = """[...document.images].every(image => image.complete || image.getBoundingClientRect().top > innerHeight
    || image.getBoundingClientRect().bottom < 0 || !image.checkVisibility())"""


@dataclass(frozen=True)
class Shot:
    """A picture: of which page, on which screen, from the top of an element. height: in CSS pixels, 0 for the screen's.

    point: at the map's marks, so that one shows its object.
    """

    name: str
    page: str
    screen: str
    top: str
    height: int = 0
    point: bool = False


SHOTS = (
    Shot("report-results", "demo", "desktop-light", "header", 1000),
    Shot("report-retrieval", "demo", "desktop-light", "#retrieval", 900),
    Shot("report-similarity", "demo", "desktop-dark", "#similarity", 620),
    Shot("report-map", "demo", "desktop-dark", "#map", 760, point=True),
    Shot("report-phone", "demo", "phone-dark", "header"),
    Shot("report-furniture", "furniture", "desktop-light", "#classes", 1300),
    Shot("report-furniture-retrieval", "furniture", "desktop-light", "#retrieval", 900),
    Shot("inspect", "inspect", "desktop-light", "header", 1000),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--demo", type=Path, default=Path("runs/demo"))
    parser.add_argument("--furniture", type=Path, default=Path("runs/furniture"))
    parser.add_argument("--out", type=Path, default=Path("docs"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        inspected = Path(folder) / "inspect.html"
        _inspect(given.demo, inspected)
        pages = {
            "demo": given.demo / "eval" / "report.html",
            "furniture": given.furniture / "eval" / "report.html",
            "inspect": inspected,
        }
        for shot in SHOTS:
            with opened(browser, pages[shot.page], SCREENS[shot.screen]) as found:
                data = _webp(_taken(found.page, shot))
            if len(data) > MOST_BYTES:
                raise SystemExit(
                    f"{shot.name}: {len(data)} bytes; expected at most {MOST_BYTES}: show less of the page"
                )
            path = given.out / f"{shot.name}.webp"
            path.write_bytes(data)
            print(f"wrote {path}: {len(data) / 1000:.0f} kB")


def _inspect(run: Path, out: Path) -> None:
    """The page of one of the demo's objects."""
    command = [sys.executable, "-m", "captionless", "similarity", "inspect", str(run / "similarity" / "i2i")]
    subprocess.run([*command, "table-train-0027", "--out", str(out)], check=True, stdout=subprocess.DEVNULL)


def _taken(page: Page, shot: Shot) -> bytes:
    """The picture as PNG. The screen is made as high as the shot: what is below it is not drawn."""
    screen = SCREENS[shot.screen]
    page.set_viewport_size({"width": screen.width, "height": shot.height or screen.height})
    page.evaluate("where => document.querySelector(where).scrollIntoView({ block: 'start' })", shot.top)
    until(page, _LOADED)
    if shot.point:
        box = page.query_selector('[data-chart="map"] path.point').bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.locator("#pointed img").wait_for(state="visible")
    return page.screenshot()


def _webp(png: bytes) -> bytes:
    sink = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(sink, "WEBP", quality=80, method=6)
    return sink.getvalue()


if __name__ == "__main__":
    main()
