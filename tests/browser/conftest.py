"""The pages that are opened, made once by each of pytest's processes from one finished run, and the browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.chromium import chromium
from tests.browser.pages import PAGES
from tests.flow.conftest import Finished, finished

__all__ = ["finished"]  # the fixture of the flow's tests: one run for all


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="session")
def page_file(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The HTML file of a page of `PAGES` by its name."""
    folder, made = tmp_path_factory.mktemp("pages"), {}

    def file_of(name: str) -> Path:
        if name not in made:
            made[name] = PAGES[name](finished, folder / f"{name}.html")
        return made[name]

    return file_of
