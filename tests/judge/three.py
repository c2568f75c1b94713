"""three.js in a headless Chromium: what an independent reader and renderer makes of an object's files.

Pages and files are handed to the browser out of memory, under an address that does not exist: nothing goes over a
network.
"""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Page, Route

from tests.browser.chromium import chromium

ROOT = Path(__file__).parents[2]
PACKAGES = ROOT / "build" / "three" / "node_modules"
"""Where `hack/ensure-three` puts what npm has."""

_ORIGIN = "http://judge.localhost"
_SOFTWARE = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
_PAGE = b"""<!doctype html>
<script type="importmap">
{"imports": {"three": "/three/build/three.module.js", "three/addons/": "/three/examples/jsm/"}}
</script>
<script type="module" src="/page.js"></script>
"""


class Refused(Exception):
    """three.js cannot load the object: its message."""


class Three:
    def __init__(self, page: Page) -> None:
        self._page = page
        self._files: Mapping[str, bytes] = {}
        self._count = 0
        self.missing: list[str] = []
        """Names of the last object's files that were asked for and are not there."""
        page.route("**/*", self._answer)
        page.goto(f"{_ORIGIN}/")
        page.wait_for_function("window.judge")

    def load(self, files: Mapping[str, bytes], stored: bool) -> int:
        """The number of triangles of an object, the first of whose files is its own; `views` shows it.

        stored: textures are filtered by their levels as they are stored, and not in linear light. `Refused` with
        three.js's own words.
        """
        self._files, self.missing = files, []
        self._count += 1  # a new address, so that nothing of the object before is still in a cache
        url = f"/object-{self._count}/{next(iter(files))}"
        found = self._page.evaluate("([url, stored]) => judge.load(url, stored)", [url, stored])
        if "error" in found:
            raise Refused(found["error"].splitlines()[0].replace(_ORIGIN, "")[:200])
        return int(found["faces"])

    def view(self, azimuth: float, elevation: float, size: int) -> NDArray[np.uint8]:
        """(size, size, 4) RGBA, straight alpha."""
        text = self._page.evaluate("([a, e, s]) => judge.view(a, e, s)", [azimuth, elevation, size])
        return np.frombuffer(base64.b64decode(text), np.uint8).reshape(size, size, 4)

    def _answer(self, route: Route) -> None:
        path = unquote(urlsplit(route.request.url).path)
        content = self._content(path)
        if content is None:
            self.missing.append(path)
            route.fulfill(status=404)
            return
        kind = "text/javascript" if path.endswith(".js") else mimetypes.guess_type(path)[0]
        route.fulfill(body=content, content_type="text/html" if path == "/" else kind or "application/octet-stream")

    def _content(self, path: str) -> bytes | None:
        if path == "/":
            return _PAGE
        if path == "/page.js":
            return (Path(__file__).parent / "page.js").read_bytes()
        if path.startswith("/object-"):
            return self._files.get(path.split("/", 2)[2])
        file = PACKAGES / path.lstrip("/")
        return file.read_bytes() if file.is_file() else None


@contextmanager
def three() -> Iterator[Three]:
    """A browser with three.js loaded. FileNotFoundError where either is not there."""
    if not (PACKAGES / "three").is_dir():
        raise FileNotFoundError("three.js is not there; hack/ensure-three installs it")
    with chromium(_SOFTWARE) as browser:
        yield Three(browser.new_page())
