"""The CLIP model of a spec, and its identity for fingerprints."""

from __future__ import annotations

from captionless.clip import checkpoints, openclip
from captionless.spec.clip import ClipSpec
from captionless.store import objects


def load_clip(spec: ClipSpec) -> openclip.Clip:
    """The frozen CLIP model of a spec."""
    return openclip.load(spec.model, spec.pretrained or None, spec.device, spec.precision)


def clip_identity(spec: ClipSpec) -> str:
    """The identity of the model that stored embeddings depend on, without loading it."""
    return objects.digest(checkpoints.identity(spec.model, spec.pretrained or None), spec.precision)
