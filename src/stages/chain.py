"""The chain of what is made from what: whether a stage's inputs are those that its spec describes.

A stage's manifest says with which settings it was made and from which inputs (`store.manifest`). A reader knows from
its own spec with which settings each of its inputs, and theirs, should have been made, so it can tell a stale one:
`verify` compares all of them, field by field, and that every stage was made from what is stored before it now. So
however the stages are started (by a runner, by the operator, as Jobs by hand, by a worker that comes late), nothing is
computed from what another spec has left in the folder. What is read and is no longer there (packed shards that were
deleted to save space) is compared by what its readers have recorded of it. So is the table of `train.batches.from`,
which no stage of the plan makes: trainings wait until it is there. Files that the spec names are compared too
(`outside_files`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from captionless.errors import DataError
from captionless.runtime.redaction import public
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.clip import ClipSpec
from captionless.spec.data import DataSpec
from captionless.spec.evaluation import EvalSpec
from captionless.spec.landmarks import LandmarkOrigin, LandmarksSpec
from captionless.spec.plan import EMBED, EVAL, LANDMARKS, LIST, PACK, SIMILARITY, TRAIN, Stage, plan
from captionless.spec.section import Section, flat
from captionless.spec.similarity import SimilaritySpec
from captionless.spec.train import TrainSpec
from captionless.spec.variant import variant_named
from captionless.stages import outside_files
from captionless.store import objects
from captionless.store.manifest import MANIFEST, Header, InputRecord, MadeFrom, read_header
from captionless.trainer.training_job import FORMAT

FORMATS: Mapping[str, int] = {LIST: 1, PACK: 2, EMBED: 1, LANDMARKS: 1, SIMILARITY: 2, TRAIN: FORMAT, EVAL: 3}
"""The version of each stage's output: increase it when the same settings and inputs would give other bytes."""


NEIGHBOURS = "neighbours"
"""The name among a training's inputs of the table of `train.batches.from`."""


class NotReady(DataError):
    """An input is missing or was made from something else: the stage that writes it has not run, or not since."""


def settings(spec: AlignmentSpec, stage: str) -> dict[str, Any]:
    """What a stage's output depends on in a spec, its inputs apart: fields by name. `stage`: a name of the plan."""
    kind = stage.partition("-")[0]
    found: dict[str, Any] = {"version": FORMATS[kind]}
    match kind:
        case "list":
            others = DataSpec.OPERATIONAL | DataSpec.RENDERING | DataSpec.READING | DataSpec.NAMING
            found |= _fields("data", spec.data, omit=others)
        case "pack":
            found |= _fields("data", spec.data, only=DataSpec.RENDERING | DataSpec.READING)
        case "embed":
            found |= _fields("clip", spec.clip, omit=ClipSpec.OPERATIONAL)
        case "landmarks":
            found |= _fields("landmarks", spec.landmarks, omit=LandmarksSpec.OPERATIONAL)
            if spec.landmarks.origin is LandmarkOrigin.llm:
                found |= _fields("data", spec.data, only=DataSpec.NAMING)
            found |= _fields("clip", spec.clip, omit=ClipSpec.OPERATIONAL)
        case "similarity":
            found = similarity_settings(spec.similarity)
        case "train":
            variant = variant_named(stage.removeprefix("train-"))
            found |= _fields("train", spec.train, omit=TrainSpec.OPERATIONAL | {"weights", "seeds"})
            found |= {"train.weights": variant.weights.value, "train.seeds": variant.seed}
        case "eval":
            found |= _fields("eval", spec.eval, omit=EvalSpec.OPERATIONAL)
            found |= _fields("data", spec.data, only=DataSpec.NAMING)
    return found


def similarity_settings(section: SimilaritySpec) -> dict[str, Any]:
    """`settings` of similarity, which is also made without a whole spec."""
    return {"version": FORMATS[SIMILARITY], **_fields("similarity", section)}


def _fields(
    name: str, section: Section, only: frozenset[str] | None = None, omit: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """A section's fields by their dotted names in a spec, without what signs URLs: signed anew, they are the same."""
    chosen = (only or frozenset(type(section).model_fields)) - omit
    tree = section.determining(frozenset(type(section).model_fields) - chosen, by_alias=True)
    return {field: public(value) for field, value in flat(name, tree)}


def made_from(spec: AlignmentSpec, stage: str) -> MadeFrom:
    """What `stage` is going to be made from; its inputs are verified."""
    files = {field: outside_files.recorded(url) for field, url in outside_files.read_by(spec, stage).items()}
    inputs = verify(spec, stage) | {field: record for field, record in files.items() if record is not None}
    return MadeFrom(settings(spec, stage), inputs)


def verify(spec: AlignmentSpec, stage: str, used: Sequence[str] | None = None) -> dict[str, InputRecord]:
    """The inputs of `stage`, and theirs, as they are stored, once they are found to be the ones that `spec` describes.

    stage: as in the plan, or parts of the name that several share. used: the inputs that matter, if not all do.

    Raises:
        NotReady: an input is missing, or was made with other settings or from something else; names the stage to rerun.
    """
    stages = {s.name: s for s in plan(spec)}
    headers: dict[str, Header | None] = {}

    def header(name: str) -> Header | None:
        if name not in headers:
            headers[name] = read_header(objects.join(spec.root, stages[name].output))[0]
        return headers[name]

    read = reads(spec, stage) if used is None else used
    inputs: dict[str, InputRecord] = {}
    for name in read:
        found = header(name)
        if found is None:
            for own in _named(spec, stage):
                header(own.name)  # an earlier release had no listing: its manifest says what to do
            raise NotReady(f"{_manifest(spec, stages[name])}: not found: run {name} first")
        inputs |= {n: i for n, i in found.made_from.inputs.items() if n in stages or n == NEIGHBOURS}
        inputs[name] = found.recorded
    if used is None and _trains(stage) and spec.train.batches.from_:
        inputs[NEIGHBOURS] = InputRecord({}, _neighbours(spec))
    for name, record in inputs.items():
        if name in stages:
            _compare(spec, stages[name], record)
    seen: set[str] = set()
    waiting = list(read)
    while waiting:
        name = waiting.pop()
        found = header(name)
        if found is None or name in seen:
            continue  # of an input's inputs: deleted since
        seen.add(name)
        _verify_neighbours(spec, stages[name], found)
        _verify_files(spec, stages[name], found)
        for before in stages[name].after:
            current = header(before)
            recorded = found.made_from.inputs.get(before)
            if current is not None and (recorded is None or recorded.digest != current.digest):
                raise NotReady(
                    f"{_manifest(spec, stages[name])}: made from another {before} than is stored now; rerun {name}"
                )
            waiting.append(before)
    return inputs


def _trains(stage: str) -> bool:
    return stage.partition("-")[0] == TRAIN


def _neighbours(spec: AlignmentSpec) -> str:
    """The digest of the stored neighbours that the spec names. NotReady when there are none."""
    from captionless.store.neighbour_store import content_digest  # brings pyarrow, for which few specs have a use

    try:
        return content_digest(spec.train.batches.from_)
    except DataError as error:
        raise NotReady(f"train.batches.from: {error}") from error


def _verify_neighbours(spec: AlignmentSpec, stage: Stage, found: Header) -> None:
    """NotReady if a training was made from other neighbours than are stored now; they may have been deleted since."""
    recorded = found.made_from.inputs.get(NEIGHBOURS)
    if not spec.train.batches.from_ or not _trains(stage.name) or recorded is None:
        return
    try:
        current = _neighbours(spec)
    except NotReady:
        return
    if current != recorded.digest:
        url = spec.train.batches.from_
        raise NotReady(f"{_manifest(spec, stage)}: made from other neighbours than {url} has now; rerun {stage.name}")


def _verify_files(spec: AlignmentSpec, stage: Stage, found: Header) -> None:
    """NotReady if a stage has read a file that the spec names, and something else is in it now."""
    for field, url in outside_files.read_by(spec, stage.name).items():
        recorded = found.made_from.inputs.get(field)
        if recorded is not None and outside_files.has_changed(url, recorded):
            raise NotReady(
                f"{_manifest(spec, stage)}: {field}: {public(url)} has changed since it was read; rerun {stage.name}"
            )


def recorded(urls: Mapping[str, str]) -> dict[str, InputRecord]:
    """The inputs of a stage that is called with its inputs' URLs, by name, instead of a spec, and theirs."""
    found: dict[str, InputRecord] = {}
    for name, url in urls.items():
        header, _ = read_header(url)
        if header is not None:
            found |= {**header.made_from.inputs, name: header.recorded}
    return found


def reads(spec: AlignmentSpec, stage: str) -> tuple[str, ...]:
    """The stages that one reads directly, in plan order; `stage` as for `verify`."""
    named = _named(spec, stage)
    read = {name for s in named for name in s.after}
    return tuple(s.name for s in plan(spec) if s.name in read)


def _named(spec: AlignmentSpec, stage: str) -> list[Stage]:
    """The stages of the plan that a name means, or the parts of one that several share; all of its kind for a training
    of no plan."""
    stages, parts = plan(spec), set(stage.split("-"))
    named = [s for s in stages if parts <= set(s.name.split("-"))]
    return named or [s for s in stages if s.command[0] == stage.partition("-")[0]]


def _compare(spec: AlignmentSpec, stage: Stage, found: InputRecord) -> None:
    """NotReady, with the field, unless a stored stage was made with the settings of the spec."""
    expected = settings(spec, stage.name)
    for name in sorted({*expected, *found.settings}):
        if expected.get(name) != found.settings.get(name):
            has, wants = found.settings.get(name), expected.get(name)
            raise NotReady(
                f"{_manifest(spec, stage)}: {name} is {has!r} there and {wants!r} in the spec; rerun {stage.name}"
            )


def _manifest(spec: AlignmentSpec, stage: Stage) -> str:
    return objects.join(spec.root, stage.output, MANIFEST)
