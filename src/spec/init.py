"""The starter spec of `captionless init`, with comments on the main choices."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import yaml

from captionless.clip.demo import NAME as DEMO
from captionless.store import objects

_TEMPLATE = """\
# Written by `captionless init`. To see all fields: `captionless plan {where} --spec`.
name: {name}
data:
  source:
    kind: {kind}
    url: {url}
{up}{split}  imageSize: {size}
  points: 2048
  maxSkipped: 0             # broken meshes that may be skipped; each is logged by name
{lists}clip:
{clip}# The losses i2l and avg need landmark texts: see `landmarks.origin` (file or llm) in docs/spec.md.
train:
  weights: [uniform, i2i]   # plain InfoNCE, and negatives weighted by image similarity (I2I)
  steps: {steps}
  batchSize: 32
  points: {points}
  encoder: {{width: {width}, nsample: {nsample}}}
resources:
  workers: {workers}
"""

_DEMO = f"""\
  model: {DEMO}   # small, embedded; knows only furniture and a few household objects.
  # For meaningful results on other objects use a real model (downloads 600 MB once):
  # model: ViT-B-32
  # pretrained: laion2b_s34b_b79k
"""
_BY_HASH = "  testFraction: 0.25        # share of objects held out for testing, by a hash of their keys\n"
_BY_FOLDERS = (
    "  split: folders            # as the folders train/ and test/ say; hash: by a hash of the objects' keys\n"
)
_LONGEST = 40


def starter_spec(
    meshes: str,
    kind: str,
    model: str,
    pretrained: str,
    up: str = "",
    *,
    where: str = "alignment.yaml",
    by_folders: bool = False,
    allow: Sequence[str] = (),
    class_names: Sequence[str] = (),
    axis: Sequence[str] = (),
    escaped: bool = False,
) -> str:
    """The text of a spec for the meshes at a path or URL.

    where: the spec's file, to be named in it. by_folders, allow, class_names, axis: as `precompute.sources.survey`
    found them. escaped: whether it is to have ASCII characters only.
    """
    url = objects.local_path(meshes) if objects.is_local(meshes) else meshes
    demo = model == DEMO

    def text(value: Any) -> str:
        """A value on one line."""
        return _yaml(value, escaped)

    clip = {"model": model, **({"pretrained": pretrained} if pretrained else {})}
    lists = [("allow", allow, "where links in the folder lead"), ("classNames", class_names, "the synsets in words")]
    return _TEMPLATE.format(
        where=text(where),
        name=text(run_name(url)),
        kind=kind,
        url=text(url),
        up=_up(up, axis),
        split=_BY_FOLDERS if by_folders else _BY_HASH,
        lists="".join(
            f"  {name}:   # {what}\n" + "".join(f"    - {text(value)}\n" for value in values)
            for name, values, what in lists
            if values
        ),
        size=112 if demo else 224,
        clip=_DEMO if demo else "".join(f"  {name}: {text(value)}\n" for name, value in clip.items()),
        steps=300 if demo else 10_000,
        points=256 if demo else 2048,
        width=16 if demo else 32,
        nsample=16 if demo else 32,
        workers=os.cpu_count() or 1,
    )


def run_name(url: str) -> str:
    """A name of a run after a folder or manifest: letters without their accents, digits and hyphens, from a letter on
    (`3D-FUTURE` gives `run-3d-future`); `alignment` if nothing of it is left."""
    path = url.split("::")[0].partition("?")[0].rstrip("/")
    stem = re.sub(r"\.(jsonl|ndjson|json)$", "", os.path.basename(path), flags=re.IGNORECASE)
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if name and not name[0].isalpha():
        name = f"run-{name}"
    return name[:_LONGEST].strip("-") or "alignment"


def _up(up: str, axis: Sequence[str]) -> str:
    if up:
        return f"    up: {up}\n"
    if axis:
        return f"    # up: z   # required: {', '.join(axis).upper()} files do not define their up axis\n"
    return ""


def _yaml(value: Any, escaped: bool) -> str:
    text: str = yaml.safe_dump(value, width=10**6, allow_unicode=not escaped, default_flow_style=False)
    return text.strip().removesuffix("...").strip()
