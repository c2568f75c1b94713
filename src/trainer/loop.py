"""The training loop: what a step does, when checkpoints are saved, and how a run resumes.

A step is a pure function of the state before it and of (seed, step): the batch, the views, the augmentation and the
dropout masks all derive from them, sample by sample, so that ranks and micro-batches move only sums. A checkpoint holds
the weights, the optimiser, the history, the best weights so far and the nearest neighbours, and no generator state; a
run that was interrupted anywhere and resumed ends with the weights and the history of an uninterrupted one, bit for bit
on a CPU with the same ranks, threads and versions; only `seconds` differs.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from captionless.errors import DataError, Interrupted, LossNotFinite, SpecError
from captionless.store import objects
from captionless.store.writers import Claim
from captionless.telemetry import catalog, registry
from captionless.telemetry.progress import Progress, say
from captionless.trainer import checkpoint, curve, distributed, earlier_models, encoders, model_file, param_groups
from captionless.trainer.about_model import about_model
from captionless.trainer.changed_settings import EXTENDABLE
from captionless.trainer.data.feed import BatchFeed
from captionless.trainer.data.node_cache import NodeCache
from captionless.trainer.data.training_data import Batch, TrainingData
from captionless.trainer.device import select_device
from captionless.trainer.elastic.heartbeat import Heartbeat
from captionless.trainer.grad_cache import PRECISIONS, accumulate_gradients
from captionless.trainer.hard_negatives import HardNegatives
from captionless.trainer.logs import Logs
from captionless.trainer.losses.false_negatives import false_negatives
from captionless.trainer.losses.hcl import hcl_share
from captionless.trainer.losses.multi_positive import multi_positive_share
from captionless.trainer.losses.pair_weights import PairWeights
from captionless.trainer.losses.tiled import contrastive_share
from captionless.trainer.losses.weight_source import WeightSource
from captionless.trainer.ops import cuda_ops
from captionless.trainer.optim import Adam, learning_rate
from captionless.trainer.profiling import StepProfile
from captionless.trainer.recompute import recompute
from captionless.trainer.run_folder import CHECKPOINTS, HISTORY, MODEL, curve_name, unfinished_url
from captionless.trainer.seeds import number
from captionless.trainer.training_job import EARLIER, FORMAT, TrainingJob
from captionless.trainer.validation import Validation
from captionless.trainer.weight_average import WeightAverage

_MAX_LOG_SCALE = math.log(100.0)
History = dict[str, list[float | None]]


class TrainingRun:
    """A training run on this rank: its state, one step of it, and what is stored of it."""

    def __init__(self, job: TrainingJob, heartbeat: Heartbeat | None = None) -> None:
        self.job, self.spec = job, job.train
        self.rank, self.world = distributed.rank(), distributed.world_size()
        self.device = select_device(job.device)
        if self.device.type == "cpu":
            if self.spec.precision != "float32":
                raise SpecError(f"train.precision: {self.spec.precision} requires a GPU; use float32 on a CPU")
            if self.spec.compile:
                raise SpecError(
                    "train.compile: true requires a GPU; use false on a CPU, whose kernels are compiled already"
                )
        cuda_ops.choose(self.spec.encoder.operators, self.device)
        node = NodeCache.inherited(job.disk)
        self.weights = WeightSource(job, self.device, node.disk)
        memory = job.memory - self.weights.memory
        on_gpu = self.device.type == "cuda"
        self.data = TrainingData(job.data, self.spec, job.seed, memory, self.weights.look_up, node, on_gpu)
        least = self.world * self.spec.accumulate
        if self.data.batch_size < least:
            what = f" in {self.spec.accumulate} micro-batches (train.accumulate)" if self.spec.accumulate > 1 else ""
            raise SpecError(
                f"a global batch of {self.data.batch_size} cannot be split over {self.world} processes{what}"
            )
        self.fingerprint = job.fingerprint(self.data.digest)
        torch.manual_seed(number("init", job.seed))
        self.options = encoders.encoder_options(self.spec.encoder, self.data.features)
        self.encoder = encoders.build(self.spec.encoder.name, **self.options)
        start = -math.log(self.spec.temperature)
        if self.spec.init:
            about = model_file.load_into(self.encoder, self.spec.init)
            start = start if self.spec.reset_temperature else _learned(about, self.spec.init)
        self.encoder.to(self.device)
        if self.spec.gradient_checkpointing:
            recompute(self.encoder)
        if self.spec.compile:
            self.encoder.compile()  # in place: its parameters keep their names
        self.log_scale = nn.Parameter(torch.tensor(min(max(start, 0.0), _MAX_LOG_SCALE), device=self.device))
        beside = {"log_scale": self.log_scale}
        self.frozen = param_groups.freeze(self.encoder, beside, self.spec.freeze, "train.freeze")
        named = dict(self.encoder.named_parameters()) | beside
        self.parameters = list(named.values())
        shares = param_groups.shares(self.parameters, list(named), self.spec.optim, "train.optim")
        self.optimizer = Adam(self.parameters, self.spec.optim, shares)
        self.average = WeightAverage(self.encoder, beside, self.spec.ema) if self.spec.ema > 0 else None
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.spec.precision == "float16")
        lease = Claim.inherited()
        self.check_lease: Callable[[], None] = lease.check if lease is not None else lambda: None
        """Before anything is stored: rank 0 may outlive a frozen supervisor and be replaced with it."""
        self.writer = checkpoint.CheckpointWriter(
            job.run, self.fingerprint, self.spec.keep_checkpoints, self.check_lease
        )
        self.hard_negatives, self.validation = (
            HardNegatives(self.data, unfinished_url(job.run, self.fingerprint), self.check_lease),
            Validation(self.data),
        )
        self.history: History = {name: [] for name in curve.measured(self.spec.batches)}
        self.logs = Logs()
        self.feed = BatchFeed(self.data, job.title, heartbeat or Heartbeat())
        self.segments: list[dict[str, Any]] = [self._segment(0)]
        """What the steps were made with, from the first of each part on: one, unless the run has been extended."""
        self.done = 0
        self.saved = -1
        """The step of the newest checkpoint of this run; all ranks know it, since what they do next follows from it."""
        self.seconds = 0.0

    def _segment(self, first: int, version: int = FORMAT) -> dict[str, Any]:
        fields = {"format": version, **self.job.fields}
        return {"first": first, "settings": {name: fields[name] for name in sorted(EXTENDABLE & fields.keys())}}

    @property
    def _parts(self) -> dict[str, Any]:
        """The objects that have state, by their name in a checkpoint."""
        average = {} if self.average is None else {"average": self.average}
        return {
            "encoder": self.encoder,
            "optimizer": self.optimizer,
            "scaler": self.scaler,
            "hard_negatives": self.hard_negatives,
            "validation": self.validation,
            "skipped": self.feed.skipped,
            **average,
        }

    def step(self) -> None:
        """One optimisation step on the next global batch; its metrics are appended to the history.

        LossNotFinite, after the metrics are set, when the training has diverged.
        """
        step, optim, began = self.done, self.spec.optim, time.monotonic()
        batch = self.feed.take(step)
        taken = time.monotonic()
        image = torch.from_numpy(batch.image).to(self.log_scale)  # its device and type
        hidden, margin = None, self.spec.batches.false_negatives
        if margin > 0 and batch.groups is not None:
            means = torch.from_numpy(batch.means).to(self.device)
            hidden = false_negatives(image, means, batch.groups, batch.keys, margin, batch.sizes)
        weights = self.weights(batch.similarity, batch.keys, batch.sizes, hidden)
        rate = learning_rate(step, self.spec.steps, optim)
        self.encoder.train()
        for module in self.frozen:
            module.eval()
        self.optimizer.zero_grad()
        share = self._backward(batch, image, weights)
        distributed.all_reduce_gradients(self.parameters)
        self.scaler.unscale_(self.optimizer)  # type: ignore[arg-type]
        norm = float(nn.utils.clip_grad_norm_(self.parameters, optim.clip_grad or math.inf))
        evenness = len(batch.image) if weights is None else weights.entropy()
        sums = distributed.all_reduce_sum(torch.stack([share, share.new_tensor(evenness)]))
        loss, entropy = float(sums[0]), float(sums[1]) / len(batch.keys)
        scale = float(self.log_scale.detach().exp())
        values = loss, scale, rate, norm, entropy, float(hidden.pairs if hidden else 0)
        found = {name: x for name, x in zip(curve.MEASURED, values, strict=True) if name in self.history}
        for name, value in found.items():
            registry.set_value(curve.MEASURED[name], value)
        # float16 gradients overflow now and then: the scaler skips such a step and continues with a smaller scale
        if not math.isfinite(loss) or not (math.isfinite(norm) or self.scaler.is_enabled()):
            raise LossNotFinite(
                f"{self.job.title}: loss {loss} and gradient norm {norm} at step {step}; "
                "lower train.optim.lr or set train.optim.clipGrad"
            )
        self.scaler.step(self.optimizer, rate)  # type: ignore[arg-type]
        self.scaler.update()
        with torch.no_grad():
            self.log_scale.clamp_(0.0, _MAX_LOG_SCALE)
        if self.average is not None:
            self.average.update()
        for name, value in found.items():
            self.history[name].append(value if math.isfinite(value) else None)
        self.logs.tell(step, {name: values[-1] for name, values in self.history.items()})
        self.done += 1
        registry.add(catalog.TRAIN_STEPS)
        registry.add(catalog.TRAIN_STEP_SECONDS, time.monotonic() - taken)
        self.seconds += time.monotonic() - began

    def _backward(self, batch: Batch, image: Tensor, weights: PairWeights | None) -> Tensor:
        """Gradients of this rank's share of the loss, scaled by the scaler; the share."""
        found = image.new_zeros(())

        def share(shape: Tensor) -> Tensor:
            scale, spec = self.log_scale.exp(), self.spec
            if spec.loss == "hcl":
                value = hcl_share(image, shape, scale, spec.hcl_beta, spec.hcl_tau_plus, weights, batch.sizes)
            elif spec.views.loss == "multi-positive":
                value = multi_positive_share(image, shape, scale, weights, batch.sizes)
            else:
                value = contrastive_share(image, shape, scale, weights, batch.sizes)
            found.copy_(value.detach())
            scaled: Tensor = self.scaler.scale(value)
            return scaled

        points = batch.points_on(self.device).to(self.log_scale.dtype)
        keys = torch.from_numpy(batch.seeds).to(self.device)
        accumulate_gradients(self.encoder, points, batch.micro_batches, share, keys, PRECISIONS[self.spec.precision])
        return found

    def validate(self, beat: Callable[[], None]) -> None:
        """Score the weights that would be the result; `beat` is called as it goes."""
        with self.average.applied() if self.average is not None else contextlib.nullcontext():
            self.validation.score(self.encoder, self.log_scale, self.done, beat)
        self.logs.tell(self.done - 1, {"mean_reciprocal_rank": self.validation.curve["mean_reciprocal_rank"][-1]})

    def save(self) -> None:
        """Begin to store a checkpoint, and the curve since the one before (rank 0)."""
        first = max(self.saved, 0)
        if self.rank == 0:
            name = objects.join(CHECKPOINTS, curve_name(self.fingerprint, first))
            told = {name: curve.lines(self.history, first, self.done)} if self.done > first else {}
            told |= self.logs.files()
            state = {
                "fingerprint": self.fingerprint,
                "step": self.done,
                "log_scale": self.log_scale.detach(),
                "history": self.history,
                "seconds": self.seconds,
                "segments": self.segments,
                **{name: part.state_dict() for name, part in self._parts.items()},
            }
            self.writer.save(self.done, state, told)

    def resume(self) -> bool:
        """Resume from the newest intact checkpoint of this run, or of the one that it extends; whether of the latter.

        DataError when there is none of the run to be extended.
        """
        registry.set_value(catalog.TRAIN_CHECKPOINT_LAST_SUCCESS, time.time())  # from now on there is work to lose
        state = distributed.from_first(self._newest() if self.rank == 0 else None)
        if state is None:
            return False
        for name, part in self._parts.items():
            if state.get(name):  # the scaler has none unless the precision is float16
                part.load_state_dict(state[name])
        with torch.no_grad():
            self.log_scale.copy_(state["log_scale"])
        if self.average is not None and "average" not in state:
            self.average.begin()
        self.history, self.done, self.seconds = state["history"], state["step"], state["seconds"]
        if self.rank == 0:
            self.check_lease()
            curve.forget(self.job.run, self.fingerprint, self.done)
        self.segments = state.get("segments") or [self._segment(0, EARLIER)]
        extends: bool = state["fingerprint"] != self.fingerprint
        self.saved = -1 if extends else self.done
        if extends:
            self.segments = [*self.segments, self._segment(self.done)]
        return extends

    def _newest(self) -> dict[str, Any] | None:
        run, extends = self.job.run, self.job.extends
        state = checkpoint.newest(run, self.fingerprint)
        if state is None and extends and (state := checkpoint.newest(run, extends)) is None:
            raise DataError(f"{run}: no intact checkpoint of the run that was to be extended; use new or restart")
        return state

    def finish(self) -> None:
        """Store history.json, then the model file, which marks the run as complete (rank 0).

        The model is the best one if there is a validation set, else the last one; with `train.ema` of the averages.
        """
        if self.rank == 0:
            self.writer.wait()
            url = objects.join(self.job.run, HISTORY)
            document = {
                "run": self.job.title,
                "fingerprint": self.fingerprint,
                "seconds": self.seconds,
                "skipped": self.feed.skipped.keys,
                "step": list(range(self.done)),
                **self.history,
                "validation": self.validation.curve,
            }
            self.check_lease()
            if not self.job.replaces:
                earlier_models.set_aside(self.job.run, self.fingerprint)
            objects.write_bytes(url, (json.dumps(document) + "\n").encode())
            if self.average is not None:
                self.average.swap()
            step, log_scale, best = self.done, self.log_scale.detach(), self.validation.best
            if best:
                step, log_scale = best["step"], best["log_scale"]
                self.encoder.load_state_dict(best["encoder"])
            meta = about_model(
                self.job,
                self.data,
                fingerprint=self.fingerprint,
                step=step,
                log_scale=float(log_scale),
                skipped=self.feed.skipped.keys,
                segments=self.segments,
                processes=self.world,
                device=self.device.type,
            )
            model_url = objects.join(self.job.run, MODEL)
            self.check_lease()
            model_file.save_model(model_url, self.encoder, self.spec.encoder.name, self.options, meta)
            curve.forget(self.job.run, self.fingerprint)


def _learned(about: dict[str, Any], url: str) -> float:
    """The logarithm of the scale that a model was trained to. SpecError if it does not say."""
    found = about.get("log_scale")
    if not isinstance(found, float) or not math.isfinite(found):
        raise SpecError(f"train.init: {url} has no learned temperature; set train.resetTemperature: true")
    return found


def train(
    job: TrainingJob, stop: Callable[[], bool] = lambda: False, heartbeat: Heartbeat | None = None, **info: Any
) -> None:
    """Train a job to its end, resuming where it was interrupted; a finished training is not repeated.

    `stop` is called after each step on every rank: if it returns True on any of them, all stop at that step with a
    checkpoint and raise Interrupted. `heartbeat` reports to the supervisor; `info` is shown with the progress. Ranks
    that succeed end together, after everything is stored. SpecError, DataError or Retryable for errors of settings,
    data or storage.
    """
    heartbeat = heartbeat or Heartbeat()
    run = TrainingRun(job, heartbeat)
    if distributed.from_first(run.rank == 0 and model_file.is_finished(job.run, run.fingerprint)):
        return
    extends = run.resume()
    steps = run.spec.steps
    if run.rank == 0 and run.done:
        say(f"{job.title}: {'extending' if extends else 'resuming'} after step {run.done} of {steps}")
    if run.rank == 0:
        run.logs.open(job, run.fingerprint, run.done)
    profile = StepProfile(job, run.fingerprint, run.done, run.rank == 0)
    shown = Progress(job.title, total=steps, unit="step", done=run.done)
    with run.feed, run.logs, shown if run.rank == 0 else contextlib.nullcontext() as progress:
        run.feed.wait(run.done)
        if extends:  # from now on it is a run of its own, whatever a later call asks for
            _save(run, heartbeat)
        while run.done < steps:
            if run.hard_negatives.due(run.done):
                if run.done != run.saved:  # what is found on the way is of these very weights
                    _save(run, heartbeat)
                    _store(run, run.writer.wait, heartbeat)
                    heartbeat.saved()
                with heartbeat.storage():
                    run.hard_negatives.search(run.encoder, run.done, heartbeat.beat)
                run.feed.drop()
                run.feed.wait(run.done)
            with profile.step(run.done):
                run.step()
            heartbeat.step(run.done)
            if profile.is_whole(run.done):
                _store(run, profile.store, heartbeat)
            if run.validation.due(run.done):
                with heartbeat.storage():
                    run.validate(heartbeat.beat)
            if progress is not None:
                progress.advance(1, loss=run.history["loss"][-1], scale=run.history["scale"][-1], **info)
            flags = stop(), run.writer.ended(), run.feed.is_late(run.done)
            stopping, stored, late = distributed.any_rank(*flags)
            if stored:
                heartbeat.saved()
            if stopping or run.done % run.spec.checkpoint_every == 0 or run.done == steps:
                _save(run, heartbeat)
            if stopping and run.done < steps:
                _store(run, run.writer.wait, heartbeat)
                heartbeat.saved()
                raise Interrupted(f"{job.title}: stopped after step {run.done} of {steps}; rerun to resume")
            if late:
                run.feed.wait(run.done)
    _store(run, run.finish, heartbeat)


def _save(run: TrainingRun, heartbeat: Heartbeat) -> None:
    _store(run, run.save, heartbeat)
    run.saved = run.done


def _store(run: TrainingRun, store: Callable[[], None], heartbeat: Heartbeat) -> None:
    """Rank 0 stores something and the others wait until it has; only who waits for storage may be late."""
    if run.rank == 0:
        with heartbeat.storage():
            store()
        distributed.meet()
    else:
        with heartbeat.storage():
            distributed.meet()
