"""eval: trained encoders on the test split -> results.json, table.md and report.html.

    eval/runs/<run>.figures.json, <run>.npy    a run's figures, and its embeddings (n, D) of the test objects
    eval/runs/<run>.outcomes.npz               the ranks that its figures are of, see eval.outcomes
    eval/runs/clip_mean..., clip_single...     the same of CLIP itself, without embeddings
    eval/results.json, table.md, report.html
    eval/per_class.parquet, confusion.parquet  of many classes, see eval.class_tables

Each of these names but the three fixed ones carries the beginning of the fingerprint of what it was made from, so that
a late writer of another evaluation cannot replace it. Each run's figures are a work item of their own, so that another
loss or seed leaves the others unchanged; so are the references', and the results are one more, made from all of them.

Memory is bounded: clouds are encoded a block at a time, views are read as `eval.measurement` needs them.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from captionless.errors import DataError, Retryable
from captionless.eval import class_tables, outcomes, prompts, results, tables
from captionless.eval.measurement import Measured, clip_ceiling, evaluate_run
from captionless.eval.results import REPORT, RESULTS, TABLE
from captionless.runtime import env
from captionless.runtime.redaction import public, redacted
from captionless.runtime.thread_pools import map_ahead, thread_pool
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.data import SourceKind
from captionless.spec.evaluation import EvalSpec
from captionless.spec.plan import EVAL, PACK
from captionless.spec.variant import TrainingVariant, mode_of, training_variants
from captionless.stages import chain, train
from captionless.stages.clip_model import clip_identity
from captionless.stages.provenance import host, versions
from captionless.stages.unseen import open_unseen
from captionless.stages.work_items import Outcome, WorkItem, WorkOutput, work
from captionless.store import objects
from captionless.store.arrays import StoredArray, write_array
from captionless.store.conditional import replace_if
from captionless.store.embeddings import Embeddings
from captionless.store.ledger import Ledger
from captionless.store.table import write_table

if TYPE_CHECKING:
    from captionless.trainer.encoders.encoder import Encoder

_OWN = (".npy", ".npz", ".figures.json")
_FIXED = (RESULTS, TABLE, REPORT)
_RESULTS, _REFERENCES = "results", "references"  # work items: what is made of all runs, and what CLIP itself reaches
_CLOUDS = 256  # read together; a multiple of those that are encoded together, so that this does not depend on it
_NAMED = 100  # skipped objects that the results name
_PACKAGES = ("torch", "numpy", "open_clip_torch", "numba", "trimesh")


def run(spec: AlignmentSpec) -> Outcome:
    """Evaluates the spec's runs, writes the results, and pushes their figures if a Pushgateway is configured.

    Figures are pushed on every call, even if nothing is left to evaluate. An unreachable Pushgateway is reported on
    stderr and is not an error: the results are stored, and a run must not depend on its monitoring.
    """
    outcome = _Evaluation(spec).run()
    gateway = spec.eval.pushgateway or os.environ.get(env.PUSHGATEWAY, "")
    if gateway:
        from captionless.eval import publish

        try:
            publish.publish(gateway, spec.name, os.environ.get(env.NAMESPACE, ""), _stored(spec))
        except Retryable as error:
            print(f"captionless: {redacted(str(error))}", file=sys.stderr, flush=True)
    return outcome


def figures(spec: AlignmentSpec) -> dict[str, float]:
    """The stored figures of every run in percent, `<run>/<path>`; the first columns of the table first."""
    return tables.percentages(_stored(spec))


def _stored(spec: AlignmentSpec) -> dict[str, Any]:
    url = objects.join(spec.root, EVAL, RESULTS)
    return results.loads(objects.read_bytes(url), url)


class _Evaluation:
    def __init__(self, spec: AlignmentSpec):
        self.spec, self.url = spec, objects.join(spec.root, EVAL)
        self.folder = objects.join(self.url, "runs")
        self.ledger, self.of_runs = Ledger(self.url, (".parquet",)), Ledger(self.folder, _OWN)
        for ledger in (self.ledger, self.of_runs):
            ledger.previous(_RESULTS)  # reads what is there now: that, and nothing newer, may be replaced
        self.runs = training_variants(spec)
        self.unseen = open_unseen(spec)
        self.before: dict[str, bytes | None] = {}
        """The files of fixed names as they were before this evaluation had its lease: what it may replace."""
        self.models = {r.name: train.published_model(spec, r) for r in self.runs}

    def run(self) -> Outcome:
        self.unseen.check()
        clip = clip_identity(self.spec.clip).embeddings
        same = objects.digest(chain.FORMATS[EVAL], self.unseen.digest, clip, self._measured())
        items = [self._run_item(r, objects.digest(same, self.models[r.name])) for r in self.runs]
        items.append(self._references_item(same))
        made_from = chain.made_from(self.spec, "eval")
        of_runs = work("eval", "run", self.of_runs, items, made_from=made_from)
        whole = objects.digest(same, public(self.spec.described()), [item.fingerprint for item in items])
        fingerprints = {item.name: item.fingerprint for item in items}

        def make(advance: Callable[[int], None]) -> WorkOutput:
            return self._make_results(whole, fingerprints)

        if self.ledger.whole(_RESULTS, whole) is None:
            self.before = {name: objects.read_if_any(objects.join(self.url, name)) for name in _FIXED}
        size = len(self.runs)
        results_item = WorkItem(_RESULTS, whole, size, make)
        of_results = work("report", "run", self.ledger, [results_item], made_from=made_from)
        return replace(of_runs, seconds=round(of_runs.seconds + of_results.seconds, 3))

    def _measured(self) -> list[Any]:
        """The settings that a run's figures depend on."""
        return [self.spec.eval.model_dump(mode="json", exclude=set(EvalSpec.OPERATIONAL)), self.spec.train.points]

    # -- the figures of runs and references

    def _run_item(self, run: TrainingVariant, fingerprint: str) -> WorkItem:
        def make(advance: Callable[[int], None]) -> WorkOutput:
            import torch  # heavy, and needed only where there is work

            from captionless.trainer.model_file import load_model

            torch.set_num_threads(self.spec.resources.threads)
            url = train.model_url(self.spec, run)
            model, about = load_model(url, self.models[run.name])
            if (found := mode_of(about)) != str(run.mode):
                raise DataError(f"{url}: was trained as {found}, expected {run.mode}; rerun train")
            test = self.unseen.test  # classes of one prompt are refused before anything is encoded
            shapes = encode(model, self.unseen.data, self.spec.train.points, advance)
            name = f"{_fenced(run.name, fingerprint)}.npy"
            files = {name: write_array(objects.join(self.folder, name), shapes)}
            return WorkOutput(files | self._store(run.name, fingerprint, evaluate_run(shapes, test)), {})

        return WorkItem(run.name, fingerprint, 1, make)

    def _references_item(self, fingerprint: str) -> WorkItem:
        def make(advance: Callable[[int], None]) -> WorkOutput:
            found = clip_ceiling(self.unseen.test)
            stored = [self._store(name, fingerprint, measured) for name, measured in found.items()]
            return WorkOutput({name: sha256 for files in stored for name, sha256 in files.items()}, {})

        return WorkItem(_REFERENCES, fingerprint, 0, make)

    def _store(self, name: str, fingerprint: str, found: Measured) -> dict[str, str]:
        """Writes figures and outcomes; the names of their files with their sha256."""
        whole = _fenced(name, fingerprint)
        data = {
            f"{whole}.figures.json": results.dumps(found.figures),
            outcomes.file_of(whole): outcomes.dumps(found.outcomes),
        }
        for file, content in data.items():
            objects.write_bytes(objects.join(self.folder, file), content)
        return {file: hashlib.sha256(content).hexdigest() for file, content in data.items()}

    def _stored(self, name: str, fingerprint: str) -> Measured:
        """What `_store` wrote."""
        whole = _fenced(name, fingerprint)
        ranks = objects.join(self.folder, outcomes.file_of(whole))
        figures = objects.read_json(objects.join(self.folder, f"{whole}.figures.json"))
        return Measured(figures, outcomes.loads(objects.read_bytes(ranks), ranks))

    # -- results and report

    def _make_results(self, whole: str, fingerprints: Mapping[str, str]) -> WorkOutput:
        from captionless.stages import report_context  # heavy, as above

        stored = {r.name: self._stored(r.name, fingerprints[r.name]) for r in self.runs}
        evaluated = [results.EvaluatedRun(str(r.mode), r.seed, *stored[r.name]) for r in self.runs]
        ceiling = {name: self._stored(name, fingerprints[_REFERENCES]) for name in results.REFERENCES}
        found = results.figures(self.unseen.test, evaluated, ceiling)
        beside = self._write_tables(found, whole)
        files = beside | {"outcomes": self._outcomes(fingerprints)}
        built = results.build(self.unseen.test, found, self._provenance(), files, self._timing(), host())
        table = tables.markdown(built) + "\n" + tables.markdown_differences(built)
        first = self.runs[0].name
        shapes = StoredArray(objects.join(self.folder, f"{_fenced(first, fingerprints[first])}.npy"))
        page = report_context.report_html(self.spec, self.unseen, shapes, built, found.tables)
        data = {RESULTS: results.dumps(built), TABLE: table.encode(), REPORT: page.encode()}
        return WorkOutput(self._write(whole, data) | {one["file"]: one["sha256"] for one in beside.values()}, {})

    def _write(self, whole: str, data: Mapping[str, bytes]) -> dict[str, str]:
        """Writes files of fixed names; their sha256. Retryable when there are those of another evaluation since.

        Each is replaced only if it is the one of before: a writer that was frozen here, and taken for dead, finds those
        of its successor.
        """
        self.ledger.confirm({_RESULTS: whole})
        for file, content in data.items():
            url = objects.join(self.url, file)
            if not replace_if(url, content, self.before.get(file)):
                raise Retryable(
                    f"{url}: another evaluation has written it since this one began; rerun to bring it up to date"
                )
        return {file: hashlib.sha256(content).hexdigest() for file, content in data.items()}

    def _write_tables(self, found: results.Figures, whole: str) -> dict[str, dict[str, Any]]:
        """Stores the class tables that are too large for `results.json`; what it says of each of them."""
        if found.inline:
            return {}
        written = {}
        for name, (schema, rows) in class_tables.parquet(found.tables, self.unseen.classes).items():
            info = write_table(objects.join(self.url, f"{_fenced(name, whole)}.parquet"), rows, schema)
            written[name] = {"file": info.file, "sha256": info.sha256, "rows": info.count}
        return written

    def _outcomes(self, fingerprints: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """What `results.json` says of the files of the runs' outcomes."""
        records = Ledger(self.folder).manifest().records
        found = {}
        for run in self.runs:
            file = outcomes.file_of(_fenced(run.name, fingerprints[run.name]))
            found[run.name] = {"file": f"runs/{file}", "sha256": records[run.name].files[file]["sha256"]}
        return found

    def _provenance(self) -> dict[str, Any]:
        source = self.spec.data.source
        kept = ("kind", "objects", "test_objects", "seed") if source.kind is SourceKind.parametric else ("kind", "url")
        packed = Ledger(objects.join(self.spec.root, PACK)).manifest().rows(["key", "reason"])
        skipped = packed.filter(pc.not_equal(packed["reason"], ""))
        data, training = self.unseen.data, self.unseen.training
        return {
            "dataset": source.model_dump(mode="json", include=set(kept)),
            "objects": {
                "train": training.count, "test": len(data), "skipped": skipped[:_NAMED].to_pylist(),
                "skipped_count": len(skipped),
            },
            "digests": {"train": training.digest, "test": data.digest, "candidates": self.unseen.candidates},
            "clip": {
                "model": self.spec.clip.model,
                "pretrained": self.spec.clip.pretrained,
                **self.unseen.texts.clip,
            },
            "prompt": {"name": self.spec.eval.prompt, "templates": list(prompts.templates(self.spec.eval.prompt))},
            "points": self.spec.train.points,
            "encoder": self.spec.train.encoder.model_dump(mode="json"),
            "checkpoints": self.models,
            "spec": self.spec.described(),
            "versions": versions(_PACKAGES),
        }  # fmt: skip

    def _timing(self) -> dict[str, float]:
        """Seconds of each training's steps, over all of its rounds."""
        return {r.name: round(train.history(self.spec, r)["seconds"], 1) for r in self.runs}


def encode(model: Encoder, data: Embeddings, count: int, advance: Callable[[int], None]) -> NDArray[np.float32]:
    """(n, D): the embeddings of the first `count` points of each cloud; some are read while others are encoded.

    advance: called now and then, with 0.
    """
    from captionless.trainer.infer import encode_points  # heavy, as above

    found = np.empty((len(data), model.embed_dim), np.float32)
    starts = range(0, len(data), _CLOUDS)

    def read(start: int) -> NDArray[np.float16]:
        return data.points(range(start, min(start + _CLOUDS, len(data))))

    with thread_pool(1) as pool:
        for start, clouds in zip(starts, map_ahead(pool, read, starts, 1), strict=True):
            found[start : start + len(clouds)] = encode_points(model, clouds, count)
            advance(0)
    return found


def _fenced(name: str, fingerprint: str) -> str:
    """The beginning of the names of the files of what has this fingerprint."""
    return f"{name}-{fingerprint[:8]}"
