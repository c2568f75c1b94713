"""What every page must be in a browser, each as one function over an open page."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser.chromium import Opened

WCAG = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")

_OUTSIDE = """width => [...document.querySelectorAll("body *")]
    .filter(e => !e.closest(".scroll, .skip") && e.checkVisibility() && e.getBoundingClientRect().right > width + 1)
    .map(e => e.outerHTML.slice(0, 120))"""

_CUT_OFF = """box => {
    const whole = box.getBoundingClientRect();
    const plot = box.querySelector(".bglayer .bg, .gridlayer").getBoundingClientRect();
    const legend = box.querySelector(".legend")?.getBoundingClientRect();
    const cut = [...box.querySelectorAll("text")].filter(text => {
        const at = text.getBoundingClientRect();
        return at.width && (at.left < whole.left - 1 || at.right > whole.right + 1 || at.bottom > whole.bottom + 1
            || at.top < whole.top - 1);
    }).map(text => text.textContent + " is cut off");
    return legend && legend.bottom > plot.top + 1 ? [...cut, "the legend covers the plot"] : cut;
}"""

_FOCUSABLE = """() => [...document.querySelectorAll("a[href], summary, [tabindex='0']")]
    .filter(e => e.checkVisibility()).forEach((e, i) => { e.dataset.expected = i; })"""

_FOCUSED = """() => {
    const e = document.activeElement, box = e.getBoundingClientRect();
    const seen = box.right > 0 && box.bottom > 0 && box.top < innerHeight;
    const outline = getComputedStyle(e).outlineStyle;
    return { number: e.dataset.expected, outline, seen, html: e.outerHTML.slice(0, 120) };
}"""


def assert_quiet(opened: Opened) -> None:
    """It asked for nothing but itself, and nothing complained."""
    assert opened.requests == [opened.page.url.partition("#")[0]]
    assert opened.complaints == []


def assert_fits(page: Page) -> None:
    """Nothing is wider than the screen, but what scrolls in a region of its own."""
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(_OUTSIDE, width) == []


def assert_accessible(page: Page) -> None:
    """Without a violation of WCAG 2.2 AA that axe knows of, with everything unfolded."""
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": list(WCAG)}})
    assert len(found.response["passes"]) > 10
    assert found.violations_count == 0, found.generate_report()


def assert_charts_drawn(page: Page) -> None:
    """Every chart has marks, fills its place, and has its labels and legend where they can be read."""
    for box in page.query_selector_all("[data-chart]"):
        name = box.get_attribute("data-chart")
        assert box.evaluate("box => box.data.length && box.data.every(t => (t.x ?? t.z).length)"), name
        marks = box.query_selector_all(".point path, path.point, path.js-line, .heatmaplayer image")
        assert marks, name
        assert box.query_selector(".main-svg").bounding_box()["width"] > 300, name
        assert box.evaluate(_CUT_OFF) == [], name


def assert_keyboard_reaches_all(page: Page) -> None:
    """Tab goes through links, regions and folds in their order, each marked; Enter skips, and unfolds."""
    page.evaluate(_FOCUSABLE)
    expected = page.evaluate("document.querySelectorAll('[data-expected]').length")
    for i in range(expected):
        page.keyboard.press("Tab")
        at = page.evaluate(_FOCUSED)
        assert at["number"] == str(i), at
        assert at["outline"] != "none", at
        assert at["seen"], at
    for fold in page.query_selector_all("details:not(:is(details details))"):
        fold.query_selector("summary").focus()
        before = fold.get_property("open").json_value()
        page.keyboard.press("Enter")
        assert fold.get_property("open").json_value() is not before
    skip = page.query_selector("a.skip")
    skip.focus()
    page.keyboard.press("Enter")
    target = skip.get_attribute("href")
    page.wait_for_url(lambda url: url.endswith(target))  # the browser tells of its new address a moment later
    assert page.evaluate("document.querySelector(':target').getBoundingClientRect().top") < 40
