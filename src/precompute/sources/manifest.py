"""A JSONL list of mesh files: one object per line, with its category, origin and licence."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from captionless.errors import DataError, SpecError, did_you_mean
from captionless.precompute.formats import Axes
from captionless.precompute.object_files import MeshFile, Scope, beside, path_from, resolved, unsigned
from captionless.precompute.sources.base import Loaded, ObjectRef, Selection, by_key, split_of
from captionless.runtime.redaction import HIDDEN, public_address, public_url
from captionless.spec.data import DataSpec
from captionless.store import objects
from captionless.store.file_index import FileIndex
from captionless.store.shards import check_ends
from captionless.store.web_servers import is_on_web, server_of

_PLAIN = re.compile(r"(?!\.)[^/\\:?#]+(/(?!\.)[^/\\:?#]+)*")
"""A path to which its folder's URL is simply prepended: the usual one, of which there may be millions."""
_BLOCK = 16 << 20  # bytes of a manifest that are read at once
_LINES_FOR_SERVERS = 2000
_SERVERS = 8


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
        if data.split == "folders":
            raise SpecError('data.split: a manifest\'s objects need no folders; use "manifest" or "hash"')
        url = data.source.url
        self._folder = _url(url, "x")[:-1] if "?" not in url and "::" not in url else ""

    def refs(self) -> list[ObjectRef]:
        return by_key(self.stream(FileIndex()))

    def stream(self, files: FileIndex) -> Iterator[ObjectRef]:
        url, number, empty = self._data.source.url, 0, True
        named = public_address(url)  # a signature would be taken to reach as far as the line's number
        selection, axes = Selection(self._data.source.categories), Axes()
        for number, text in enumerate(_lines(url), start=1):
            if text.strip():
                line, empty = _parse(text, f"{named}:{number}"), False
                if selection.takes(line.category):
                    ref = self._ref(f"{named}:{number}", line)
                    axes.add(str(ref.url), ref.up)
                    yield ref
        if empty:
            raise SpecError(f"data.source.url: {url}: the manifest lists no objects")
        selection.check()
        axes.check()

    def digest(self, ref: ObjectRef) -> str:
        from captionless.precompute.meshfile import digest  # brings decoders, which reading apart does without

        return objects.digest(digest(self.mesh_file(ref).open()), ref.up)

    def load(self, ref: ObjectRef) -> Loaded:
        from captionless.precompute.meshfile import read_object

        files = self.mesh_file(ref).open()
        reading = read_object(files, ref.up)
        return Loaded(mesh=reading.mesh, files=tuple(files.seen), losses=reading.losses)

    def mesh_file(self, ref: ObjectRef) -> MeshFile:
        """The mesh and its files are to be in the manifest's folder; those of a mesh that is given by its URL, or by an
        absolute path, elsewhere: in its own."""
        url, manifest = self._address(ref), self._data.source.url
        own = (beside(manifest, ""),) if _is_relative(manifest, url) else (url, beside(url, ""))
        servers = self._servers if is_on_web(url) else ()
        return MeshFile(url, ref.up, Scope(own, manifest, tuple(self._data.allow), servers))

    def _address(self, ref: ObjectRef) -> str:
        """The URL of an object's mesh, with its signature: a listing, from which `ref` may be, does not keep it.
        DataError if the manifest names another file by now."""
        url = str(ref.url)
        if HIDDEN not in url:
            return url
        signed = self._signed.get(ref.key, url)
        if unsigned(signed) != unsigned(url):
            now = public_address(signed)
            raise DataError(f"{ref.key}: the manifest names {now}, and named {url} when it was listed; rerun list")
        return signed

    @cached_property
    def _servers(self) -> tuple[str, ...]:
        """A few of the web servers that the manifest names."""
        first = islice(self.stream(FileIndex()), _LINES_FOR_SERVERS)
        found = dict.fromkeys(server for ref in first if (server := server_of(str(ref.url))))
        return tuple(found)[:_SERVERS]

    @cached_property
    def _signed(self) -> dict[str, str]:
        """The signed URLs of the manifest by key. Its lines were found to be right when it was listed."""
        lines = (json.loads(text) for text in _lines(self._data.source.url) if b"?" in text)
        urls = ((_key(line["key"]), self._url(line["mesh"])) for line in lines)
        return {key: url for key, url in urls if url != public_address(url)}

    def _ref(self, where: str, line: Line) -> ObjectRef:
        if self._data.split == "manifest" and line.split is None:
            raise SpecError(f"{where}: split: required, since data.split is manifest; expected train or test")
        named = line.split if self._data.split == "manifest" else None
        attributes = line.attributes and {name: public_url(value) for name, value in line.attributes.items()}
        return ObjectRef(
            key=_key(line.key),
            category=line.category,
            split=named or split_of(line.key, self._data.test_fraction),
            source=public_url(line.source),
            licence=public_url(line.licence),
            text=line.text and public_url(line.text),
            attributes=attributes,
            url=self._url(line.mesh),
            up=line.up or self._data.source.up or None,
        )

    def _url(self, mesh: str) -> str:
        plain = self._folder and _PLAIN.fullmatch(mesh)
        return self._folder + mesh if plain else _url(self._data.source.url, mesh)


def _key(key: str) -> str:
    return public_url(key) if "://" in key else key  # as a whole URL it is left out, and listed


def _url(manifest: str, mesh: str) -> str:
    """The URL of a line's mesh. Only that of a relative path out of the manifest's folder keeps its `..`."""
    if "://" in mesh or mesh.startswith("/"):
        return resolved(mesh)
    url = beside(manifest, mesh)
    if _is_relative(manifest, url):
        return url
    inner, *outer = manifest.split("::")
    return "::".join([posixpath.join(posixpath.dirname(inner), mesh), *outer])


def _is_relative(manifest: str, url: str) -> bool:
    """Whether a mesh's URL is in the manifest's folder, or comes from a path that leads out of it."""
    path = path_from(manifest, url)
    return ".." in url.split("/") or not (path is None or path.startswith("../"))


def _lines(url: str) -> Iterator[bytes]:
    """The lines of a file, which is read in blocks. SpecError when there is none."""
    rest, start = b"", 0
    try:
        if url.startswith(("http://", "https://")):  # not every server reads parts
            yield from objects.read_bytes(url).split(b"\n")
            return
        while block := objects.read_bytes(url, start, start + _BLOCK):
            start += len(block)
            *whole, rest = (rest + block).split(b"\n")
            yield from whole
            if len(block) < _BLOCK:
                break
    except (FileNotFoundError, KeyError) as error:
        raise SpecError(f"data.source.url: {url}: no such file; expected a JSONL manifest") from error
    yield rest


def _parse(text: bytes, where: str) -> Line:
    """The object of one line; SpecError names the place (`url:line`) and the field."""
    try:
        try:
            line = Line.model_validate_json(text)
        except ValidationError:
            line = _tolerant(text)
        check_ends(line.key)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the line"
        hint = did_you_mean(field, Line.model_fields) if first["type"] == "extra_forbidden" else ""
        given = "" if first["type"] == "missing" else f", not {first['input']!r}"
        raise SpecError(f"{where}: {field}: {first['msg'].lower()}{given}{hint}") from error
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{where}: not valid JSON ({error})") from error
    except DataError as error:
        raise SpecError(f"{where}: {error}") from error
    return line


def _tolerant(text: bytes) -> Line:
    """A line that pydantic does not read. Lone surrogates, which JSON can write, are kept: the object's name is at
    fault, not the manifest, and the gate says so (`stages.listing.gate`)."""
    fields = json.loads(text)
    line = Line.model_validate(_without_surrogates(fields))
    return line.model_copy(update={name: fields[name] for name in ("key", "category", "mesh")})


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_without_surrogates(name): _without_surrogates(each) for name, each in value.items()}
    return value
