"""A tiny OpenCLIP model with random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

MODEL = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
PREPROCESS: dict[str, Any] = {"mean": [0.5, 0.4, 0.3], "std": [0.3, 0.25, 0.2], "interpolation": "bicubic"}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., str]:
    """Writes an OpenCLIP folder with random weights; returns its model name."""

    def write(
        name: str = "tiny",
        seed: int = 0,
        preprocess: dict[str, Any] | None = None,
        change: Callable[[dict[str, torch.Tensor]], object] = lambda _: None,
    ) -> str:
        folder = tmp_path / name
        folder.mkdir()
        config = {"model_cfg": MODEL, "preprocess_cfg": PREPROCESS | (preprocess or {})}
        (folder / "open_clip_config.json").write_text(json.dumps(config))
        torch.manual_seed(seed)
        weights = open_clip.create_model(f"local-dir:{folder}", load_weights=False).state_dict()
        change(weights)
        torch.save(weights, folder / "open_clip_pytorch_model.bin")
        return f"local-dir:{folder}"

    return write
