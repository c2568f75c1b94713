"""The `clip` section."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from captionless.clip.demo import NAME as DEMO
from captionless.spec.section import Section


class ClipSpec(Section):
    """The frozen CLIP model whose image and text embeddings the point-cloud encoder is aligned to."""

    model: str = "ViT-B-32"
    """OpenCLIP model name, `hf-hub:ORG/NAME` or `hf-hub:ORG/NAME@REVISION`, `local-dir:PATH`, or the embedded
    `captionless-demo`. Without a revision, the newest commit of the repository is used, and what was made with another
    one is made again."""
    pretrained: str = "laion2b_s34b_b79k"
    """OpenCLIP checkpoint tag, or the path or URL of a checkpoint; empty for models that include their weights
    (`hf-hub:`, `local-dir:`, `captionless-demo`). A file that is replaced is noticed, and what was made with the
    earlier one is made again."""
    batch_size: int = Field(256, ge=1)
    """Views or texts embedded in one forward pass."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to run CLIP on; `auto`: CUDA if available, otherwise the CPU. Kubernetes: `cuda` requests a GPU for each
    pod that runs CLIP."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Precision of CLIP's matrix products. Embeddings are always normalised in float32."""

    OPERATIONAL: ClassVar = frozenset({"batch_size", "device"})
    """Fields that do not affect results."""

    @model_validator(mode="before")
    @classmethod
    def _weights_of_its_own(cls, values: Any) -> Any:
        if isinstance(values, dict) and str(values.get("model", "")).startswith((DEMO, "hf-hub:", "local-dir:")):
            return {"pretrained": "", **values}
        return values
