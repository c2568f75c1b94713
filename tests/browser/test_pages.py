"""The pages in a real browser, on a phone and on a desk, by day and by night, by pointer, touch and keyboard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import checks
from tests.browser.chromium import SCREENS, Screen, opened, until
from tests.browser.pages import LARGE, PAGES

pytestmark = pytest.mark.browser

PageFile = Callable[[str], Path]
OPENED = [(name, screen) for name in PAGES for screen in SCREENS.values() if name not in LARGE or screen in LARGE[name]]


@pytest.mark.parametrize(("name", "screen"), OPENED, ids=lambda value: getattr(value, "name", value))
def test_a_page_is_whole_quiet_and_accessible(browser: Browser, page_file: PageFile, name: str, screen: Screen) -> None:
    with opened(browser, page_file(name), screen) as found:
        checks.assert_fits(found.page)
        checks.assert_charts_drawn(found.page)
        checks.assert_accessible(found.page)
        checks.assert_quiet(found)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_read_by_keyboard(browser: Browser, page_file: PageFile, name: str) -> None:
    with opened(browser, page_file(name), SCREENS["desktop-light"]) as found:
        checks.assert_keyboard_reaches_all(found.page)
        checks.assert_quiet(found)


def mark_of_the_map(page: Page) -> tuple[float, float]:
    """The middle of a mark of the map, scrolled to."""
    page.query_selector('[data-chart="map"]').scroll_into_view_if_needed()
    box = page.query_selector('[data-chart="map"] path.point').bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


@pytest.mark.parametrize("screen", [SCREENS["desktop-light"], SCREENS["phone-light"]], ids=lambda screen: screen.name)
def test_the_map_shows_the_object_pointed_at(browser: Browser, page_file: PageFile, screen: Screen) -> None:
    with opened(browser, page_file("report"), screen) as found:
        page = found.page
        picture = page.locator("#pointed img")
        assert not picture.is_visible()
        x, y = mark_of_the_map(page)
        page.touchscreen.tap(x, y) if screen.touch else page.mouse.move(x, y)
        picture.wait_for(state="visible")
        key = page.locator("#pointed .key").text_content()
        assert key in page.evaluate("Object.keys(JSON.parse(document.getElementById('pictures').textContent))")
        if not screen.touch:
            assert key in page.locator('[data-chart="map"] .hovertext').text_content()
        until(page, "document.querySelector('#pointed img').naturalWidth > 0")
        checks.assert_fits(page)
        checks.assert_quiet(found)


def test_charts_follow_the_colour_scheme(browser: Browser, page_file: PageFile) -> None:
    ink = "getComputedStyle(document.querySelector('.xtick text')).fill"
    with opened(browser, page_file("report"), SCREENS["desktop-light"]) as found:
        day = found.page.evaluate(ink)
        found.page.emulate_media(color_scheme="dark")
        until(found.page, f"{ink} !== '{day}'")
        assert found.page.evaluate(ink) == found.page.evaluate("getComputedStyle(document.body).color")


def test_the_checks_see_what_is_wrong(browser: Browser, page_file: PageFile, tmp_path: Path) -> None:
    broken = page_file("report").read_text()
    for good, bad in (
        ("default-src 'none'; img-src data: blob:", "default-src 'none'; img-src data: http:"),
        ("--soft: #5a626b", "--soft: #c0c4c8"),
        ("<main>", '<main><img src="http://127.0.0.1:9/x.png"><div style="width: 2000px">wide</div>'),
    ):
        assert good in broken
        broken = broken.replace(good, bad)
    path = tmp_path / "broken.html"
    path.write_text(broken)
    with opened(browser, path, SCREENS["phone-light"]) as found:
        with pytest.raises(AssertionError):
            checks.assert_quiet(found)
        with pytest.raises(AssertionError):
            checks.assert_fits(found.page)
        with pytest.raises(AssertionError, match=r"color-contrast(.|\n)*image-alt"):
            checks.assert_accessible(found.page)
