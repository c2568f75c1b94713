"""What fails before any work is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from captionless.cli import preflight
from captionless.errors import SpecError
from captionless.spec import load

DEMO: dict[str, Any] = {"data": {"source": {"kind": "parametric"}}, "clip": {"model": "captionless-demo"}}


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["clip.model=ViTB32"], '"ViTB32"'),
        (["eval.prompt=papr"], 'prompt "papr": expected one of paper'),
        (["data.source.kind=folder", "data.source.url=/no/where", "train.weights=[i2i]"], "nothing at /no/where"),
        (["landmarks.origin=file", "landmarks.file=/no/where.jsonl"], "landmarks.file: there is nothing at"),
        (["landmarks.origin=llm", "landmarks.apiKeyEnv=NO_SUCH_KEY"], "NO_SUCH_KEY is not set"),
    ],
)
def test_what_a_later_stage_would_miss_is_told_now(overrides: list[str], told: str) -> None:
    with pytest.raises(SpecError) as caught:
        preflight.check(load.build_spec(DEMO, overrides))
    assert told in str(caught.value)


def test_what_is_not_used_is_not_asked_for(tmp_path: Path) -> None:
    overrides = ["landmarks.origin=file", "landmarks.file=/no/where.jsonl", "train.weights=[i2i]"]
    preflight.check(load.build_spec(DEMO, overrides))
    preflight.check(load.build_spec(DEMO))
