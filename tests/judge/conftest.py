"""The browser, the judging of one object, and the record that a session of it leaves."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from captionless.mesh import Mesh
from tests.judge import ours
from tests.judge.comparison import compare
from tests.judge.objects import Object
from tests.judge.record import Record, Verdict
from tests.judge.three import Three, three

Judge = Callable[..., Verdict]


def _as_it_is(mesh: Mesh) -> Mesh:
    return mesh


@pytest.fixture(scope="session")
def browser() -> Iterator[Three]:
    with three() as running:
        yield running


@pytest.fixture(scope="session")
def record() -> Iterator[Record]:
    """Kept in the folder that CAPTIONLESS_TEST_JUDGE names, once all is judged."""
    found = Record()
    yield found
    if folder := os.environ.get("CAPTIONLESS_TEST_JUDGE"):
        found.write(Path(folder))


@pytest.fixture
def judge(browser: Three, tmp_path: Path) -> Judge:
    """What becomes of an object: its views by captionless, of a mesh or files that may be changed first, beside those
    of three.js."""

    def judged(
        name: str,
        of: Object,
        mutant: Callable[[Mesh], Mesh] = _as_it_is,
        read: Object | None = None,
        linear: bool = False,
    ) -> Verdict:
        """read: what captionless reads instead. linear: measure by three.js's own filter of textures as well."""
        views = ours.views(mutant(ours.read((read or of).files, tmp_path / name)), of.angles, of.size)
        shares = []
        if linear:
            browser.load(of.files, stored=False)
            shares = [
                compare(view, browser.view(*at, of.size)).share for view, at in zip(views, of.angles, strict=True)
            ]
        faces = browser.load(of.files, stored=True)
        theirs = [browser.view(*at, of.size) for at in of.angles]
        found = [compare(*pair) for pair in zip(views, theirs, strict=True)]
        return Verdict(name, found, faces, (views[0], theirs[0]), min(shares, default=None))

    return judged
