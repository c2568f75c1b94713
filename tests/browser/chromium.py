"""A page's file in a headless Chromium as a reader has it: on a phone or a desk, by day or by night.

Playwright drives the machine's own Chromium (`hack/ensure-chromium` sees to one); it brings none. Every page opens in
a context of its own, with nothing stored, and all that it asks for or complains about is kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright

from tests import pace

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)
_PATIENCE = 60.0  # seconds, scaled by the pace: a page carries megabytes of plotly.js


@dataclass(frozen=True)
class Screen:
    """What a page is read on: CSS pixels, colour scheme, and whether one touches it."""

    name: str
    width: int
    height: int
    scheme: Literal["light", "dark"]
    touch: bool = False


SCREENS = {
    screen.name: screen
    for screen in (
        Screen("phone-light", 390, 844, "light", touch=True),
        Screen("phone-dark", 390, 844, "dark", touch=True),
        Screen("desktop-light", 1280, 900, "light"),
        Screen("desktop-dark", 1280, 900, "dark"),
    )
}


@dataclass(frozen=True)
class Opened:
    """An open page, the addresses it asked for, and what its console and its scripts complained of."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@contextmanager
def chromium(more: Sequence[str] = ()) -> Iterator[Browser]:
    """A running browser with a fresh profile, started with `more` options; FileNotFoundError where the machine has
    none."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        raise FileNotFoundError(f"none of {', '.join(_NAMES)} is installed; hack/ensure-chromium installs one")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, headless=True, args=[*_QUIET, *more], timeout=_milliseconds()
        )
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, path: Path, screen: Screen, zoom: float = 1) -> Iterator[Opened]:
    """The page of an HTML file, loaded and its charts drawn; `zoom` is device pixels per CSS pixel."""
    context = browser.new_context(
        viewport={"width": screen.width, "height": screen.height},
        color_scheme=screen.scheme,
        is_mobile=screen.touch,
        has_touch=screen.touch,
        reduced_motion="reduce",
        device_scale_factor=zoom,
    )
    context.set_default_timeout(_milliseconds())
    found = Opened(context.new_page())
    found.page.on("request", lambda request: found.requests.append(request.url))
    found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
    found.page.on(
        "console",
        lambda message: found.complaints.append(message.text) if message.type in ("error", "warning") else None,
    )
    found.page.goto(path.resolve().as_uri())
    until(found.page, "!document.querySelector('[data-chart]:not(:has(.main-svg))')")
    yield found
    context.close()


def until(page: Page, condition: str) -> None:
    """Waits for a JavaScript expression to hold. Playwright's own waiting is forbidden by the pages' policy."""
    pace.wait_for(f"{condition} on {page.url}", lambda: page.evaluate(condition), _PATIENCE)


def _milliseconds() -> float:
    return 1000 * pace.seconds(_PATIENCE)
