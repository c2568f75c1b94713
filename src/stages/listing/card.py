"""The data card: what a run's objects are, where they come from and under which terms, as Markdown.

Read from the listing and, for what only reading the meshes tells, from pack's table where there is one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from captionless.precompute import losses
from captionless.precompute.meshes.reading import KINDS
from captionless.runtime.redaction import redacted
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.plan import LIST, PACK
from captionless.stages.listing.gathered import DENIED
from captionless.store import objects
from captionless.store.listing import Listing, open_listing
from captionless.store.manifest import read_header
from captionless.store.table import TableReader

FILE = "card.md"
"""Its name, in the folder of the listing."""

_MOST = 20  # values of a column that are named
_MOST_CATEGORIES = 2000
_DIFFERENT = 100_000  # values of a column that are counted apart
_REASONS = 5


@dataclass
class _Counted:
    """How often each value of a column occurs; beyond `_DIFFERENT` different ones, new ones are counted together."""

    counts: Counter[str] = field(default_factory=Counter)
    others: int = 0

    def add(self, column: pa.ChunkedArray) -> None:
        for entry in pc.value_counts(column.cast(pa.string())).to_pylist():
            value, count = entry["values"] or "", entry["counts"]
            if value in self.counts or len(self.counts) < _DIFFERENT:
                self.counts[value] += count
            else:
                self.others += count

    def rows(self, total: int, shown: Callable[[str], str] = str) -> Iterator[Sequence[str]]:
        """The most frequent values, each with count and share."""
        most = self.counts.most_common(_MOST)
        for value, count in most:
            yield shown(value), f"{count:,}", _share(count, total)
        left = sum(self.counts.values()) + self.others - sum(count for _, count in most)
        if left:
            more = len(self.counts) - len(most)
            yield f"{'more than ' if self.others else ''}{more:,} others", f"{left:,}", _share(left, total)


@dataclass
class _Listed:
    """What the listing's rows say of the objects that are kept, and why others are not."""

    sources: _Counted = field(default_factory=_Counted)
    licences: _Counted = field(default_factory=_Counted)
    axes: _Counted = field(default_factory=_Counted)
    sizes: list[Any] = field(default_factory=list)
    reasons: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def add(self, batch: pa.Table) -> None:
        kept = pc.equal(batch["verdict"].cast(pa.string()), "")
        for row in batch.filter(pc.invert(kept)).select(["key", "verdict", "reason"]).to_pylist():
            named = self.reasons.setdefault(row["verdict"], [])
            if len(named) < _REASONS and row["verdict"] != DENIED:  # those only the listing names
                named.append((row["key"], row["reason"]))
        batch = batch.filter(kept)
        self.sources.add(batch["source"])
        self.licences.add(batch["licence"])
        self.axes.add(batch["up"])
        self.sizes.append(batch["size"].to_numpy())


_COLUMNS = ("key", "verdict", "reason", "source", "licence", "up", "size")


def describe(spec: AlignmentSpec) -> str:
    """The card of a listed run, which is stored beside the listing as well. DataError when nothing is listed."""
    url = objects.join(spec.root, LIST)
    listing = open_listing(url)
    listed = _Listed()
    for batch in listing.batches(list(_COLUMNS)):
        listed.add(batch)
    text = "\n\n".join(_sections(spec, listing, listed)) + "\n"
    objects.renew_bytes(objects.join(url, FILE), text.encode())
    return text


def _sections(spec: AlignmentSpec, listing: Listing, listed: _Listed) -> Iterator[str]:
    total = listing.objects
    yield f"# Data of {spec.name}"
    yield "\n".join(_about(spec, listing))
    counts = listing.counts.values()
    train, test = (sum(count[split] for count in counts) for split in ("train", "test"))
    tested = sum(1 for count in counts if count["test"])
    yield _table(
        ("", "training", "test", "all"),
        [
            ("objects", f"{train:,}", f"{test:,}", f"{total:,}"),
            ("categories", f"{sum(1 for c in counts if c['train']):,}", f"{tested:,}", f"{len(counts):,}"),
            ("copies of other objects", "", "", f"{listing.facts['copies']:,}"),
        ],
    )
    yield from _left_out(listing, listed)
    yield "## Licences"
    yield _table(("licence", "objects", "share"), listed.licences.rows(total))
    yield "## Sources"
    yield _table(("source", "objects", "share"), listed.sources.rows(total))
    yield "## Files"
    yield "\n\n".join(_files(listed, total))
    yield from _packed(spec)
    yield "## Categories"
    yield _table(
        ("category", "name", "training", "test"),
        [
            (name, spec.data.display_name(name), f"{count['train']:,}", f"{count['test']:,}")
            for name, count in sorted(listing.counts.items())[:_MOST_CATEGORIES]
        ],
    )
    if len(counts) > _MOST_CATEGORIES:
        yield f"And {len(counts) - _MOST_CATEGORIES:,} more."


def _about(spec: AlignmentSpec, listing: Listing) -> Iterator[str]:
    source = spec.data.source
    where = f": {redacted(source.url)}" if source.url else ""
    yield f"- Source: {source.kind}{where}"
    sealed = ", ".join(f"{name} {value}" for name, value in sorted(listing.facts["sealed"].items()))
    yield f"- Split: {sealed or 'as the source has it'}; sealed"
    yield f"- Listing: {listing.digest}"


def _left_out(listing: Listing, listed: _Listed) -> Iterator[str]:
    counts: Mapping[str, int] = listing.facts["left_out"]
    if not counts:
        return
    yield "## Left out"
    yield _table(
        ("by", "objects", "for example"),
        [
            (name, f"{count:,}", "; ".join(f"{key}: {reason}" for key, reason in listed.reasons.get(name, ())))
            for name, count in sorted(counts.items())
        ],
    )


def _files(listed: _Listed, total: int) -> Iterator[str]:
    sizes = np.concatenate(listed.sizes) if listed.sizes else np.zeros(0, np.int64)
    known = sizes[sizes >= 0]
    if len(known):
        yield _table(
            ("size of an object's own file", "bytes"),
            [
                *((name, f"{int(np.quantile(known, q)):,}") for name, q in _QUANTILES),
                ("all", f"{int(known.sum()):,}"),
            ],
        )
    if len(known) < total:
        yield f"The size of {total - len(known):,} is not known."
    yield _table(("up axis", "objects", "share"), listed.axes.rows(total, lambda axis: axis or "of the format"))


_QUANTILES = (("least", 0.0), ("median", 0.5), ("99 %", 0.99), ("most", 1.0))


def _packed(spec: AlignmentSpec) -> Iterator[str]:
    """What pack has found in the meshes, if it has run."""
    header, _ = read_header(objects.join(spec.root, PACK))
    if header is None or header.rows_url is None:
        return
    faces, textured, broken = [], 0, 0
    lossy, lost = 0, Counter[str]()
    reader = TableReader(header.rows_url)
    columns = [name for name in ("reason", "faces", "textured", "losses") if name in reader.schema.names]
    for batch in reader.batches(columns):
        whole = pc.equal(batch["reason"], "")
        broken += len(batch) - pc.sum(whole).as_py()
        batch = batch.filter(whole)
        faces.append(batch["faces"].drop_null().to_numpy())
        textured += pc.sum(batch["textured"].cast(pa.int64())).as_py() or 0
        if "losses" in columns:
            read = [losses.from_json(stored) for stored in batch["losses"].drop_null().to_pylist()]
            lossy += len(read)
            lost += losses.by_kind(read)
    found = np.concatenate(faces) if faces else np.zeros(0, np.int64)
    yield "## Meshes"
    rows = [("packed", f"{len(found):,}"), ("broken", f"{broken:,}"), ("textured", _share(textured, len(found)))]
    if len(found):
        rows += [(f"faces, {name}", f"{int(np.quantile(found, q)):,}") for name, q in _QUANTILES]
    rows.append(("rendered by", ", ".join(header.facts.get("renderers", ()))))
    yield _table(("", ""), rows)
    if lossy:
        yield f"{lossy:,} of them lack something that their files have; `captionless data broken` tells what."
        yield _table(
            ("lost", "changes", "objects", "share"),
            [(kind, KINDS[kind], f"{count:,}", _share(count, len(found))) for kind, count in losses.by_frequency(lost)],
        )


def _share(count: int, total: int) -> str:
    return f"{100 * count / max(total, 1):.1f} %"


def _table(head: Sequence[str], rows: Any) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(_cell(str(cell)) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
