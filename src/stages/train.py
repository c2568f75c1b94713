"""train: stored embeddings and similarity -> a trained point encoder, one per loss and seed.

    train/<weights>-seed<seed>/model.pt, history.json    see trainer.run_folder

A training run is the only work item of its stage. The trainer resumes it from its newest
checkpoint; this stage only decides whether anything is left to do. Of several nodes that
train together, node 0 publishes, and the others exit when it has.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from captionless.errors import DataError, Retryable, SpecError
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.plan import EMBED, LANDMARKS, SIMILARITY, TRAIN, logs_folder
from captionless.spec.variant import TrainingVariant, training_variant, training_variants
from captionless.spec.weights import Weights
from captionless.stages import chain, model_records
from captionless.stages.clip_model import clip_identity, recorded, same_clip
from captionless.stages.model_records import PART
from captionless.stages.work_items import Outcome
from captionless.store import objects, urls
from captionless.store.embeddings import open_embeddings
from captionless.store.ledger import Ledger
from captionless.store.manifest import MadeFrom
from captionless.store.writers import writer
from captionless.telemetry.progress import Progress, say
from captionless.trainer import changed_settings, run_folder
from captionless.trainer.elastic import supervisor
from captionless.trainer.elastic.gang import Gang, this_node
from captionless.trainer.run_folder import HISTORY, MODEL, earlier_url, model_digest
from captionless.trainer.training_job import EARLIER, TrainingJob

_POLL = 0.5

_DONE = {
    "new": "it begins beside that one, whose checkpoints and model are kept; --extend goes on from there, --restart "
    "replaces it",
    "extend": "it goes on from there",
    "restart": "it replaces that one",
}
"""What is said of a run with other settings, by `train.onChange`."""


class Trained(NamedTuple):
    """What a call has done, in runs; facts: the runs' steps, the seconds that these took, and how many objects were
    left out, if any."""

    outcome: Outcome
    facts: dict[str, float]


def run(spec: AlignmentSpec, weights: Weights | None = None, seed: int | None = None, profile: int = 0) -> Trained:
    """Trains the spec's runs, or those of one loss or one seed. profile: steps of each to trace, see `profiling`."""
    began = time.monotonic()
    chosen = [r for r in training_variants(spec) if weights in (None, r.weights) and seed in (None, r.seed)]
    if not chosen:
        chosen = [
            training_variant(spec, weights or spec.train.weights[0], spec.train.seeds[0] if seed is None else seed)
        ]
    refuse_own_model(spec, chosen)
    data = open_embeddings(objects.join(spec.root, EMBED), "train").digest
    made = [_train(spec, each, data, chain.made_from(spec, f"train-{each.name}"), profile) for each in chosen]
    found = [history(spec, each) for each in chosen]
    seconds = sum(each["seconds"] for each in found)
    skipped = len({key for each in found for key in each.get("skipped", ())})
    facts = {"steps": spec.train.steps * len(chosen), "seconds": round(seconds, 1)}
    outcome = Outcome(sum(made), len(made) - sum(made), 0, 0, "run", round(time.monotonic() - began, 3))
    return Trained(outcome, facts | ({"skipped": skipped} if skipped else {}))


def refuse_own_model(spec: AlignmentSpec, runs: Iterable[TrainingVariant]) -> None:
    """SpecError where `train.init` is the output of one of the runs, which every call would train further."""
    for run in runs if spec.train.init else ():
        if urls.is_same(run_folder.model_url(spec.train.init), model_url(spec, run)):
            raise SpecError(
                f"train.init: {spec.train.init} is the output of this very run ({run.name}); copy it to another "
                "folder, or choose another `output`"
            )


def url_of(spec: AlignmentSpec, run: TrainingVariant) -> str:
    """The folder of a run."""
    return objects.join(spec.root, TRAIN, run.name)


def model_url(spec: AlignmentSpec, run: TrainingVariant) -> str:
    """The trained encoder of a run."""
    return objects.join(url_of(spec, run), MODEL)


def published_model(spec: AlignmentSpec, run: TrainingVariant) -> str:
    """The digest of a run's model. NotReady if it is not the one that its training has published."""
    found = model_digest(model_url(spec, run))
    record = Ledger(url_of(spec, run)).manifest().records.get(PART)
    if record is None or record.files[MODEL]["sha256"] != found:
        raise chain.NotReady(f"{model_url(spec, run)}: not the model that its training has published; rerun train")
    return found


def history(spec: AlignmentSpec, run: TrainingVariant) -> dict[str, Any]:
    """The finished run's `seconds`, and its curves: lists `step`, `loss`, `scale` and more."""
    return dict(objects.read_json(objects.join(url_of(spec, run), HISTORY)))


def _train(spec: AlignmentSpec, run: TrainingVariant, data_digest: str, made_from: MadeFrom, profile: int) -> bool:
    """Whether there was anything left to do."""
    url, data = url_of(spec, run), objects.join(spec.root, EMBED)
    if "i2l" in run.weights.metrics:
        same_clip(data, objects.join(spec.root, LANDMARKS))
    job = TrainingJob(
        run=url,
        data=data,
        similarity={m: objects.join(spec.root, SIMILARITY, m) for m in run.weights.metrics},
        weights=run.weights,
        seed=run.seed,
        train=spec.train,
        clip={
            "model": spec.clip.model,
            "pretrained": spec.clip.pretrained,
            "identity": recorded(data).get("identity") or clip_identity(spec.clip).weights,
        },
        threads=spec.resources.threads,
        memory=spec.resources.rank_memory,
        disk=spec.resources.node_disk,
        device=spec.resources.device,
        profile=profile,
    )
    fingerprint, settings = job.fingerprint(data_digest), job.settings(data_digest)
    known = fingerprint, job.fingerprint(data_digest, EARLIER)
    ledger = Ledger(url)
    gang = this_node(spec)
    record = next((found for each in known if (found := model_records.whole(ledger, each))), None)
    if record is None:
        with writer(url, gang.index if gang else 0, gang.nodes if gang else 1, fingerprint) as lease:
            ledger.confirm({PART: fingerprint})
            finished = next((each for each in known if _is_finished(url, each)), "")
            if not finished:
                finished = fingerprint
                if gang is None or gang.index == 0:
                    _refuse_earlier_name(spec, run, known)
                    job = _begun(job, known, settings)
                log = logs_folder(spec) / f"train-{run.name}.ranks.log"
                ranks = spec.resources.processes * (1 if gang else spec.resources.nodes)
                supervisor.run(job, ranks, log, gang, lease)
            if gang is not None and gang.index > 0:
                _await_manifest(ledger, finished, gang)
                return True
            lease.check()
            record = model_records.whole(ledger, finished) or ledger.commit(
                PART, finished, {MODEL: "", HISTORY: ""}, {}
            )
            ledger.publish({PART: record}, made_from=made_from)
            return True
    if profile:
        say(f"{job.title}: finished already, so there is no step to trace")
    with Progress(job.title, spec.train.steps, "step", done=spec.train.steps):
        if gang is None or gang.index == 0:
            ledger.publish({PART: record}, made_from=made_from)
        else:
            _await_manifest(ledger, record.fingerprint, gang)
    return False


def _refuse_earlier_name(spec: AlignmentSpec, run: TrainingVariant, known: Sequence[str]) -> None:
    """DataError if a run that is about to begin is stored as an earlier release called it, without loss and encoder.
    known: its fingerprints, this release's first."""
    name = f"{run.weights.value}-seed{run.seed}"
    before = objects.join(spec.root, TRAIN, name)
    if name == run.name or not objects.exists(before):
        return
    if any(_has_checkpoint(url_of(spec, run), each) for each in known):
        return
    if any(_is_finished(before, each) or _has_checkpoint(before, each) for each in known):
        raise DataError(
            f"{before}: holds this very run, under the name that an earlier release gave it; rename the folder to "
            f"{run.name}, and run `captionless migrate`"
        )


def _has_checkpoint(run: str, fingerprint: str) -> bool:
    """Whether there is a checkpoint of the run with this fingerprint; those of an earlier release have to be read."""
    named = {name.run for name in run_folder.checkpoint_names(run).values()}
    own = run_folder.run_name(fingerprint)
    if own in named or None not in named:
        return own in named
    from captionless.trainer import checkpoint  # brings torch, for which a supervisor has no other use

    return checkpoint.newest(run, fingerprint) is not None


def _begun(job: TrainingJob, known: Sequence[str], settings: changed_settings.Settings) -> TrainingJob:
    """The job of a run that begins or is resumed, after what `train.onChange` says of another one in its folder.

    known: the run's fingerprints, this release's first. DataError if the other one is this very run, interrupted in an
    earlier release, and nobody has said what is to become of it.
    """
    run, on_change, (fingerprint, earlier) = job.run, job.train.on_change, known
    before = changed_settings.predecessor(run, fingerprint)
    if before is not None and not _has_checkpoint(run, fingerprint):
        if on_change != "restart" and _has_checkpoint(run, earlier):
            if on_change == "new":
                raise DataError(
                    f"{run}: holds this very run, interrupted in an earlier release, which drew other random numbers; "
                    "--extend goes on from its newest checkpoint with today's, --restart begins anew"
                )
            before = before._replace(fingerprint=earlier, settings=None)
            job = job.model_copy(update={"extends": earlier})
        elif on_change == "extend":
            job = job.model_copy(update={"extends": changed_settings.extended(before, settings)})
        elif on_change == "restart":
            changed_settings.remove_others(run, fingerprint)
            job = job.model_copy(update={"replaces": True})
        what = "" if before.settings is None else f" ({changed_settings.described(before.settings, settings)})"
        say(f"{job.title}: not the run that was here before{what}; {_DONE[on_change]}")
    changed_settings.record(run, fingerprint, settings)
    return job


def _is_finished(url: str, fingerprint: str) -> bool:
    """Whether the model is stored although no record says so: node 0 was lost in between, or another run with other
    settings took its place, which it now takes back."""
    places = (url, earlier_url(url, fingerprint))
    if not any(objects.exists(objects.join(place, MODEL)) for place in places):
        return False
    from captionless.trainer import earlier_models

    return earlier_models.is_finished(url, fingerprint)


def _await_manifest(ledger: Ledger, fingerprint: str, gang: Gang) -> None:
    """Until node 0, or the pod that replaces it, has published the run."""
    deadline = time.monotonic() + gang.patience
    while not _is_published(ledger, fingerprint):
        if time.monotonic() > deadline:
            raise Retryable(f"{ledger.url}: trained, but node 0 published no manifest within {gang.patience:.0f} s")
        time.sleep(_POLL)


def _is_published(ledger: Ledger, fingerprint: str) -> bool:
    try:
        record = ledger.manifest().records.get(PART)
    except DataError:  # not there yet, or about to be replaced
        return False
    return record is not None and record.fingerprint == fingerprint
