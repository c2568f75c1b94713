"""The CLIP model of a spec: its identity for fingerprints, and whether two stages have used the same one.

What is stored is of a model's weights, and a name may stand for others tomorrow: a file or a URL whose content is
replaced, a repository with a newer commit. So there are two checks. The identity tells without loading the model
whether it has changed, and is part of what embeddings are made from. The digest of the weights that were loaded is
recorded with everything they have embedded; stages whose embeddings are compared with one another must have the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from captionless.clip import checkpoints, openclip
from captionless.errors import DataError, Retryable
from captionless.spec.clip import ClipSpec
from captionless.store import objects
from captionless.store.manifest import WorkRecord, read_header

FACT = "clip"
"""The fact of a part: the digest of the weights that have embedded it. Of a manifest: `identity` and `digest`."""


class ClipIdentity(NamedTuple):
    """weights: which ones. embeddings: what those that are made with them depend on, the precision included."""

    weights: str
    embeddings: str


def load_clip(spec: ClipSpec, identity: ClipIdentity | None = None) -> openclip.Clip:
    """The frozen CLIP model of a spec. Retryable when it no longer is the one of `identity`, if that is given."""
    loaded = openclip.load(spec.model, spec.pretrained or None, spec.device, spec.precision)
    if identity is not None and clip_identity(spec) != identity:
        raise Retryable(f"clip.model: {_name(spec)} has been replaced since this process began; rerun")
    return loaded


def clip_identity(spec: ClipSpec) -> ClipIdentity:
    """The identity of a spec's model, without loading it."""
    weights = checkpoints.identity(spec.model, spec.pretrained or None)
    return ClipIdentity(weights, objects.digest(weights, spec.precision))


def clip_facts(spec: ClipSpec, identity: ClipIdentity, url: str, records: Mapping[str, WorkRecord]) -> dict[str, Any]:
    """The facts of a finished stage at `url` that has embedded something with the model of `identity`.

    DataError when its parts are of different weights: those of a name that is taken to stand for the same ones always,
    such as a tag of open_clip, have been replaced.
    """
    digests = {str(r.facts[FACT]): name for name, r in sorted(records.items()) if r.facts.get(FACT)}
    if len(digests) > 1:
        (one, first), (other, second), *_ = digests.items()
        raise DataError(
            f"{url}: {first} was embedded by the CLIP weights {one[:12]} and {second} by {other[:12]}, both as "
            f"{_name(spec)}: delete {url} and rerun"
        )
    return {FACT: {"identity": identity.weights, "digest": next(iter(digests), "")}}


def recorded(url: str) -> Mapping[str, str]:
    """`identity` and `digest` of the model that the finished stage at `url` has embedded with; empty if unknown."""
    header = read_header(url)[0]
    found = header.facts.get(FACT) if header is not None else None
    return found if isinstance(found, dict) else {}


def same_clip(url: str, other: str, digest: str | None = None) -> None:
    """DataError unless the embeddings at two URLs are of the same weights. `digest`: those of `other`, if it is not a
    finished stage. Stages of earlier releases have not recorded theirs."""
    ours = recorded(url).get("digest")
    theirs = recorded(other).get("digest") if digest is None else digest
    if ours and theirs and ours != theirs:
        raise DataError(
            f"{url}: embedded by the CLIP weights {ours[:12]}, and {other} by {theirs[:12]}; expected the same: rerun "
            "embed and landmarks"
        )


def _name(spec: ClipSpec) -> str:
    return f"{spec.model}/{spec.pretrained}" if spec.pretrained else spec.model
