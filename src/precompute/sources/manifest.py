"""A JSONL list of mesh files: one object per line, with its category, origin and licence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from captionless.errors import DataError, SpecError, did_you_mean
from captionless.mesh import Up
from captionless.precompute.meshfile import digest, load_mesh
from captionless.precompute.references import beside
from captionless.precompute.sources.base import Loaded, ObjectRef, by_key, chosen, split_of
from captionless.spec.data import DataSpec
from captionless.store import objects
from captionless.store.shards import check_key


class Line(BaseModel):
    """One object of a manifest; `mesh` is a URL, or a path relative to the manifest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    category: str = Field(min_length=1)
    mesh: str = Field(min_length=1)
    source: str
    licence: str
    up: Literal["x", "y", "z"] | None = None
    split: Literal["train", "test"] | None = None
    text: str | None = None
    attributes: dict[str, str] | None = None


class ManifestSource:
    """The objects that the JSONL file at `data.source.url` lists."""

    numbering: Sequence[str] = ()

    def __init__(self, data: DataSpec) -> None:
        self._data = data
        self._up: dict[str, Up | None] = {}

    def refs(self) -> list[ObjectRef]:
        url = self._data.source.url
        try:
            content = objects.read_bytes(url)
        except (FileNotFoundError, IsADirectoryError, KeyError) as error:
            raise SpecError(f"data.source.url: {url}: no such file; expected a JSONL manifest") from error
        lines = [
            _parse(text, f"{url}:{number}") for number, text in enumerate(content.split(b"\n"), start=1) if text.strip()
        ]
        if not lines:
            raise SpecError(f"data.source.url: {url}: the manifest lists no objects")
        taken = chosen(self._data.source.categories, (line.category for _, line in lines))
        refs = by_key(self._ref(where, line) for where, line in lines if line.category in taken)
        self._up = {line.key: line.up or self._data.source.up or None for _, line in lines}
        return refs

    def digest(self, ref: ObjectRef) -> str:
        return objects.digest(digest(str(ref.url)), self._axis(ref))

    def load(self, ref: ObjectRef) -> Loaded:
        return Loaded(mesh=load_mesh(str(ref.url), self._axis(ref)))

    def _axis(self, ref: ObjectRef) -> Up | None:
        if not self._up:
            self.refs()
        return self._up[ref.key]

    def _ref(self, where: str, line: Line) -> ObjectRef:
        if self._data.split == "manifest" and line.split is None:
            raise SpecError(f"{where}: split: required, since data.split is manifest; expected train or test")
        named = line.split if self._data.split == "manifest" else None
        absolute = "://" in line.mesh or line.mesh.startswith("/")
        return ObjectRef(
            key=line.key,
            category=line.category,
            split=named or split_of(line.key, self._data.test_fraction),
            source=line.source,
            licence=line.licence,
            text=line.text,
            attributes=line.attributes,
            url=line.mesh if absolute else beside(self._data.source.url, line.mesh),
        )


def _parse(text: bytes, where: str) -> tuple[str, Line]:
    """The object of one line; SpecError names the place (`url:line`) and the field."""
    try:
        line = Line.model_validate(json.loads(text))
        check_key(line.key)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the line"
        hint = did_you_mean(field, Line.model_fields) if first["type"] == "extra_forbidden" else ""
        given = "" if first["type"] == "missing" else f", not {first['input']!r}"
        raise SpecError(f"{where}: {field}: {first['msg'].lower()}{given}{hint}") from error
    except ValueError as error:
        raise SpecError(f"{where}: not valid JSON ({error})") from error
    except DataError as error:
        raise SpecError(f"{where}: {error}") from error
    return where, line
