""""""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    Field,
    model_validator,
)

from captionless.clip.demo import NAME as DEMO
from captionless.spec.section import Section


class ClipSpec(Section):
    model: str = "ViT-B-32"
    """Any OpenCLIP model name, `hf-hub:...`, `local-dir:...`, or the embedded `captionless-demo`."""
    pretrained: str = "laion2b_s34b_b79k"
    """A tag of OpenCLIP, a path or a URL of a checkpoint; empty where the model brings its weights."""
    batch_size: int = Field(256, ge=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"

    @model_validator(mode="before")
    @classmethod
    def _weights_of_its_own(cls, values: Any) -> Any:
        if isinstance(values, dict) and str(values.get("model", "")).startswith((DEMO, "hf-hub:", "local-dir:")):
            return {"pretrained": "", **values}
        return values
