"""`captionless init`: a starter spec for the user's own meshes, with comments on the main choices."""

from __future__ import annotations

import os
import sys

import yaml

from captionless.clip.demo import NAME as DEMO
from captionless.errors import SpecError
from captionless.store import objects

_TEMPLATE = """\
# Written by `captionless init`. To see all fields: `captionless plan {where} --spec`.
name: {name}
data:
  source:
    kind: {kind}
    url: {url}
{up}  testFraction: 0.25        # share of objects held out for testing, by a hash of their keys
  imageSize: {size}
  points: 2048
  maxSkipped: 0             # broken meshes that may be skipped; each is logged by name
clip:
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


def write_spec(meshes: str, out: str, clip: str, up: str) -> str:
    """Writes the spec and returns its location; SpecError when `meshes` does not exist or is empty."""
    if meshes.endswith((".jsonl", ".json")):
        kind = "manifest"
        if not objects.exists(meshes):
            raise SpecError(f"{meshes}: no such manifest")
    else:
        kind = "folder"
        if not objects.list_names(meshes):
            raise SpecError(f"{meshes}: missing or empty; expected a folder with one sub-folder of meshes per category")
    if out != "-" and objects.exists(out):
        raise SpecError(f"{out}: already exists; remove it or choose another file with --out")
    model, _, tag = clip.partition("/")
    demo = model == DEMO
    url = os.path.abspath(meshes) if objects.is_local(meshes) else meshes
    stem = os.path.basename(url.rstrip("/")).removesuffix(".jsonl").lower()
    name = "".join(c if c.isalnum() and c.isascii() else "-" for c in stem).strip("-")[:40].strip("-")
    text = _TEMPLATE.format(
        where=out,
        name=name or "alignment",
        kind=kind,
        url=yaml.safe_dump(url, width=10_000).strip().removesuffix("...").strip(),
        up=f"    up: {up}\n" if up else "",
        size=112 if demo else 224,
        clip=_DEMO if demo else f"  model: {model}\n  pretrained: {tag}\n",
        steps=300 if demo else 10_000,
        points=256 if demo else 2048,
        width=16 if demo else 32,
        nsample=16 if demo else 32,
        workers=os.cpu_count() or 1,
    )
    if out == "-":
        sys.stdout.write(text)
    else:
        objects.write_bytes(out, text.encode())
    return out
