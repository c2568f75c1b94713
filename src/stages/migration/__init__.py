"""Migration: the folder of a run of an earlier release becomes one of today's, and nothing is made again.

Only records are written: manifests, tables, and the indices beside shards. Tars, tiles and models stay as they are.
Packed and embedded shards are compared with what the spec and the source describe now, by the fingerprints that the
earlier release recorded; those that are current get today's records, and the others stay stored until pack or embed
make them again. Of a shard that is damaged or missing no record is left, as if it had never been made. What is made
from them (`landmarks`, tiles, models, figures, galleries) is taken over as it is, with the fingerprints that it has:
its own stage compares these in the next run, computes nothing where they are right, and until then readers are told to
rerun that stage. A damaged or missing part of it loses its fingerprint, and its damaged files are deleted, so that it
is made again; but a model or curve that is not what its training left may be somebody's work, and is for its owner to
restore or delete. Views stay those of the earlier renderer, OpenGL, and are recorded as such: objects that are added
later are drawn by today's, whose pictures are the same but for rounding.

A folder's manifest is replaced in one step, after its tables: killed at any point, a migration is continued by the
next. Folders that have nothing of the earlier format are left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from captionless.clip.names import HUB, is_url
from captionless.errors import DataError
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.landmarks import LandmarkOrigin
from captionless.spec.plan import EMBED, LANDMARKS, LIST, PACK, TRAIN
from captionless.stages import chain, listing
from captionless.stages.clip_model import FACT, clip_facts, clip_identity, load_clip
from captionless.stages.embed import Embedder
from captionless.stages.landmarks import Landmarks
from captionless.stages.migration import earlier, shards
from captionless.stages.migration.earlier import EarlierStage, LedgerOver, read_earlier
from captionless.stages.pack import Packer
from captionless.store import objects
from captionless.store.ledger import Ledger
from captionless.store.listing import Listing, open_listing
from captionless.store.manifest import MANIFEST, InputRecord, MadeFrom, WorkRecord
from captionless.store.packed import SUFFIXES, embedded_rows, packed_rows, renderers
from captionless.store.work_records import PARTS
from captionless.store.writers import writer

_NAMED = 5
Tell = Callable[[str], None]


def migrate(spec: AlignmentSpec, dry_run: bool, tell: Tell) -> None:
    """Migrates a run's folder, and every other store below it; `tell` is given a line for each stage.

    dry_run: only says what would be done.

    Raises:
        DataError: no packed shard is what the spec and its source describe, or a training's file was modified.
        Retryable: another process is writing there.
    """
    _Migration(spec, dry_run, tell).run()


def migrate_folder(url: str, dry_run: bool, tell: Tell) -> None:
    """Migrates stores outside of a run's folder: galleries and neighbours. DataError if a spec is needed for it."""
    for folder in _earlier_folders(url):
        found = read_earlier(folder)
        if found is None:
            continue
        if any("shard" in record.facts for record in found.records.values()):
            raise DataError(
                f"{folder}: shards of a run; give the spec of the run that made them: captionless migrate SPEC"
            )
        _take_over(found, dry_run, tell, folder.removeprefix(url).strip("/") or folder)


def _earlier_folders(root: str) -> list[str]:
    """The folders below one that have a manifest or records, sorted."""
    found = set()
    for path in objects.walk(root):
        folder, _, name = f"/{path}".rpartition("/")
        if name == MANIFEST:
            found.add(folder)
        elif folder.endswith(f"/{PARTS}"):
            found.add(folder.removesuffix(f"/{PARTS}"))
    return [objects.join(root, folder) for folder in sorted(found)]


class _Migration:
    def __init__(self, spec: AlignmentSpec, dry_run: bool, tell: Tell) -> None:
        self.spec, self.dry_run, self._tell = spec, dry_run, tell

    def run(self) -> None:
        root = self.spec.root
        of_shards = {objects.join(root, PACK): self._pack, objects.join(root, EMBED): self._embed}
        folders = [*of_shards, *(f for f in _earlier_folders(root) if f not in of_shards)]
        some = False
        for folder in folders:
            found = read_earlier(folder)
            if found is None:
                continue
            some = True
            if folder in of_shards:
                with writer(folder, settings="migrate"):
                    of_shards[folder](found)
            elif folder == objects.join(root, LANDMARKS):
                self._landmarks(found)
            else:
                name = folder.removeprefix(root).strip("/")
                if name.startswith(f"{TRAIN}/"):
                    _refuse_modified(found)
                _take_over(found, self.dry_run, self._tell, name)
        if not some:
            self._tell(f"{root}: nothing of an earlier release")

    # -- pack

    def _pack(self, found: EarlierStage) -> None:
        compared = shards.EarlierShards(found, self.spec.data)
        compared.compare()
        if found.records and not compared.current:
            raise DataError(
                f"{found.url}: none of its {len(found.records)} shards was made from what the spec describes now: "
                "data.views, data.imageSize, data.elevation, data.points, or every mesh, is another; give the spec "
                f"that it was made with, or delete {found.url}"
            )
        compared.current -= found.lost.keys()
        self._say(PACK, compared.current, found)
        if self.dry_run:
            return
        listed = self._list(found)
        records = {name: self._packed(record, compared, listed) for name, record in found.whole.items()}
        by_name = {shard.name for shard in listed.shards}
        made_from = self._made_from(PACK, by_name == set(records) and all(exact for _, exact in records.values()))
        kept = {name: record for name, (record, exact) in records.items() if exact or found.manifest is not None}
        LedgerOver(found, SUFFIXES, packed_rows).take_over(kept, renderers(kept), made_from)

    def _list(self, found: EarlierStage) -> Listing:
        """Lists the source, with every packed object in the shard where it is."""
        url = objects.join(self.spec.root, LIST)
        listing.run(self.spec, earlier=shards.SealedBefore(url, found, listing.sealed_fields(self.spec.data)))
        return open_listing(url)

    def _packed(self, record: WorkRecord, compared: shards.EarlierShards, listed: Listing) -> tuple[WorkRecord, bool]:
        """Today's record of a shard, and whether it is of what is listed there now."""
        shard = next((s for s in listed.shards if s.name == record.part), None)
        wanted = {o.key: o for o in listed.rows(shard)} if shard is not None else {}
        is_current = record.part in compared.current
        with Packer(compared.stage.url, self.spec.data, listed, Ledger(compared.stage.url)) as packer:
            made = (
                {key: packer.made(o, compared.contents[key].beyond) for key, o in wanted.items()} if is_current else {}
            )
            exact = shard is not None and is_current and sorted(wanted) == shards.keys_of(record)
            fingerprint = packer.fingerprint(shard) if exact and shard is not None else _unknown(record)
        versions = {key: o.version for key, o in wanted.items()} if is_current else {}
        return replace(shards.packed_record(compared, record, made, versions), fingerprint=fingerprint), exact

    # -- embed

    def _embed(self, found: EarlierStage) -> None:
        packed, model = self._packed_shards(), earlier.embeddings_identity(self.spec.clip)
        same = self._same_weights(found)
        current = {
            name
            for name, record in found.whole.items()
            if same and name in packed and record.fingerprint == earlier.embed_fingerprint(_tar(packed[name])[1], model)
        }
        self._say(EMBED, current, found)
        if self.dry_run:
            return
        source = objects.join(self.spec.root, PACK)
        embedder = Embedder(source, found.url, self.spec.clip, self.spec.data.views, Ledger(found.url))
        records = {}
        for name, record in found.whole.items():
            is_current = name in current
            made = embedder.made_of(packed[name]) if is_current else {}
            fingerprint = embedder.fingerprint(packed[name]) if is_current else _unknown(record)
            records[name] = replace(shards.embedded_record(found.url, record, made), fingerprint=fingerprint)
        made_from = self._made_from(EMBED, set(packed) == current == set(found.records))
        kept = {name: r for name, r in records.items() if name in current or found.manifest is not None}
        # trainings know their model by the identity that it had
        identity = clip_identity(self.spec.clip)._replace(weights=earlier.weights_identity(self.spec.clip))
        facts = clip_facts(self.spec.clip, identity, found.url, kept)
        LedgerOver(found, SUFFIXES, embedded_rows).take_over(kept, facts, made_from)

    def _packed_shards(self) -> Mapping[str, WorkRecord]:
        """The records of the packed shards, by name: today's, or in a dry run still the earlier ones."""
        url = objects.join(self.spec.root, PACK)
        found = read_earlier(url)
        if found is not None:
            return found.whole
        return Ledger(url).manifest().records if objects.exists(objects.join(url, MANIFEST)) else {}

    def _same_weights(self, found: EarlierStage) -> bool:
        """Whether the CLIP weights are those that have embedded; where the name alone did not say, they are loaded."""
        clip = self.spec.clip
        if not (clip.model.startswith(HUB) or (clip.pretrained and is_url(clip.pretrained))):
            return True
        return {record.facts.get(FACT) for record in found.records.values()} <= {load_clip(clip).digest}

    # -- landmarks

    def _landmarks(self, found: EarlierStage) -> None:
        """A category's landmarks are known by the identity of the model, which may be another today."""
        categories = sorted(str(record.facts["category"]) for record in found.records.values())
        stage = Landmarks(self.spec, found.url, categories, LedgerOver(found))
        model = earlier.embeddings_identity(self.spec.clip)
        own, fingerprints = self.spec.landmarks, {}
        if own.origin is not LandmarkOrigin.file or objects.exists(own.file):
            for name, record in found.records.items():
                category = str(record.facts["category"])
                origin = stage.origin(category)
                if record.fingerprint == earlier.landmarks_fingerprint(category, own.count, model, origin):
                    fingerprints[name] = stage.work_item(category).fingerprint
        _take_over(found, self.dry_run, self._tell, LANDMARKS, fingerprints)

    # -- all

    def _made_from(self, stage: str, is_current: bool) -> MadeFrom:
        """What a stage is made from; if it is not all current, with inputs that its readers will not take for right."""
        urls = {name: objects.join(self.spec.root, name) for name in chain.reads(self.spec, stage)}
        inputs = chain.recorded(urls)
        if not is_current:
            inputs = {name: InputRecord(i.settings, "") for name, i in inputs.items()}
        return MadeFrom(chain.settings(self.spec, stage), inputs)

    def _say(self, stage: str, current: Collection[str], found: EarlierStage) -> None:
        line = f"{stage}: {len(current)} of {len(found.records)} shards are what the spec and the source describe"
        if found.lost:
            line += f"; damaged or missing: {_some(found.lost_files)}"
        if stale := sorted(found.records.keys() - set(current)):
            line += f"; to be made again: {_some(stale)}"
        self._tell(line)


def _take_over(
    found: EarlierStage, dry_run: bool, tell: Tell, name: str, fingerprints: Mapping[str, str] | None = None
) -> None:
    """Records a stage's parts anew, as they are, or with other `fingerprints`, by part."""
    line = f"{name}: {len(found.whole)} part{'' if len(found.whole) == 1 else 's'} taken over"
    tell(line + (f"; damaged or missing, to be made again: {_some(found.lost_files)}" if found.lost else ""))
    if dry_run:
        return
    known = {**(fingerprints or {}), **{part: _unknown(found.records[part]) for part in found.lost}}
    records = {
        part: replace(record, fingerprint=known.get(part, record.fingerprint)) for part, record in found.records.items()
    }
    with writer(found.url, settings="migrate"):
        for file in found.lost_files:  # a stage that finds a damaged one would ask for it to be deleted
            objects.remove_file(objects.join(found.url, file))
        LedgerOver(found).take_over(records, found.facts)


def _refuse_modified(found: EarlierStage) -> None:
    for file in found.lost_files:
        if objects.exists(url := objects.join(found.url, file)):
            raise DataError(
                f"{url}: truncated, or modified since its training ended; restore it, or delete it to train again, and "
                "migrate again"
            )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _unknown(record: WorkRecord) -> str:
    """The fingerprint of a part that was made from nobody knows what."""
    return objects.digest("earlier", record.fingerprint)


def _tar(record: WorkRecord) -> tuple[str, str]:
    """A shard's file and its checksum."""
    file = str(record.facts["shard"])
    return file, str(record.files[file]["sha256"])
