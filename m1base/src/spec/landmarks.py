"""The `landmarks` section."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from captionless.spec.section import Section


class LandmarkOrigin(StrEnum):
    """Where landmark texts come from."""

    grammar = "grammar"
    file = "file"
    llm = "llm"


class LandmarksSpec(Section):
    """The landmark texts of each category, which (I2L)² similarity compares views with. Only read if `train.weights`
    contains `i2l` or `avg`."""

    origin: LandmarkOrigin = LandmarkOrigin.grammar
    """`grammar`: built-in texts of the demo world (`parametric` sources only). `file`: a JSONL file. `llm`: a language
    model behind an OpenAI-compatible endpoint."""
    count: int = Field(128, ge=1)
    """Landmark texts per category (L in docs/method.md)."""
    file: str = ""
    """`file`: URL or path of a JSONL file with the fields `category` and `text`."""
    filter: Literal["report", "drop"] = "report"
    """`file`: `report` or `drop` texts that name a colour or a material. With `llm` such texts are always rejected and
    requested again."""
    endpoint: str = "https://api.openai.com/v1"
    """`llm`: base URL of the chat completions API."""
    model: str = "gpt-4o-mini"
    """`llm`: model name, as the endpoint knows it."""
    api_key_env: str = "OPENAI_API_KEY"
    """`llm`: environment variable with the API key, which is never part of a spec; empty: the endpoint needs none."""
    temperature: float = Field(1.0, ge=0, le=2)
    """`llm`: sampling temperature; 0: greedy, higher: more varied texts."""
    texts_per_request: int = Field(32, ge=1)
    """`llm`: number of texts per request."""
    max_cost: float = Field(5.0, gt=0)
    """`llm`: cost limit of the run, in the currency of `inputPrice` and `outputPrice`. The stage stops when it is
    reached and keeps the texts received."""
    input_price: float = Field(0.15, ge=0)
    """`llm`: price per million prompt tokens."""
    output_price: float = Field(0.60, ge=0)
    """`llm`: price per million completion tokens."""
    timeout_seconds: float = Field(60.0, gt=0)
    """`llm`: request timeout in seconds, after which the request is retried."""
    hints: tuple[str, ...] = ()
    """`llm`: category metadata for the prompt, each as `category: description`."""

    OPERATIONAL: ClassVar = frozenset(
        {"api_key_env", "max_cost", "input_price", "output_price", "timeout_seconds", "texts_per_request"}
    )
    """Fields that do not affect results (nobody can say what a language model would have answered otherwise)."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.origin is LandmarkOrigin.file and not self.file:
            raise ValueError("file is required for origin: file")
        return self
