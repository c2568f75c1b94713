"""A store that is published by its manifest: what stored similarity, neighbours and galleries have in common.

Many workers write the files. The worker that finds them complete writes the manifest, which lists them, last. So a
folder without one is not a store yet, and a file that the manifest lists but is missing was lost since. A manifest says
which one it comes `after`, as those of stages do (see `manifest`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from captionless.errors import DataError, Retryable
from captionless.store import objects
from captionless.store.conditional import replace_if
from captionless.store.manifest import identity
from captionless.store.removal import remove_while

if TYPE_CHECKING:
    import pyarrow as pa

REQUESTS = 16
"""Concurrent requests to storage."""

_GROUP_ROWS = 1 << 15  # rows of a table that are written together

_T = TypeVar("_T")


@dataclass(frozen=True)
class StoreFormat:
    """A format: what the store holds and what writes it, for messages; the name and version of its manifest, and the
    earlier versions that are read as well."""

    holds: str
    maker: str
    manifest: str
    version: int
    earlier: tuple[int, ...] = ()

    def published(self, data: bytes | None, **values: str) -> dict[str, Any] | None:
        """A store's manifest by its bytes, if it is of this version and has these values."""
        try:
            manifest = json.loads(data or b"null")
        except ValueError:
            return None
        if not isinstance(manifest, dict) or manifest.get("version") != self.version:
            return None
        return manifest if values.items() <= manifest.items() else None

    def open(self, url: str, read: Callable[[Any], _T]) -> _T:
        """Opens the store: the result of `read` on its manifest.

        Raises:
            DataError: there is no manifest, it has another version, or `read` rejects it.
        """
        data = self.manifest_bytes(url)
        while True:
            try:
                return self.parse(url, data, read)
            except DataError:
                current = self.manifest_bytes(url)
                if current == data:
                    raise
                data = current  # it was replaced while its files were read

    def parse(self, url: str, data: bytes | None, read: Callable[[Any], _T]) -> _T:
        """`open` by the manifest's bytes, None where there is none."""
        target = objects.join(url, self.manifest)
        if data is None:
            raise DataError(
                f"{url}: no stored {self.holds} ({self.manifest} is missing); run {self.maker} or correct the URL"
            )
        try:
            manifest = json.loads(data)
        except ValueError as error:
            raise DataError(f"{target}: not valid JSON ({error}); delete it and rerun") from error
        try:
            if manifest["version"] not in (self.version, *self.earlier):
                raise DataError(
                    f"{target}: version {manifest['version']}; this release reads {self.version}; rerun {self.maker}"
                )
            return read(manifest)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{target}: not a manifest of stored {self.holds} ({error!r}); rerun {self.maker}"
            ) from error

    def check_sizes(self, url: str, expected: Iterable[tuple[str, int]]) -> None:
        """DataError unless files of these names and sizes in bytes are all in the folder `url`, by one listing."""
        sizes = objects.list_sizes(url)
        for name, size in expected:
            target = objects.join(url, name)
            if name not in sizes:
                raise self.missing(target)
            if sizes[name] != size:
                raise self.damaged(target, f"{sizes[name]:,} bytes, expected {size:,}")

    def read_file(self, target: str, sha256: str) -> bytes:
        """The bytes of a file; DataError unless it is there with this checksum."""
        try:
            data = objects.read_bytes(target)
        except FileNotFoundError:
            raise self.missing(target) from None
        if hashlib.sha256(data).hexdigest() != sha256:
            raise self.altered(target)
        return data

    def read_table(self, url: str, entry: Mapping[str, Any], columns: list[str] | None = None) -> pa.Table:
        """Columns, all if None, of the table that `store_table` has described, read in one request; DataError unless it
        is that. Memory holds the columns twice at most."""
        import pyarrow as pa
        from pyarrow import parquet

        target = objects.join(url, entry["file"])
        data = self.read_file(target, entry["sha256"])
        try:
            file = parquet.ParquetFile(pa.BufferReader(data))
            groups = [file.read_row_group(i, columns, use_threads=False) for i in range(file.num_row_groups)]
            empty = file.schema_arrow.empty_table().select(columns or file.schema_arrow.names)
            found = pa.concat_tables(groups or [empty]).combine_chunks()
        except pa.ArrowException as error:
            raise self.damaged(target, str(error)) from error
        del file, groups
        pa.default_memory_pool().release_unused()
        return found

    def is_current(self, url: str, before: bytes | None, stamp: str, tables: Iterable[str]) -> bool:
        """Whether the manifest `before` has this `stamp`, and the tables that it names are all there."""
        try:
            found = json.loads(before or b"{}")
            named = [found[table] for table in tables] if found.get("stamp") == stamp else []
            return bool(named) and all(objects.size(objects.join(url, t["file"])) == t["bytes"] for t in named)
        except (ValueError, KeyError, TypeError, AttributeError):
            return False

    def is_said(self, before: bytes | None, document: Mapping[str, Any]) -> bool:
        """Whether the manifest `before` says this, whatever it comes after."""
        try:
            found = json.loads(before or b"null")
        except ValueError:
            return False
        return isinstance(found, dict) and {**found, "after": None} == {
            **json.loads(json.dumps(document)),
            "after": None,
        }

    def replace(
        self,
        url: str,
        document: Mapping[str, Any],
        before: bytes | None,
        kept: Collection[str] = (),
        is_own: Callable[[str], bool] = lambda name: False,
    ) -> None:
        """Stores a manifest if the one that is there is still `before`, None for none, and removes the store's files,
        `is_own`, that are not `kept`: earlier ones, which may tell of objects that have been taken down, and those of
        workers whose run was given up. They are listed first, and removed while the manifest is this one, so that
        nothing of a newer run is among them. Of workers that finish together, each may do so with the same manifest.

        Raises:
            Retryable: it is not, and says something else: another run has published its results.
        """
        target = objects.join(url, self.manifest)
        document = {**document, "after": identity(before)}
        data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        leftovers = [name for name in objects.list_names(url) if name not in kept and is_own(name)]
        if not replace_if(target, data, before) and self.manifest_bytes(url) != data:
            raise Retryable(
                f"{target}: another run has published its results here since this one began, and this one's were not "
                "published; rerun to bring the stage up to date"
            )
        remove_while(url, leftovers, lambda: self.manifest_bytes(url) == data)

    def manifest_bytes(self, url: str) -> bytes | None:
        """The manifest of the store at `url` as it is stored, None if there is none."""
        return objects.read_if_any(objects.join(url, self.manifest))

    def missing(self, target: str) -> DataError:
        """A file is not there."""
        return DataError(f"{target}: missing; rerun {self.maker}")

    def damaged(self, target: str, how: str) -> DataError:
        """A file cannot be what was written."""
        return DataError(f"{target}: damaged or truncated ({how}); delete it and rerun {self.maker}")

    def altered(self, target: str) -> DataError:
        """A file is not what was written."""
        return DataError(f"{target}: checksum mismatch; delete it and rerun {self.maker}")


def table_name(kind: str, stamp: str, before: bytes | None) -> str:
    """The file of a table of the manifest with this `stamp` that replaces the manifest `before`: of no other one, so
    that a late request of an earlier run, which removes tables of its time, cannot meet it."""
    return f"{kind}-{objects.digest(stamp, identity(before))[:16]}.parquet"


def store_table(url: str, file: str, rows: Iterable[pa.RecordBatch], schema: pa.Schema) -> dict[str, Any]:
    """Stores a table in the folder `url`; what `read_table` needs to know of it, for the manifest."""
    from captionless.store.table import write_table

    info = write_table(objects.join(url, file), rows, schema, _GROUP_ROWS)
    return {"file": file, "sha256": info.sha256, "bytes": info.bytes}


def check_unique(url: str, keys: Iterable[str]) -> None:
    """DataError when an object is in a store twice."""
    import pyarrow as pa

    from captionless.store.key_index import KeyIndex

    column = keys if isinstance(keys, pa.Array | pa.ChunkedArray) else pa.array(keys, pa.large_string())
    repeated = KeyIndex(column).repeated
    if repeated is not None:
        raise DataError(f'{url}: object "{repeated}" appears twice; keys must be unique across all categories')
