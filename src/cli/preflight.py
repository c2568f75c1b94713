"""Checks before any work is done: the names and places that a spec refers to.

A typo in the evaluation's prompt or a missing landmark file must not show up after hours of rendering. Nothing is
loaded or computed here; each check is the one that the stage itself makes.
"""

from __future__ import annotations

import os

from captionless.clip.names import check as check_model
from captionless.errors import SpecError
from captionless.eval import prompts
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.landmarks import LandmarkOrigin
from captionless.spec.variant import training_variants
from captionless.store import objects


def check(spec: AlignmentSpec) -> None:
    """Raises SpecError for a model, prompt, file or API key that a later stage would not find."""
    check_model(spec.clip.model, spec.clip.pretrained or None)
    prompts.templates(spec.eval.prompt)
    if spec.train.init:
        from captionless.stages.train import refuse_own_model  # half a second, which few specs need

        refuse_own_model(spec, training_variants(spec))
    mined = spec.train.batches.from_
    if mined and not objects.exists(objects.join(mined, "neighbours.json")):
        raise SpecError(f"train.batches.from: {mined} has no stored neighbours; run `captionless neighbours` first")
    source, landmarks = spec.data.source, spec.landmarks
    if source.url and not objects.exists(source.url):
        raise SpecError(f"data.source.url: {source.url} does not exist")
    if spec.data.deny and not objects.exists(spec.data.deny):
        raise SpecError(f"data.deny: {spec.data.deny} does not exist")
    if "i2l" not in spec.metrics:
        return
    if landmarks.origin is LandmarkOrigin.file and not objects.exists(landmarks.file):
        raise SpecError(f"landmarks.file: {landmarks.file} does not exist")
    if landmarks.origin is LandmarkOrigin.llm and landmarks.api_key_env and not os.environ.get(landmarks.api_key_env):
        raise SpecError(
            f"landmarks.apiKeyEnv: the environment variable {landmarks.api_key_env} is not set; "
            f"set it to the API key for {landmarks.endpoint}"
        )
