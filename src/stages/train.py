"""train: stored embeddings and similarity -> a trained point encoder, one per loss and seed.

    train/<weights>-seed<seed>/model.pt, history.json    see trainer.checkpoint

A run is the only part of its stage. It is resumed from its newest checkpoint by the
trainer itself; here is only decided whether there is anything left to do.
"""

from __future__ import annotations

from typing import Any

from captionless import clip
from captionless.plan import Run, logs_folder, runs
from captionless.progress import Progress
from captionless.spec import AlignmentSpec, Weights
from captionless.store import objects
from captionless.store.embeddings import open_embeddings
from captionless.store.ledger import Ledger
from captionless.trainer import supervise
from captionless.trainer.job import Job

PART = "model"
MODEL, HISTORY = "model.pt", "history.json"


def run(spec: AlignmentSpec, weights: Weights | None = None, seed: int | None = None) -> None:
    """Trains the spec's runs, or those of one loss or one seed."""
    chosen = [r for r in runs(spec) if weights in (None, r.weights) and seed in (None, r.seed)]
    if not chosen:
        chosen = [Run(weights or spec.train.weights[0], spec.train.seeds[0] if seed is None else seed)]
    data = open_embeddings(objects.join(spec.root, "embed"), "train").digest
    for each in chosen:
        _train(spec, each, data)


def url_of(spec: AlignmentSpec, run: Run) -> str:
    """The folder of a run."""
    return objects.join(spec.root, "train", run.name)


def model_url(spec: AlignmentSpec, run: Run) -> str:
    """The trained encoder of a run."""
    return objects.join(url_of(spec, run), MODEL)


def history(spec: AlignmentSpec, run: Run) -> dict[str, Any]:
    """The finished run's `seconds`, and its curves: lists `step`, `loss`, `scale` and more."""
    return dict(objects.read_json(objects.join(url_of(spec, run), HISTORY)))


def _train(spec: AlignmentSpec, run: Run, data_digest: str) -> None:
    url = url_of(spec, run)
    job = Job(
        run=url,
        data=objects.join(spec.root, "embed"),
        similarity={m: objects.join(spec.root, "similarity", m) for m in run.weights.metrics},
        weights=run.weights,
        seed=run.seed,
        train=spec.train,
        clip={
            "model": spec.clip.model,
            "pretrained": spec.clip.pretrained,
            "identity": clip.identity(spec.clip.model, spec.clip.pretrained or None),
        },
        threads=spec.resources.threads,
        device=spec.resources.device,
    )
    fingerprint = job.fingerprint(data_digest)
    ledger = Ledger(url)
    if ledger.whole(PART, fingerprint) is None:
        supervise.run(
            job, spec.resources.nodes * spec.resources.processes, logs_folder(spec) / f"train-{run.name}.ranks.log"
        )
        ledger.commit(PART, fingerprint, {MODEL: "", HISTORY: ""}, {})
    else:
        with Progress(job.title, spec.train.steps, "step", done=spec.train.steps):
            pass
    ledger.publish({PART: fingerprint})
