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
    ("overrides", "named"),
    [
        pytest.param(["clip.model=ViTB32"], ["ViTB32"], id="CLIP model"),
        pytest.param(["eval.prompt=papr"], ["prompt", "papr", "paper"], id="prompt"),
        pytest.param(
            ["data.source.kind=folder", "data.source.url=/no/where", "train.weights=[i2i]"],
            ["data.source.url", "/no/where"],
            id="source",
        ),
        pytest.param(
            ["landmarks.origin=file", "landmarks.file=/no/where.jsonl"],
            ["landmarks.file", "/no/where.jsonl"],
            id="landmark file",
        ),
        pytest.param(
            ["landmarks.origin=llm", "landmarks.apiKeyEnv=NO_SUCH_KEY"],
            ["landmarks.apiKeyEnv", "NO_SUCH_KEY"],
            id="API key",
        ),
        pytest.param(
            ["output=out", "train.weights=[i2i]", "train.init=./out/train/i2i-seed0"],
            ["train.init", "i2i-seed0", "output"],
            id="own model",
        ),
        pytest.param(
            ["train.batches={kind: neighbours, from: /no/where}"],
            ["train.batches.from", "/no/where", "captionless neighbours"],
            id="stored neighbours",
        ),
    ],
)
def test_what_a_later_stage_would_miss_is_reported_now(overrides: list[str], named: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        preflight.check(load.build_spec(DEMO, overrides))
    assert all(name in str(caught.value) for name in named)


def test_what_is_not_used_is_not_asked_for(tmp_path: Path) -> None:
    overrides = ["landmarks.origin=file", "landmarks.file=/no/where.jsonl", "train.weights=[i2i]"]
    preflight.check(load.build_spec(DEMO, overrides))
    preflight.check(load.build_spec(DEMO))
