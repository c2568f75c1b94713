"""What a run was made with. Its status records it as `pinned` before the first Job is made, and never changes it.

    operator         the version that made the run
    image            the operator's image then, with its pull policy; `pods.image` comes first, as ever
    stages           the plan
    written          digests of the fields that the author wrote, except those that may be changed
    defaults         the values of the fields that the author left open
    images           what pods have run: references to images, and what was behind them

A newer operator has another image, other defaults, and fields that this image would refuse. So the run goes on with
what is recorded, in the operator's own templates of Jobs. `held` says when it cannot.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from captionless import __version__
from captionless.kube.cel_validation import MUTABLE
from captionless.kube.jobs import Operator
from captionless.kube.jobs.pod import SPEC_KEY
from captionless.kube.observed_state import Alignment, Pod
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.resources import ResourcesSpec

Document = Mapping[str, Any]
_MOST = 8
"""Images of a run that are recorded."""


@dataclass(frozen=True)
class Pin:
    """`status.pinned` without `images`. `operator` is empty for a run that began before there were pins."""

    operator: str
    image: str
    image_pull_policy: str
    stages: tuple[str, ...]
    written: Mapping[str, str]
    defaults: Document

    @classmethod
    def of(cls, document: Document, spec: AlignmentSpec, stages: Iterable[str], operator: Operator) -> Pin:
        """For a run that is made now, from what its author wrote and what that means today."""
        image, policy = operator.image, operator.image_pull_policy
        values = spec.model_dump(mode="json", by_alias=True)
        return cls(__version__, image, policy, tuple(stages), _digests(document), defaults(document, values))

    @classmethod
    def read(cls, alignment: Alignment) -> Pin | None:
        """As an Alignment's status has it."""
        found = alignment.status.get("pinned")
        if not found:
            return None
        image, policy = str(found.get("image", "")), str(found.get("imagePullPolicy", ""))
        stages, written = tuple(found.get("stages") or ()), found.get("written") or {}
        return cls(str(found.get("operator", "")), image, policy, stages, written, found.get("defaults") or {})

    def earlier(self, document: Document, image: str, config_map: Document | None) -> Pin:
        """For a run that began before there were pins: by its last Job's image, and the spec that this was given."""
        try:
            values = yaml.safe_load(((config_map or {}).get("data") or {}).get(SPEC_KEY) or "")
        except yaml.YAMLError:
            values = None
        then = self.defaults
        if isinstance(values, Mapping):
            written, today, known = document.get("resources") or {}, then["resources"], values.get("resources") or {}
            resources = {k: today.get(k, v) if k in written else v for k, v in known.items()}
            then = {**defaults(document, values), "resources": resources}
        return replace(self, operator="", image=image, defaults=then)

    def to_status(self) -> dict[str, Any]:
        return {
            "operator": self.operator,
            "image": self.image,
            "imagePullPolicy": self.image_pull_policy,
            "stages": list(self.stages),
            "written": dict(self.written),
            "defaults": dict(self.defaults),
        }

    def operator_then(self, today: Operator) -> Operator:
        """The operator's settings for further Jobs."""
        return replace(today, image=self.image, image_pull_policy=self.image_pull_policy)

    def changed(self, document: Document) -> list[str]:
        """The fields that are not as they were written. New ones, of a newer operator, do not count."""
        today = _digests(document)
        known = self.written.keys() | self.defaults.keys()
        return sorted(n for n in known - set(MUTABLE) if self.written.get(n) != today.get(n))

    def completed(self, document: Document) -> dict[str, Any]:
        """What an author wrote, with the defaults of then."""
        found = _merged(document, {k: v for k, v in self.defaults.items() if k not in MUTABLE})
        for name in MUTABLE:
            then, written = self.defaults.get(name), document.get(name)
            if isinstance(then, Mapping):
                found[name] = {**then, **(written or {})}
            elif written is None and then is not None:
                found[name] = then
        return found

    def text(self, document: Document) -> str:
        """The spec for the run's own image: nothing in it is newer than that."""
        known = self.defaults.get("resources", {})
        found = {k: v for k, v in self.completed(document).items() if k in (*self.written, *self.defaults, *MUTABLE)}
        found["resources"] = {k: v for k, v in found.get("resources", {}).items() if k in known}
        text: str = yaml.safe_dump(found, allow_unicode=True)
        return text


def _digests(document: Document) -> dict[str, str]:
    """Of what an author wrote and may not change. An empty section is none."""
    fixed = {k: v for k, v in document.items() if k not in MUTABLE and v not in ({}, None)}
    return {k: hashlib.sha256(json.dumps(v, sort_keys=True).encode()).hexdigest()[:12] for k, v in fixed.items()}


def defaults(document: Document, values: Document) -> dict[str, Any]:
    """The values of the fields that a document leaves open. Resources may be left open later: all of them."""
    found = _left_open(document, values)
    return {**found, "resources": ResourcesSpec().model_dump(mode="json", by_alias=True)}


def _left_open(document: Document, values: Document) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        written = document.get(name)
        if isinstance(value, Mapping) and isinstance(written, Mapping):
            if below := _left_open(written, value):
                found[name] = below
        elif written != value:  # also a list of which items leave fields open
            found[name] = value
    return found


def _merged(document: Document, over: Document) -> dict[str, Any]:
    found = dict(document)
    for name, value in over.items():
        below = found.get(name)
        found[name] = _merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return found


def images(alignment: Alignment, pods: Iterable[Pod]) -> list[dict[str, str]]:
    """What pods have run so far, oldest first: each content of an image once."""
    found = [dict(i) for i in (alignment.status.get("pinned") or {}).get("images") or ()]
    known = {(i["image"], i["imageID"]) for i in found}
    first: dict[tuple[str, str], float] = {}
    for pod in pods:
        # An older pod is of a deleted Alignment of the same name.
        if pod.image_id and pod.created and not (alignment.created and pod.created < alignment.created):
            new, at = (pod.image, pod.image_id), pod.created.timestamp()
            first[new] = min(at, first.get(new, at))
    new_ones = sorted((at, new) for new, at in first.items() if new not in known)
    return [*found, *({"image": image, "imageID": content} for _, (image, content) in new_ones)][:_MOST]


def changed_image(found: Iterable[Mapping[str, str]]) -> str:
    """The image that was not the same for all pods, in a sentence; empty if there is none.

    A node that has an image from elsewhere than a registry calls it by another kind of digest, which says nothing.
    """
    first: dict[tuple[str, bool], str] = {}
    for each in found:
        _, of_registry, content = each["imageID"].rpartition("@")
        before = first.setdefault((each["image"], bool(of_registry)), content)
        if before != content:
            return f"{each['image']} was {before} when the run was made, and {content} later"
    return ""
