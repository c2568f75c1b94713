""""""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self

from pydantic import (
    Field,
    model_validator,
)

from captionless.spec.section import Section


class LandmarkOrigin(StrEnum):
    grammar = "grammar"
    file = "file"
    llm = "llm"


class LandmarksSpec(Section):
    origin: LandmarkOrigin = LandmarkOrigin.grammar
    """`grammar` (the source's own, `parametric` only), `file` (JSONL), `llm` (an OpenAI-compatible endpoint)."""
    count: int = Field(128, ge=1)
    """Texts per category (the method's L)."""
    file: str = ""
    """`file`: URL of a JSONL with `category` and `text`."""
    filter: Literal["report", "drop"] = "report"
    """`file`: what to do with texts that name a colour or a material. An LLM's are always asked for again."""
    endpoint: str = "https://api.openai.com/v1"
    """`llm`: base URL of the chat completions API."""
    model: str = "gpt-4o-mini"
    api_key_env: str = "OPENAI_API_KEY"
    """`llm`: the environment variable that holds the key; the key itself never stands in a spec."""
    temperature: float = Field(1.0, ge=0, le=2)
    texts_per_request: int = Field(32, ge=1)
    max_cost: float = Field(5.0, gt=0)
    """`llm`: the run's cost cap, in the currency of the prices."""
    input_price: float = Field(0.15, ge=0)
    """`llm`: price of a million prompt tokens."""
    output_price: float = Field(0.60, ge=0)
    """`llm`: price of a million completion tokens."""
    timeout_seconds: float = Field(60.0, gt=0)
    hints: tuple[str, ...] = ()
    """`llm`: metadata of categories for the prompt, each as `category: what it is`."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.origin is LandmarkOrigin.file and not self.file:
            raise ValueError("file is required for origin: file")
        return self
