"""Reading the HTML pages that are made: their structure, their charts, and what every one of them must be."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from itertools import pairwise

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Structure(HTMLParser):
    """Collects tags and their attributes, and checks that elements close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        self.ids += [str(value) for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.seen if name == tag]


def parsed(page: str) -> Structure:
    structure = Structure()
    structure.feed(page)
    structure.close()
    assert structure.open == []
    return structure


def chart(page: str, name: str) -> dict:
    found = re.search(rf'<script type="application/json" id="chart-{name}">(.*?)</script>', page, re.S)
    assert found
    figure: dict = json.loads(found[1])
    return figure


def assert_self_contained(page: str) -> None:
    """It asks nothing of the network, and may not."""
    structure = parsed(page)
    for tag, attrs in structure.seen:
        for name in ("src", "href", "data", "action", "srcset"):
            value = attrs.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, value)
    policy = next(m["content"] for m in structure.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    charts = any("data-chart" in attrs for _, attrs in structure.seen)
    assert page.count("plotly.js v") == int(charts)  # megabytes: once where it draws, or not at all


def assert_readable(page: str) -> None:
    """By keyboard and screen reader."""
    structure = parsed(page)
    assert structure.all("html")[0]["lang"] == "en"
    assert len(structure.all("main")) == len(structure.all("h1")) == 1
    assert len(structure.ids) == len(set(structure.ids))
    assert all("alt" in attrs for attrs in structure.all("img"))
    assert all(attrs["alt"] for attrs in structure.all("img") if "src" in attrs)
    assert all(attrs.get("scope") for attrs in structure.all("th"))
    assert len(structure.all("caption")) == len(structure.all("table"))
    for _, attrs in structure.seen:
        for name in ("aria-labelledby",):
            assert attrs.get(name) is None or attrs[name] in structure.ids
        if attrs.get("role") == "img":
            assert attrs["aria-label"]
    for link in structure.all("a"):
        assert str(link["href"])[1:] in structure.ids
    levels = [int(tag[1]) for tag, _ in structure.seen if re.fullmatch("h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels))
