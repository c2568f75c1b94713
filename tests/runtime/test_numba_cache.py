"""The numba cache of an image: copied once, by one process, and optional."""

from __future__ import annotations

from pathlib import Path

import pytest

from captionless.runtime import env, numba_cache


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Where the image's are, and where numba looks."""
    brought, wanted = tmp_path / "brought", tmp_path / "cache" / "numba"
    (brought / "ops").mkdir(parents=True)
    (brought / "ops" / "kernel.nbi").write_bytes(b"compiled")
    monkeypatch.setenv(env.NUMBA_CACHE, str(brought))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(wanted))
    return brought, wanted


def test_they_are_copied_once(places: tuple[Path, Path]) -> None:
    brought, wanted = places
    numba_cache.provide()
    assert (wanted / "ops" / "kernel.nbi").read_bytes() == b"compiled"
    (wanted / "ops" / "kernel.nbi").write_bytes(b"newer")
    numba_cache.provide()
    assert (wanted / "ops" / "kernel.nbi").read_bytes() == b"newer"
    assert [path.name for path in wanted.parent.iterdir()] == ["numba"]
    assert brought.exists()


@pytest.mark.parametrize("missing", [env.NUMBA_CACHE, "NUMBA_CACHE_DIR"], ids=str)
def test_without_either_nothing_happens(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.delenv(missing)
    numba_cache.provide()
    assert not places[1].exists()


def test_where_nothing_can_be_written_numba_is_left_to_compile(places: tuple[Path, Path]) -> None:
    places[1].parent.write_text("no folder")
    numba_cache.provide()
    assert places[1].parent.read_text() == "no folder"
