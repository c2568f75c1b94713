"""pack: listed objects -> shards of rendered views and point clouds.

    pack/<split>/00000-<fingerprint>.tar    per object: view00.webp ... (RGBA, alpha is the mask), points.npy, json

Which object goes to which shard, the listing says, so that every worker knows its share and reads no other object. A
shard is made when something about its objects has changed; then only the objects whose mesh or rendering has changed
are rendered, and the others are copied from the shard as it was. An object that cannot be read is an entry of its
shard's record, with the reason, and costs nobody else; when all shards are there, more of them than `data.maxSkipped`
and `data.maxSkippedShare` allow fail the stage, which loses nothing that was made.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from captionless.errors import CaptionlessError, DataError, one_line
from captionless.precompute import losses
from captionless.precompute.meshes.reading import KINDS, Loss
from captionless.precompute.object_files import BrokenObject, FileSeen
from captionless.precompute.sources import open_source
from captionless.runtime.redaction import redacted
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.data import DataSpec, ReadingLimits
from captionless.spec.plan import LIST, PACK
from captionless.stages import broken, chain
from captionless.stages.work_items import Advance, Counts, Outcome, Shard, WorkItem, WorkOutput, work
from captionless.store import objects
from captionless.store.ledger import Ledger
from captionless.store.listing import ListedObject, ListedShard, Listing, open_listing
from captionless.store.manifest import WorkRecord
from captionless.store.packed import (
    RENDERER,
    SUFFIXES,
    content_digest,
    packed_objects,
    packed_rows,
    renderers,
    shard_file,
)
from captionless.store.shards import ShardReader, encode_array, index_url, write_shard
from captionless.store.views import encode_view, view_name
from captionless.telemetry import catalog, registry
from captionless.telemetry.progress import say

if TYPE_CHECKING:
    from captionless.mesh import Mesh
    from captionless.precompute.isolated_reader import IsolatedReader
    from captionless.precompute.render import Renderer

_log = logging.getLogger(__name__)

_NOTES = ("made", "content", "renderer", "files", "faces", "textured")
"""What a shard's index notes of an object: the digest of what it was rendered from, that of its members, what rendered
it, and columns of `store.packed.packed_rows`."""
_NOTES_IF_ANY = ("losses", "limits", "beyond")
"""Notes that not all objects have: what was lost, since earlier releases did not note it; `data.limits` that are not
the default; that `data.allow` decides what may be read for it."""

_COPIED_AT_ONCE = 16
_LARGE = 1_000_000  # faces: rendering takes half a kilobyte each, which another such mesh should not need meanwhile
_NAMED = 5  # broken objects of a shard that its record names; its rows name all


def run(spec: AlignmentSpec, shard: Shard = Shard(), retry: bool = False, redraw: bool = False) -> Outcome:
    """Renders and samples the objects of this worker's shards.

    retry: broken objects, too, in shards that are complete: what broke them may have been this machine. redraw: what
    another release has drawn, too.
    """
    url = objects.join(spec.root, PACK)
    objects.check(url)
    registry.add(catalog.STAGE_SKIPPED_OBJECTS, 0, cause="broken")
    for kind in KINDS:
        registry.add(catalog.STAGE_LOSSY_OBJECTS, 0, loss=kind)
    made_from = chain.made_from(spec, "pack")
    listing = open_listing(objects.join(spec.root, LIST))
    ledger = Ledger(url, SUFFIXES, packed_rows)
    with Packer(url, spec.data, listing, ledger, retry, redraw) as packer:
        items = [packer.work_item(listed) for listed in listing.shards]
        own = [items[i] for i in shard.range(len(items))]

        def check(records: Mapping[str, WorkRecord]) -> None:
            skipped = sum(int(records[item.name].facts["skipped"]) for item in items)
            some = [each for item in items for each in records[item.name].facts["broken"]]
            broken.refuse(some, broken.limit_of(spec.data), listing.objects, skipped)
            _tell_losses([records[item.name] for item in items])

        return work(
            "pack", "object", ledger, items, own, check, facts=renderers, made_from=made_from, shard=shard,
            holds=packed_objects,
        )  # fmt: skip


@dataclass
class _Shard:
    """What becomes of a shard's objects while it is written: notes on those that are in it, reasons and
    files of those that are not, and how many were copied."""

    notes: dict[str, dict[str, str]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    copied: int = 0


_Sample = tuple[dict[str, bytes], dict[str, str]]
"""An object's members and its notes."""


class Packer:
    """What makes the shards. retry, redraw: see `run`."""

    def __init__(
        self,
        url: str,
        data: DataSpec,
        listing: Listing,
        ledger: Ledger,
        retry: bool = False,
        redraw: bool = False,
    ):
        self.url, self.data, self.listing, self.ledger = url, data, listing, ledger
        self.retry, self.redraw = retry, redraw
        self.settings = {n: getattr(data, n) for n in sorted(DataSpec.RENDERING)}
        self.limits = data.limits.model_dump_json() if data.limits != ReadingLimits() else ""
        """`data.limits` as objects note them; empty if they are the default."""
        self.lossy = 0
        """Objects with losses among those that were read so far."""
        self._renderer: Renderer | None = None
        self._reader: IsolatedReader | None = None

    def __enter__(self) -> Packer:
        return self

    def __exit__(self, *error: object) -> None:
        if self._reader is not None:
            self._reader.close()

    def work_item(self, listed: ListedShard) -> WorkItem:
        fingerprint = self.fingerprint(listed)
        tar = shard_file(listed.name, fingerprint)

        def make(advance: Advance) -> WorkOutput:
            wanted = self.listing.rows(listed)
            done = _Shard()
            before = self._before(listed.name, fingerprint)
            info = write_shard(objects.join(self.url, tar), self._samples(wanted, before, done, advance), done.notes)
            facts = {
                "split": listed.split, "shard": tar, "objects": len(info.keys), "skipped": len(done.reasons),
                "broken": [{"key": k, "reason": r} for k, r in list(done.reasons.items())[:_NAMED]],
                "renderers": sorted({note["renderer"] for note in done.notes.values()}),
                **_lost(done.notes.values()),
            }  # fmt: skip
            gone = set(before.keys if before is not None else ()) - {o.key for o in wanted}
            counts = Counts(len(info.keys) - done.copied, done.copied, len(gone), len(done.reasons))
            return WorkOutput({tar: info.sha256, index_url(tar): ""}, facts, counts, _rows(wanted, done))

        return WorkItem(listed.name, fingerprint, listed.objects, make, again=self._again)

    def _again(self, record: WorkRecord) -> bool:
        """Whether a shard that is as it should be is made all the same."""
        is_drawn_otherwise = not set(record.facts["renderers"]) <= {RENDERER}
        return (self.retry and record.facts["skipped"] > 0) or (self.redraw and is_drawn_otherwise)

    def fingerprint(self, listed: ListedShard) -> str:
        """Of a shard, of everything it is made from."""
        reading: list[str] = [self.data.strict] if self.data.strict != "none" else []
        reading += [self.limits] if self.limits else []
        return objects.digest(chain.FORMATS[PACK], self.settings, self.data.allow, *reading, listed.fingerprint)

    def made(self, wanted: ListedObject, beyond: bool) -> str:
        """The digest of what an object is made from: `data.allow` too if it decides what may be read for it, see
        `object_files.ObjectFiles`."""
        allow = self.data.allow if beyond else ()
        return objects.digest(chain.FORMATS[PACK], self.settings, allow, wanted.version, wanted.up)

    def _before(self, name: str, fingerprint: str) -> ShardReader | None:
        """The shard as it was last made, if it is there."""
        record = self.ledger.record(name, fingerprint) or self.ledger.previous(name)
        if record is None or not objects.exists(url := objects.join(self.url, record.facts["shard"])):
            return None
        return ShardReader(url)

    def _samples(
        self,
        wanted: Sequence[ListedObject],
        before: ShardReader | None,
        done: _Shard,
        advance: Advance,
    ) -> Iterator[tuple[str, dict[str, bytes]]]:
        for start in range(0, len(wanted), _COPIED_AT_ONCE):
            some = wanted[start : start + _COPIED_AT_ONCE]
            copies = self._copies(some, before)
            done.copied += len(copies)
            new = [each for each in some if each.key not in copies]
            following = {a.key: b for a, b in pairwise([*new, None]) if a is not None}
            for each in some:
                try:
                    members, notes = copies.get(each.key) or self._made_anew(each, following[each.key])
                except DataError as error:
                    done.reasons[each.key] = redacted(str(error))
                    _log.warning("%s: skipped: %s", each.key, done.reasons[each.key])
                    if isinstance(error, BrokenObject):
                        done.files[each.key] = _files(error.files)
                    registry.add(catalog.STAGE_SKIPPED_OBJECTS, cause="broken")
                else:
                    done.notes[each.key] = notes
                    yield each.key, {**members, "json": _about(each)}
                advance(1, **({"with losses": self.lossy} if self.lossy else {}))

    def _copies(self, wanted: Sequence[ListedObject], before: ShardReader | None) -> dict[str, _Sample]:
        """Those objects that the earlier shard has as they would be made now, if they are undamaged."""
        if before is None:
            return {}

        def is_same(one: ListedObject) -> bool:
            if one.key not in before.index or (self.redraw and before.note(one.key, "renderer") != RENDERER):
                return False
            lost = before.note(one.key, "losses")
            if self.data.strict != "none" and (
                lost is None or losses.refused(losses.from_json(lost), self.data.strict)
            ):
                return False  # an earlier release did not note what was lost
            within = before.note(one.key, "limits")
            if not self.data.limits.allows(ReadingLimits.model_validate_json(within) if within else ReadingLimits()):
                return False
            return before.note(one.key, "made") == self.made(one, before.note(one.key, "beyond") is not None)

        same = [one.key for one in wanted if is_same(one)]
        found = {}
        for key, members in before.members(same).items():
            members.pop("json", None)
            notes = {name: before.note(key, name) or "" for name in _NOTES}
            notes |= {name: note for name in _NOTES_IF_ANY if (note := before.note(key, name)) is not None}
            if content_digest(members) == notes["content"]:
                found[key] = members, notes
        return found

    def _made_anew(self, wanted: ListedObject, following: ListedObject | None) -> _Sample:
        """Reads an object, and begins to read the one that follows, before it is rendered and sampled."""
        loaded = self.reader.load(wanted.ref)
        mesh = loaded.mesh
        if mesh is None:
            raise DataError("has points but no mesh, so that no views can be rendered")
        if following is not None and mesh.face_count < _LARGE:
            self.reader.ahead(following.ref)
        try:
            members = self._rendered(mesh, wanted.key)
        except CaptionlessError:
            raise
        except Exception as error:  # whatever it is about this mesh: it costs this object
            reason = f"cannot be rendered: {type(error).__name__}: {one_line(error)}"
            raise BrokenObject(reason, loaded.files) from error
        self._count(loaded.losses)
        return members, {
            "made": self.made(wanted, loaded.beyond),
            "content": content_digest(members),
            "renderer": RENDERER,
            "files": _files(loaded.files),
            "faces": str(sum(len(part.faces) for part in mesh.parts)),
            "textured": str(any(part.texture is not None for part in mesh.parts)),
            "losses": losses.to_json(loaded.losses),
            **({"limits": self.limits} if self.limits else {}),
            **({"beyond": "True"} if loaded.beyond else {}),
        }

    def _count(self, lost: Sequence[Loss]) -> None:
        """Counts an object with losses, for progress and metrics; a line of the log for each would hide the others."""
        self.lossy += bool(lost)
        for kind in sorted({loss.kind for loss in lost}):
            registry.add(catalog.STAGE_LOSSY_OBJECTS, loss=kind)

    def _rendered(self, mesh: Mesh, key: str) -> dict[str, bytes]:
        from captionless.precompute.pointcloud import cloud  # heavy, and needed only where there is work

        if self._renderer is None:
            from captionless.precompute.render import Renderer

            self._renderer = Renderer(self.data.views, self.data.image_size, self.data.elevation)
        members = {view_name(i): encode_view(v) for i, v in enumerate(self._renderer.render(mesh))}
        members["points.npy"] = encode_array(cloud(mesh, self.data.points, key))
        return members

    @property
    def reader(self) -> IsolatedReader:
        if self._reader is None:
            from captionless.precompute.isolated_reader import IsolatedReader

            self._reader = IsolatedReader(open_source(self.data), self.data.limits, self.data.strict)
        return self._reader


def _lost(notes: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    """Facts of a shard: how many objects have losses, and how many of each kind. None where there are none."""
    found = [lost for note in notes if (lost := losses.from_json(note.get("losses")))]
    return {"lossy": len(found), "lost": dict(losses.by_kind(found))} if found else {}


def _tell_losses(records: Sequence[WorkRecord]) -> None:
    counts = sum((Counter(record.facts.get("lost", {})) for record in records), Counter[str]())
    if counts:
        lossy = sum(int(record.facts.get("lossy", 0)) for record in records)
        say(
            f"pack: {lossy:,} objects lack something that their files have ({losses.summary(counts)}); "
            "`captionless data broken` tells what, and what to do"
        )


def _files(seen: Sequence[FileSeen]) -> str:
    return json.dumps([[file.path, file.version, file.sha256] for file in seen])


def _about(wanted: ListedObject) -> bytes:
    ref = wanted.ref
    about = {
        "key": ref.key, "category": ref.category, "split": ref.split, "source": ref.source,
        "licence": ref.licence, "text": ref.text, "attributes": ref.attributes,
    }  # fmt: skip
    return json.dumps(about, sort_keys=True, ensure_ascii=False).encode()


def _rows(wanted: Sequence[ListedObject], done: _Shard) -> dict[str, list[Any]]:
    """The shard's rows of `store.packed.packed_rows`."""
    notes = [done.notes.get(o.key, {}) for o in wanted]
    return {
        "key": [o.key for o in wanted],
        "category": [o.ref.category for o in wanted],
        "split": [o.ref.split for o in wanted],
        "reason": [done.reasons.get(o.key, "") for o in wanted],
        "version": [o.version for o in wanted],
        "made": [note.get("made") for note in notes],
        "files": [note.get("files") or done.files.get(o.key) for o, note in zip(wanted, notes, strict=True)],
        "faces": [int(note["faces"]) if note.get("faces") else None for note in notes],
        "textured": [note["textured"] == "True" if note.get("textured") else None for note in notes],
        "losses": [note.get("losses") or None for note in notes],
    }
