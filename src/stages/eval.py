"""eval: trained encoders on the test split -> results.json, table.md and report.html.

    eval/runs/<run>.json, <run>.npy    a run's figures, and its embeddings (n, D) of the test objects
    eval/runs/<run>.outcomes.npz       the ranks that its figures are of, see eval.outcomes
    eval/results.json, table.md, report.html

Each run's figures are a work item of their own, so that another loss or seed leaves the
others unchanged; the results are one more work item, made from all of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captionless.clip import openclip
from captionless.errors import DataError, Retryable
from captionless.eval import outcomes, prompts, results, tables
from captionless.eval.results import REPORT, RESULTS, TABLE
from captionless.runtime import env
from captionless.runtime.redaction import redacted
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.data import SourceKind
from captionless.spec.evaluation import EvalSpec
from captionless.spec.plan import EMBED, EVAL, PACK, TrainingVariant, training_variants
from captionless.stages import train
from captionless.stages.clip_model import clip_identity, load_clip
from captionless.stages.provenance import host, versions
from captionless.stages.work_items import WorkItem, WorkOutput, work
from captionless.store import objects
from captionless.store.embeddings import open_embeddings
from captionless.store.ledger import Ledger
from captionless.store.shards import encode_array

VERSION = 2
_PACKAGES = ("torch", "numpy", "open_clip_torch", "vtk", "trimesh")


def run(spec: AlignmentSpec) -> None:
    """Evaluates the spec's runs, writes the results, and pushes their figures if a Pushgateway is configured.

    Figures are pushed on every call, even if nothing is left to evaluate. An unreachable Pushgateway is reported on
    stderr and is not an error: the results are stored, and a run must not depend on its monitoring.
    """
    _Evaluation(spec).run()
    gateway = spec.eval.pushgateway or os.environ.get(env.PUSHGATEWAY, "")
    if gateway:
        from captionless.eval import publish

        try:
            publish.publish(gateway, spec.name, os.environ.get(env.NAMESPACE, ""), _stored(spec))
        except Retryable as error:
            print(f"captionless: {redacted(str(error))}", file=sys.stderr, flush=True)


def figures(spec: AlignmentSpec) -> dict[str, float]:
    """The stored figures of every run in percent, `<run>/<path>`; the first columns of the table first."""
    return tables.percentages(_stored(spec))


def _stored(spec: AlignmentSpec) -> dict[str, Any]:
    url = objects.join(spec.root, EVAL, RESULTS)
    return results.loads(objects.read_bytes(url), url)


class _Evaluation:
    def __init__(self, spec: AlignmentSpec):
        self.spec, self.url = spec, objects.join(spec.root, EVAL)
        self.runs = training_variants(spec)
        self.data = open_embeddings(objects.join(spec.root, EMBED), "test")
        if not len(self.data):
            raise DataError("the test split is empty: increase data.testFraction or data.source.testObjects")
        self.models = {r.name: Ledger(train.url_of(spec, r)).manifest().digest for r in self.runs}

    def run(self) -> None:
        same = objects.digest(VERSION, self.data.digest, clip_identity(self.spec.clip), self._measured())
        items = [self._run_item(r, objects.digest(same, self.models[r.name])) for r in self.runs]
        work("eval", "run", Ledger(objects.join(self.url, "runs")), items)
        whole = objects.digest(same, self.spec.described(), [item.fingerprint for item in items])
        size = len(self.runs)
        work("report", "run", Ledger(self.url), [WorkItem("results", whole, size, self._make_results)])

    # -- a run's figures

    def _run_item(self, run: TrainingVariant, fingerprint: str) -> WorkItem:
        def make(advance: Callable[[int], None]) -> WorkOutput:
            shapes = self._encode(run)
            found = results.evaluate_run(shapes, self.test)
            folder, outcomes_name = objects.join(self.url, "runs"), outcomes.file_of(run.name)
            objects.write_bytes(objects.join(folder, f"{run.name}.npy"), encode_array(shapes))
            objects.write_json(objects.join(folder, f"{run.name}.json"), found.figures)
            objects.write_bytes(objects.join(folder, outcomes_name), outcomes.dumps(found.outcomes))
            return WorkOutput({f"{run.name}.npy": "", f"{run.name}.json": "", outcomes_name: ""}, {})

        return WorkItem(run.name, fingerprint, 1, make)

    def _encode(self, run: TrainingVariant) -> NDArray[np.float32]:
        import torch  # heavy, and needed only where there is work

        from captionless.trainer.infer import encode_points
        from captionless.trainer.model_file import load_model

        torch.set_num_threads(self.spec.resources.threads)
        model, _ = load_model(train.model_url(self.spec, run))
        return encode_points(model, self.points, self.spec.train.points)

    @cached_property
    def views(self) -> NDArray[np.float32]:
        return self.data.views(range(len(self.data))).astype(np.float32)

    @cached_property
    def points(self) -> NDArray[np.float16]:
        return self.data.points(range(len(self.data)))

    @cached_property
    def clip(self) -> openclip.Clip:
        return load_clip(self.spec.clip)

    @cached_property
    def test(self) -> results.TestSplit:
        """The unseen objects, with one text or several for every class that the test split has."""
        classes = self.data.classes
        texts = prompts.class_texts(self.spec.eval.prompt, classes)
        flat = self.clip.texts([t for of_class in texts for t in of_class])
        labels = np.array([classes.index(c) for c in self.data.categories], dtype=np.int64)
        protocol = results.Protocol(views=self.spec.eval.views, seed=self.spec.eval.seed)
        return results.TestSplit(
            self.data.keys,
            classes,
            labels,
            self.views,
            flat.reshape(len(classes), len(texts[0]), -1),
            protocol,
            self.data.digest,
        )

    def _measured(self) -> list[Any]:
        """The settings that a run's figures depend on."""
        return [self.spec.eval.model_dump(mode="json", exclude=set(EvalSpec.OPERATIONAL)), self.spec.train.points]

    # -- results and report

    def _make_results(self, advance: Callable[[int], None]) -> WorkOutput:
        from captionless.stages import report_context  # heavy, as above

        evaluated = [self._evaluated(r) for r in self.runs]
        found = results.build(self.test, evaluated, self._provenance(), self._timing(), host())
        objects.write_bytes(objects.join(self.url, RESULTS), results.dumps(found))
        table = tables.markdown(found) + "\n" + tables.markdown_differences(found)
        objects.write_bytes(objects.join(self.url, TABLE), table.encode())
        objects.write_bytes(
            objects.join(self.url, REPORT), report_context.report_html(self.spec, self.data, self.test, found).encode()
        )
        return WorkOutput({RESULTS: "", TABLE: "", REPORT: ""}, {})

    def _evaluated(self, run: TrainingVariant) -> results.EvaluatedRun:
        folder = objects.join(self.url, "runs")
        ranks = objects.join(folder, outcomes.file_of(run.name))
        found = outcomes.loads(objects.read_bytes(ranks), ranks)
        tree = objects.read_json(objects.join(folder, f"{run.name}.json"))
        return results.EvaluatedRun(run.weights.value, run.seed, tree, found)

    def _provenance(self) -> dict[str, Any]:
        source = self.spec.data.source
        kept = ("kind", "objects", "test_objects", "seed") if source.kind is SourceKind.parametric else ("kind", "url")
        training = open_embeddings(self.data.url, "train")
        packed = Ledger(objects.join(self.spec.root, PACK)).manifest()
        skipped = [s for facts in packed.facts() for s in facts["skipped"]]
        models = {r.name: objects.sha256(train.model_url(self.spec, r)) for r in self.runs}
        return {
            "dataset": source.model_dump(mode="json", include=set(kept)),
            "objects": {"train": len(training), "test": len(self.data), "skipped": skipped},
            "digests": {"train": training.digest, "test": self.data.digest},
            "clip": {
                "model": self.spec.clip.model,
                "pretrained": self.spec.clip.pretrained,
                "digest": self.clip.digest,
            },
            "prompt": {"name": self.spec.eval.prompt, "templates": list(prompts.templates(self.spec.eval.prompt))},
            "points": self.spec.train.points,
            "encoder": self.spec.train.encoder.model_dump(mode="json"),
            "checkpoints": models,
            "spec": self.spec.described(),
            "versions": versions(_PACKAGES),
        }

    def _timing(self) -> dict[str, float]:
        """Seconds of each training's steps, over all of its rounds."""
        return {r.name: round(train.history(self.spec, r)["seconds"], 1) for r in self.runs}
