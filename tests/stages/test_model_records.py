"""The files of a run that another run, or a late write, has replaced are recognised and come back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from captionless.errors import DataError
from captionless.stages.model_records import PART, whole
from captionless.store.ledger import Ledger
from tests.trainer import synthetic
from tests.trainer.test_changed_settings import call


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("records")
    synthetic.write(path, train=24)
    return path


def recorded(root: Path, run: str, **train: object) -> tuple[Ledger, str, Path]:
    """A finished run: its published ledger, fingerprint and folder."""
    fingerprint = call(root, run, **train)
    ledger = Ledger(str(root / run))
    ledger.publish({PART: ledger.commit(PART, fingerprint, {"model.pt": "", "history.json": ""}, {})})
    return Ledger(str(root / run)), fingerprint, root / run


@pytest.mark.parametrize("name", ["model.pt", "history.json"])
def test_what_another_run_has_replaced_comes_back(root: Path, name: str) -> None:
    ledger, first, folder = recorded(root, f"back-{name[:5]}")
    before = (folder / name).read_bytes()
    call(root, f"back-{name[:5]}", optim={"lr": 1e-3})
    record = whole(ledger, first)
    assert record is not None
    assert (folder / name).read_bytes() == before


def test_what_is_kept_nowhere_is_made_again(root: Path) -> None:
    ledger, first, folder = recorded(root, "again")
    second = call(root, "again", optim={"lr": 1e-3})
    for kept in (folder / "earlier" / first[:8]).iterdir():
        kept.unlink()
    assert second != first
    assert whole(ledger, first) is None


def test_a_history_of_another_run_is_not_taken_for_the_models(root: Path) -> None:
    ledger, first, folder = recorded(root, "history")
    other = json.loads((folder / "history.json").read_text()) | {"fingerprint": "another"}
    (folder / "history.json").write_text(json.dumps(other))
    assert whole(ledger, first) is None
    assert call(root, "history") == first
    assert json.loads((folder / "history.json").read_text())["fingerprint"] == first


def test_the_same_history_written_again_is_recorded(root: Path) -> None:
    ledger, first, folder = recorded(root, "same")
    history = json.loads((folder / "history.json").read_text())
    (folder / "history.json").write_text(json.dumps(history | {"seconds": history["seconds"] + 1}))
    record = whole(ledger, first)
    assert record is not None
    assert record == whole(Ledger(str(folder)), first)


@pytest.mark.parametrize("name", ["model.pt", "history.json"])
def test_what_somebody_has_modified_is_refused(root: Path, name: str) -> None:
    ledger, first, folder = recorded(root, f"modified-{name[:5]}")
    (folder / name).write_bytes((folder / name).read_bytes()[:-3] + b"xyz")
    with pytest.raises(DataError, match=rf"{name}: modified since"):
        whole(ledger, first)
