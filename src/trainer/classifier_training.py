"""Training of a classifier: fine-tuning of all of it, or of its head on a frozen encoder (a linear probe).

Fine-tuning sees a newly augmented sample of a cloud in every epoch. A linear probe embeds every cloud once, without
augmentation and with the encoder in evaluation mode, and then trains on the embeddings; the encoder keeps its bits.
They are standardised by the training objects' mean and deviation, so that one learning rate serves encoders of any
scale; in the end that is folded into the head, which is linear in the embedding again.

A step is a pure function of the state before it and of (seed, step), as in `loop`: interrupted anywhere and resumed, a
training ends with the weights and the history of an uninterrupted one, bit for bit on a CPU with the same threads and
versions. The validation objects are classified every `validateEvery` steps and after the last, and the weights that
did best, the first of equals, are the result.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from captionless import __version__
from captionless.errors import DataError, Interrupted, LossNotFinite
from captionless.spec.classification import ClassifySpec
from captionless.store import objects
from captionless.telemetry.progress import Progress, say
from captionless.trainer import checkpoint, earlier_models, encoders, model_file, param_groups
from captionless.trainer.classifier import Classifier, head_logits, logits, save_classifier
from captionless.trainer.classifier_job import EARLIER, FORMAT, ClassifierJob
from captionless.trainer.data.augment import with_channels
from captionless.trainer.data.batches import EpochOrder
from captionless.trainer.data.labelled_clouds import Labelled
from captionless.trainer.device import select_device
from captionless.trainer.infer import embed_points
from captionless.trainer.ops import cuda_ops
from captionless.trainer.optim import Adam, learning_rate
from captionless.trainer.run_folder import HISTORY, MODEL
from captionless.trainer.seeds import number

_EMBED_DIM = 512  # of a fresh encoder, as CLIP's ViT-B-32
_METRICS = ("loss", "accuracy", "lr", "grad_norm")
_KEEP = 2  # checkpoints
_SHOWN = 50  # steps that the shown loss and accuracy are means of
_AT_ONCE = 256  # clouds embedded between two looks at the progress


class _Trainee(Protocol):
    """What is trained, on what."""

    module: nn.Module

    def __init__(
        self, classifier: Classifier, spec: ClassifySpec, training: Labelled, validation: Labelled
    ) -> None: ...

    def inputs(self, rows: NDArray[np.int64], epoch: int) -> NDArray[np.float32]:
        """What the module takes for these training objects."""

    def random(self, rows: NDArray[np.int64], epoch: int, device: torch.device) -> tuple[torch.Tensor, ...]:
        """What the module takes beside them: their keys, see `Encoder.keys_of`, if it has anything random."""

    def validated(self) -> NDArray[np.float32]:
        """Logits of the validation objects, (n, C)."""

    def fold(self) -> None:
        """Make a classifier of what was trained."""


class _FullModel:
    """The encoder and the head, fine-tuned together."""

    def __init__(self, classifier: Classifier, spec: ClassifySpec, training: Labelled, validation: Labelled) -> None:
        self.module: nn.Module = classifier
        self._classifier = classifier
        self._spec, self._training, self._validation = spec, training, validation

    def inputs(self, rows: NDArray[np.int64], epoch: int) -> NDArray[np.float32]:
        spec = self._spec
        clouds = self._training.augmented(rows, spec.points, spec.augment, spec.seed, epoch)
        return with_channels(clouds, self._classifier.encoder.in_channels)

    def random(self, rows: NDArray[np.int64], epoch: int, device: torch.device) -> tuple[torch.Tensor, ...]:
        drawn = [number("dropout", self._spec.seed, epoch, self._training.keys[i]) for i in rows]
        return (torch.tensor(drawn, device=device),)

    def validated(self) -> NDArray[np.float32]:
        return logits(self._classifier, self._validation.clouds, self._spec.points)

    def fold(self) -> None:
        pass


class _LinearProbe:
    """The head alone, on standardised embeddings."""

    def __init__(self, classifier: Classifier, spec: ClassifySpec, training: Labelled, validation: Labelled) -> None:
        self.module: nn.Module = classifier.head
        self._head = classifier.head
        parts = []
        with Progress("embed", len(training) + len(validation)) as progress:
            for part in (training, validation):
                rows = []
                for start in range(0, len(part), _AT_ONCE):
                    rows.append(embed_points(classifier.encoder, part.clouds[start : start + _AT_ONCE], spec.points))
                    progress.advance(len(rows[-1]))
                parts.append(np.concatenate(rows).astype(np.float64))
        self._mean, deviation = parts[0].mean(axis=0), parts[0].std(axis=0)
        # A component that is constant but for rounding tells nothing; it is not blown up.
        self._deviation = np.maximum(deviation, 1e-6 * deviation.max() or 1.0)
        self._training, self._validation = (
            ((part - self._mean) / self._deviation).astype(np.float32) for part in parts
        )

    def inputs(self, rows: NDArray[np.int64], epoch: int) -> NDArray[np.float32]:
        chosen: NDArray[np.float32] = self._training[rows]
        return chosen

    def random(self, rows: NDArray[np.int64], epoch: int, device: torch.device) -> tuple[torch.Tensor, ...]:
        return ()

    def validated(self) -> NDArray[np.float32]:
        return head_logits(self._head, self._validation)

    @torch.no_grad()
    def fold(self) -> None:
        weight = self._head.weight.cpu().double().numpy() / self._deviation
        bias = self._head.bias.cpu().double().numpy() - weight @ self._mean
        self._head.weight.copy_(torch.from_numpy(weight))
        self._head.bias.copy_(torch.from_numpy(bias))


class ClassifierTraining:
    """The training of one classifier: its state, one step of it, and what is stored of it."""

    def __init__(
        self, job: ClassifierJob, training: Labelled, validation: Labelled, check: Callable[[], None] = lambda: None
    ) -> None:
        self.job, self.spec, self.check = job, job.spec, check
        self.fingerprint = job.fingerprint()
        self.device = select_device(self.spec.device)
        cuda_ops.choose(self.spec.encoder.operators, self.device)
        self.labels, self.truth = training.labels, validation.labels
        self.sizes = {"training": len(training), "validation": len(validation)}
        self.batch_size = min(self.spec.batch_size, len(training))
        self.order = EpochOrder(len(training), self.spec.seed)
        torch.manual_seed(number("init", self.spec.seed))
        if self.spec.init:
            encoder, about = model_file.load_model(self.spec.init)
            self.name, self.options = about["encoder"]["name"], about["encoder"]["options"]
        else:
            self.name, self.options = self.spec.encoder.name, encoders.encoder_options(self.spec.encoder, _EMBED_DIM)
            encoder = encoders.build(self.name, **self.options)
        self.classifier = Classifier(encoder, job.classes).to(self.device)
        kind: type[_Trainee] = _LinearProbe if self.spec.frozen else _FullModel
        self.learner = kind(self.classifier, self.spec, training, validation)
        self.module = self.learner.module
        named = dict(self.module.named_parameters())
        shares = param_groups.shares([*named.values()], [*named], self.spec.optim, "classify.optim")
        self.optimizer = Adam(named.values(), self.spec.optim, shares)
        self.writer = checkpoint.CheckpointWriter(job.run, self.fingerprint, _KEEP, check)
        self.history: dict[str, list[float]] = {name: [] for name in _METRICS}
        self.validations: list[dict[str, float]] = []
        self.best: dict[str, Any] = {"step": 0, "accuracy": -1.0, "state": {}}
        self.done = 0
        self.seconds = {"wall": 0.0, "cpu": 0.0}

    def step(self) -> None:
        """One optimisation step on the next batch, its metrics appended to the history."""
        step, optim = self.done, self.spec.optim
        epoch, rows = self.order.batch(step, self.batch_size)
        inputs = torch.from_numpy(self.learner.inputs(rows, epoch)).to(self.device)
        labels = torch.from_numpy(self.labels[rows]).to(self.device)
        rate = learning_rate(step, self.spec.steps, optim)
        self.module.train()
        self.optimizer.zero_grad()
        scores = self.module(inputs, *self.learner.random(rows, epoch, self.device))
        loss = functional.cross_entropy(scores, labels, label_smoothing=self.spec.label_smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.optimizer.parameters, optim.clip_grad or math.inf)
        if not math.isfinite(float(loss.detach())) or not math.isfinite(float(norm)):
            raise LossNotFinite(
                f"{self.job.title}: loss {float(loss.detach())} and gradient norm {float(norm)} at step {step}; "
                "lower classify.optim.lr or set classify.optim.clipGrad"
            )
        self.optimizer.step(rate)
        accuracy = float((scores.detach().argmax(dim=1) == labels).float().mean())
        for name, value in zip(_METRICS, (float(loss.detach()), accuracy, rate, float(norm)), strict=True):
            self.history[name].append(value)
        self.done += 1

    def validate(self) -> None:
        """Classify the validation objects; the weights are kept when they are better than all before."""
        accuracy = float((self.learner.validated().argmax(axis=1) == self.truth).mean())
        self.validations.append({"step": self.done, "accuracy": accuracy})
        if accuracy > self.best["accuracy"]:
            state = {key: value.detach().cpu().clone() for key, value in self.module.state_dict().items()}
            self.best = {"step": self.done, "accuracy": accuracy, "state": state}

    def save(self) -> None:
        """Begin to store a checkpoint."""
        state = {
            "fingerprint": self.fingerprint,
            "step": self.done,
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
            "validations": self.validations,
            "best": self.best,
            "seconds": self.seconds,
        }
        self.writer.save(self.done, state)

    def resume(self) -> None:
        """Resume from the newest intact checkpoint of this training; those of other settings or data stay. DataError if
        it was interrupted in an earlier release, which drew other random numbers."""
        state = checkpoint.newest(self.job.run, self.fingerprint)
        if state is None:
            earlier = checkpoint.newest(self.job.run, self.job.fingerprint(EARLIER))
            if earlier is None:
                return
            if not self.spec.frozen:
                raise DataError(
                    f"{self.job.run}: holds this very training, interrupted after step {earlier['step']} in an earlier "
                    "release, which drew other random numbers; delete its checkpoints/ to begin anew"
                )
            state = earlier  # a probe has nothing random
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.history, self.validations, self.best = state["history"], state["validations"], state["best"]
        self.done, self.seconds = state["step"], state["seconds"]

    def finish(self) -> None:
        """Store history.json, then the best weights as the model file, which says that the training is complete."""
        self.writer.wait()
        self.module.load_state_dict(self.best["state"])
        self.learner.fold()
        best = {"step": self.best["step"], "accuracy": self.best["accuracy"]}
        document = {"step": list(range(self.done)), **self.history, "validation": self.validations, "best": best}
        url = objects.join(self.job.run, HISTORY)
        self.check()
        earlier_models.set_aside(self.job.run, self.fingerprint)
        objects.write_bytes(url, (json.dumps({**document, "seconds": self.seconds}) + "\n").encode())
        meta = {
            **self.job.meta,
            "fingerprint": self.fingerprint,
            "step": self.best["step"],
            "points": self.spec.points,
            "seed": self.spec.seed,
            "classify": self.spec.model_dump(mode="json"),
            "best": best,
            "last": self.validations[-1],
            "objects": self.sizes,
            "provenance": {
                "data": self.job.data_digest,
                "captionless": __version__,
                "torch": str(torch.__version__),
                "threads": self.spec.threads,
                "device": self.device.type,
            },
        }
        self.check()
        save_classifier(objects.join(self.job.run, MODEL), self.classifier, self.name, self.options, meta)

    def shown(self) -> dict[str, float]:
        """What is shown beside the progress."""
        found = {name: float(np.mean(self.history[name][-_SHOWN:])) for name in ("loss", "accuracy")}
        return {**found, "validation": self.validations[-1]["accuracy"]} if self.validations else found


def train(
    job: ClassifierJob,
    training: Labelled,
    validation: Labelled,
    stop: Callable[[], bool] = lambda: False,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Train a classifier to its end, resuming where it was interrupted; a finished training is not repeated.

    `training` and `validation` share no object. `stop` is called after each step: if it returns True, a checkpoint is
    stored and Interrupted raised. `check` is called before anything is stored, and may raise. SpecError, DataError or
    Retryable for errors of settings, initial model or storage.
    """
    if any(earlier_models.is_finished(job.run, job.fingerprint(version)) for version in (FORMAT, EARLIER)):
        return
    run = ClassifierTraining(job, training, validation, check)
    run.resume()
    steps, every = run.spec.steps, run.spec.validate_every
    if run.done:
        say(f"{job.title}: resuming after step {run.done} of {steps}")
    with Progress(job.title, total=steps, unit="step", done=run.done) as progress:
        while run.done < steps:
            wall, cpu = time.monotonic(), time.process_time()
            run.step()
            whole = run.done % every == 0 or run.done == steps
            if whole:
                run.validate()
            run.seconds["wall"] += time.monotonic() - wall
            run.seconds["cpu"] += time.process_time() - cpu
            progress.advance(1, **run.shown())
            stopping = stop() and run.done < steps
            if whole or stopping:
                run.save()
            if stopping:
                run.writer.wait()
                raise Interrupted(f"{job.title}: stopped after step {run.done} of {steps}; rerun to resume")
    run.finish()
