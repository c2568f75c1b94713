"""Writes what `captionless init` found and chose: a spec that `captionless validate` accepts."""

from __future__ import annotations

import sys

import yaml

from captionless.cli import preflight
from captionless.clip import names
from captionless.errors import SpecError
from captionless.precompute.sources.survey import survey
from captionless.runtime.encoding import stdout_is_unicode
from captionless.spec.init import starter_spec
from captionless.spec.load import build_spec
from captionless.store import objects


def write(meshes: str, out: str, clip: str, up: str) -> None:
    """Writes the spec to the path or URL `out`, or to stdout for `-`, and says what to do next.

    clip: as `clip.names.parse` takes it. SpecError, and nothing is written, if the meshes or the model are not there.
    """
    found = survey(meshes)
    if out != "-" and objects.exists(out):
        raise SpecError(f"{out}: already exists; remove it or choose another file with --out")
    try:
        model, pretrained = names.parse(clip)
    except SpecError as error:
        raise SpecError(f"--clip {clip}: {error}") from None
    text = starter_spec(
        meshes,
        found.kind,
        model,
        pretrained,
        up,
        where=out,
        by_folders=found.split == "folders",
        allow=found.allow,
        class_names=found.class_names,
        axis=found.axis,
        escaped=out == "-" and not stdout_is_unicode(),
    )
    preflight.check(build_spec(yaml.safe_load(text), where=out))
    if out == "-":
        sys.stdout.write(text)
        return
    objects.write_bytes(out, text.encode())
    if found.axis and not up:
        print(f"wrote {out}; next: set data.source.up in it, then captionless run {out}")
    else:
        print(f"wrote {out}; next: captionless run {out}")
