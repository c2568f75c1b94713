"""Inputs that failed in the field, as far as no other test has them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from captionless.errors import DataError
from captionless.precompute.sources import open_source
from captionless.spec.data import DataSpec
from captionless.stages.listing.gate import Gate
from captionless.trainer.model_file import load_model, read_model
from captionless.trainer.run_folder import model_digest

FIELD = Path(__file__).parent.parent / "data" / "field"


@pytest.mark.parametrize("name", ["ck.safetensors", "ck.pth", "checkpoint", "weights.bin"])
def test_weights_of_another_program_are_no_model(tmp_path: Path, name: str) -> None:
    """Not a folder in whose place a file is, which would be worth another try."""
    shutil.copy(FIELD / "eval-checkpoint-safetensors" / "ck.safetensors", tmp_path / name)
    for open_ in (model_digest, load_model, read_model):
        with pytest.raises(DataError, match=rf"{name}: is no model\.pt; expected the model\.pt of a training run"):
            open_(str(tmp_path / name))


def test_a_key_that_leads_out_of_its_folder_is_left_out() -> None:
    data = DataSpec.model_validate(
        {"source": {"kind": "manifest", "url": str(FIELD / "manifest-key-dotdot" / "27_key_dotdot.jsonl")}}
    )
    verdicts = {ref.key: Gate(data).verdict(ref) for ref in open_source(data).refs()}
    assert {key: gate for key, (gate, _) in verdicts.items() if ".." in key} == {"../../evil": "name"}
    assert "`..`" in verdicts["../../evil"][1]
    assert [gate for key, (gate, _) in verdicts.items() if ".." not in key] == [""]
