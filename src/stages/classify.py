"""classify: labelled objects of any source -> a classifier, and its accuracy on unseen clouds.

    <output>/model.pt, history.json    see trainer.classifier and trainer.classifier_training
    <output>/results.json, table.md    see eval.classification

The training resumes on its own; this stage decides whether anything is left to do. The validation objects are drawn
from the source's train split and select the weights; the test split, if there is one, is evaluated once the model is
stored.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from captionless.errors import DataError, SpecError, did_you_mean
from captionless.eval import classification, results
from captionless.eval.results import RESULTS, TABLE
from captionless.eval.trees import plain
from captionless.precompute.sources import ObjectRef, Source, open_source
from captionless.runtime import signals
from captionless.runtime.redaction import public
from captionless.spec.classification import ClassificationSpec
from captionless.spec.data import DataSpec, SourceKind, SourceSpec
from captionless.stages import broken
from captionless.stages.eval_dataset import Split, is_cloud_file, load_data
from captionless.stages.provenance import host, versions
from captionless.stages.source_clouds import Cloud, SourceClouds, of_split
from captionless.store import objects
from captionless.store.ledger import Ledger
from captionless.store.writers import writer
from captionless.telemetry.progress import Progress
from captionless.trainer.classifier_job import EARLIER, FORMAT, ClassifierJob
from captionless.trainer.run_folder import HISTORY, MODEL, model_digest

if TYPE_CHECKING:
    from captionless.trainer.data.labelled_clouds import Labelled

VERSION = 1
PART = "model"
_PACKAGES = ("torch", "numpy", "numba")


def run(spec: ClassificationSpec) -> dict[str, Any]:
    """Trains and evaluates the spec's classifier; returns its results.

    Interrupted, after storing a checkpoint, on a signal. SpecError for invalid settings, DataError for a broken initial
    model or more broken objects than `data.maxSkipped` allows.
    """
    objects.check(spec.root)
    source = open_source(spec.data)
    refs = source.refs()
    job = _task(spec, source, refs)
    ledger, test = Ledger(spec.root), _content(source, refs, "test")
    known = [objects.digest(VERSION, job.fingerprint(version), test) for version in (FORMAT, EARLIER)]
    fingerprint = known[0]
    record = next((found for each in known if (found := ledger.whole(PART, each))), None)
    if record is None:
        with writer(spec.root, settings=fingerprint) as lease:
            _make(spec, job, source, refs, lease.check)
            record = ledger.commit(PART, fingerprint, dict.fromkeys((MODEL, HISTORY, RESULTS, TABLE), ""), {})
    else:
        with Progress(job.title, spec.classify.steps, "step", done=spec.classify.steps):
            pass
    ledger.publish({PART: record})
    url = objects.join(spec.root, RESULTS)
    return results.loads(objects.read_bytes(url), url)


def model_of(spec: ClassificationSpec) -> str:
    """The trained classifier."""
    return objects.join(spec.root, MODEL)


def evaluate(model: str, where: str, split: Split | None = None, up: str | None = None) -> dict[str, Any]:
    """The results of a stored classifier on a split of the data at `where`.

    where: a YAML file with a `data:` section, or a file of labelled clouds. split: None is "test" of a YAML file's data
    and "all" of a file's clouds. up: of a file's clouds; None: as those that the classifier was trained on. Labels
    that are numbers without names count the classes as the training's file did.
    """
    from captionless.trainer.classifier import load_classifier, logits

    classifier, meta = load_classifier(model)
    bare = is_cloud_file(where)
    if up and not bare:
        raise SpecError(f"--up: not for {where}, which sets data.source.up itself")
    data = _bare(where, up or meta["up"]) if bare else load_data(where)
    split = split or ("all" if bare else "test")
    source = open_source(data, meta["numbering"])
    refs = of_split(source.refs(), split)
    labels = _labels(refs, classifier.classes)
    count = int(meta["points"])
    found = SourceClouds(
        source, refs, count, "the classifier", data.points, broken.limit_of(data), data.strict, data.limits
    )
    scores, truth = [], []
    for some, points in found.blocks():
        scores.append(logits(classifier, points, count))
        truth += [labels[r.key] for r in some]
    tree = classification.split_figures(np.concatenate(scores), np.array(truth), classifier.classes)
    provenance = {
        "dataset": _dataset(data),
        "split": split,
        "checkpoint": {"url": model, "sha256": model_digest(model)},
        "points": count,
        "seed": meta["seed"],
        "skipped": found.skipped,
        "versions": versions(_PACKAGES),
    }
    return _results(classifier.classes, {split: len(truth)}, {split: tree}, provenance, {})


def _task(spec: ClassificationSpec, source: Source, refs: Sequence[ObjectRef]) -> ClassifierJob:
    training = [r for r in refs if r.split == "train"]
    classes = tuple(sorted({r.category for r in training}))
    if len(classes) < 2:
        raise DataError(
            f"data.source: {len(training)} training objects of {len(classes)} classes"
            f"{f' ({classes[0]})' if classes else ''}; a classifier needs at least 2 classes"
        )
    _labels(refs, classes)
    return ClassifierJob(
        run=spec.root,
        title=f"classify {spec.name}",
        spec=spec.classify,
        classes=classes,
        data_digest=objects.digest(_content(source, refs, "train")),
        meta={
            "dataset": _dataset(spec.data),
            "up": spec.data.source.up,
            "numbering": list(source.numbering),
        },
    )


def _content(source: Source, refs: Sequence[ObjectRef], split: str) -> list[list[str]]:
    return [[r.key, r.category, broken.content(source, r)] for r in refs if r.split == split]


def _make(
    spec: ClassificationSpec, job: ClassifierJob, source: Source, refs: Sequence[ObjectRef], check: Callable[[], None]
) -> None:
    from captionless.trainer.classifier_training import train  # heavy, and needed only where there is work
    from captionless.trainer.determinism import compute_reproducibly

    compute_reproducibly(spec.classify.threads, spec.classify.device)
    wanted, data = spec.classify.points, spec.data
    found = SourceClouds(
        source, refs, wanted, "classify.points", data.points, broken.limit_of(data), data.strict, data.limits
    )
    splits = _splits(found, job)
    with signals.defer_signals() as stop:
        train(job, splits["training"], splits["validation"], stop, check)
    document = _measured(spec, job, splits, found.skipped)
    check()
    objects.write_bytes(objects.join(spec.root, RESULTS), results.dumps(document))
    objects.write_bytes(objects.join(spec.root, TABLE), classification.table(document["figures"]).encode())


def _splits(found: SourceClouds, job: ClassifierJob) -> dict[str, Labelled]:
    """The objects: training, validation and, where the source has one, test."""
    from captionless.trainer.data.labelled_clouds import Labelled
    from captionless.trainer.data.splits import held_out

    members: dict[str, list[tuple[ObjectRef, Cloud]]] = {"train": [], "test": []}
    for ref, cloud in found:
        kept = len(cloud) if ref.split == "train" else job.spec.points  # training draws from all of them
        members[ref.split].append((ref, cloud[:kept, :3].copy()))

    def labelled(split: str) -> Labelled:
        refs = [ref for ref, _ in members[split]]
        labels = _labels(refs, job.classes)
        clouds = np.stack([cloud for _, cloud in members[split]])
        return Labelled([r.key for r in refs], clouds, np.array([labels[r.key] for r in refs]))

    if not members["train"]:
        raise DataError("data.source: all training objects are broken")
    training = labelled("train")
    chosen = held_out(training.keys, training.labels.tolist(), job.spec.validation_share, job.spec.seed)
    splits = {"training": training.rows(~chosen), "validation": training.rows(chosen)}
    validated = set(splits["validation"].labels.tolist())
    missing = [name for place, name in enumerate(job.classes) if place not in validated]
    if not validated:
        raise DataError(
            "data.source: no class has at least two training objects, so none can be held out for validation"
        )
    if missing:
        print(f"classify: too few objects for validation in: {', '.join(missing)}", file=sys.stderr)
    return {**splits, "test": labelled("test")} if members["test"] else splits


def _measured(
    spec: ClassificationSpec, job: ClassifierJob, splits: dict[str, Labelled], skipped: list[dict[str, str]]
) -> dict[str, Any]:
    from captionless.trainer.classifier import load_classifier, logits

    settings = spec.classify
    classifier, meta = load_classifier(spec.root)
    trees = {
        name: classification.split_figures(logits(classifier, part.clouds, settings.points), part.labels, job.classes)
        for name, part in splits.items()
        if name != "training"
    }
    provenance = {
        "dataset": _dataset(spec.data),
        "protocol": {
            "validation": "drawn from each class's training objects by (seed, key); selected the weights",
            "test": "evaluated once, afterwards",
            "clouds": "unit sphere, the first points in farthest-point order, one pass without augmentation",
        },
        "data": job.data_digest,
        "checkpoint": {"file": MODEL, "sha256": model_digest(spec.root), "best": meta["best"], "last": meta["last"]},
        "init": {"url": settings.init, "sha256": model_digest(settings.init)} if settings.init else None,
        "encoder": meta["encoder"],
        "classify": settings.model_dump(mode="json"),
        "skipped": skipped,
        "versions": versions(_PACKAGES),
    }
    seconds = objects.read_json(objects.join(spec.root, HISTORY))["seconds"]
    sizes = {name: len(part) for name, part in splits.items()}
    return _results(job.classes, sizes, trees, provenance, {f"training_{k}": v for k, v in seconds.items()})


def _labels(refs: Sequence[ObjectRef], classes: Sequence[str]) -> dict[str, int]:
    """The index of each object's class by key; DataError for a class that is not in `classes`."""
    places = {name: place for place, name in enumerate(classes)}
    unknown = sorted({r.category for r in refs} - places.keys())
    if unknown:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise DataError(
            f"data.source: classes unknown to the classifier: {', '.join(unknown[:5])}{more}"
            f"{did_you_mean(unknown[0], classes)} (it knows {len(classes)}: {', '.join(classes[:20])}"
            f"{', ...' if len(classes) > 20 else ''})"
        )
    return {r.key: places[r.category] for r in refs}


def _bare(url: str, up: str) -> DataSpec:
    source = SourceSpec.model_validate({"kind": SourceKind.points, "url": url, "up": up})
    return DataSpec(source=source)


def _dataset(data: DataSpec) -> dict[str, Any]:
    source = data.source.model_dump(mode="json", include={"kind", "url", "test_url", "up", "categories"})
    return {**source, "split": data.split, "test_fraction": data.test_fraction}


def _results(
    classes: Sequence[str],
    sizes: dict[str, int],
    trees: dict[str, Any],
    provenance: dict[str, Any],
    timing: dict[str, float],
) -> dict[str, Any]:
    document: dict[str, Any] = plain(
        {
            "schema": results.SCHEMA,
            "figures": classification.figures(classes, sizes, trees),
            "provenance": public(provenance),
            "timing": timing,
            "host": host(),
        }
    )
    return document
