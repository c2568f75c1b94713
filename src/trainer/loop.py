"""The training loop: what one step does, when it is saved, and how a run goes on after a stop.

A step is a pure function of the state before it and of (seed, step): the batch, the views, the augmentation and the
dropout masks all derive from them. A checkpoint therefore holds the weights, the optimiser and the history, and no
generator state, and a run that was stopped anywhere and started again ends with the weights and the history of the
undisturbed one, bit for bit on a CPU with the same ranks, threads and versions; only `seconds` is its own.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from captionless import __version__
from captionless.errors import Interrupted, SpecError
from captionless.progress import Progress
from captionless.store import objects
from captionless.trainer import checkpoint, distributed, encoders
from captionless.trainer.blocked import PairWeights, blocked_share
from captionless.trainer.data import Batch, RawBatch, TrainingData
from captionless.trainer.heartbeat import Heartbeat
from captionless.trainer.job import Job
from captionless.trainer.optim import AdamW, learning_rate
from captionless.trainer.read_ahead import ReadAhead
from captionless.trainer.seeds import number
from captionless.trainer.skipped import Skipped
from captionless.trainer.weights import WeightSource

HISTORY = "history.json"
_MAX_SCALE = 100.0
_METRICS = ("loss", "scale", "lr", "grad_norm", "weight_entropy")

History = dict[str, list[float]]


def encoder_options(job: Job, embed_dim: int) -> dict[str, Any]:
    """What `encoders.build` needs besides the encoder's name."""
    return {**job.train.encoder.model_dump(exclude={"name"}), "embed_dim": embed_dim}


class Run:
    """A training run on this rank: its state, one step of it, and what is stored of it."""

    def __init__(self, job: Job, beat: Heartbeat | None = None) -> None:
        self.job, self.spec, self.beat = job, job.train, beat or Heartbeat()
        self.rank, self.world = distributed.rank(), distributed.world_size()
        self.device = device(job.device)
        self.data = TrainingData(job.data, self.spec, job.seed, job.memory)
        if self.data.batch_size < self.world:
            raise SpecError(f"a global batch of {self.data.batch_size} cannot be cut over {self.world} processes")
        self.fingerprint = job.fingerprint(self.data.digest)
        self.weights = WeightSource(job, self.device)
        torch.manual_seed(number("init", job.seed))
        self.options = encoder_options(job, self.data.features)
        self.encoder = encoders.build(self.spec.encoder.name, **self.options).to(self.device)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(self.spec.temperature), device=self.device))
        self.parameters = [*self.encoder.parameters(), self.log_scale]
        self.optimizer = AdamW(self.parameters, self.spec.optim)
        self.history: History = {name: [] for name in _METRICS}
        self.batches = ReadAhead(self._read, self.data.make, self.spec.steps)
        self.skipped = Skipped(job.title, self.spec.max_skipped)
        self.done = 0
        self.seconds = 0.0

    def step(self) -> None:
        """One optimisation step on the next global batch, its metrics appended to the history."""
        step, optim, began = self.done, self.spec.optim, time.monotonic()
        batch = self._batch(step)
        weights = self.weights(batch.keys, batch.categories, batch.sizes)
        torch.manual_seed(number("dropout", self.job.seed, step, self.rank))
        rate = learning_rate(step, self.spec.steps, optim)
        self.encoder.train()
        self.optimizer.zero_grad()
        scale = self.log_scale.exp()
        share = self._share(batch, weights, scale)
        share.backward()  # type: ignore[no-untyped-call]
        distributed.all_reduce_gradients(self.parameters)
        norm = nn.utils.clip_grad_norm_(self.parameters, optim.clip_grad or math.inf)
        evenness = len(batch.image) if weights is None else weights.entropy()
        sums = distributed.all_reduce_sum(torch.stack([share.detach(), share.new_tensor(evenness)]))
        loss, entropy = float(sums[0]), float(sums[1]) / len(batch.keys)
        if not math.isfinite(loss) or not math.isfinite(float(norm)):
            raise SpecError(
                f"{self.job.title}: loss {loss} and gradient norm {float(norm)} at step {step}; "
                "lower train.optim.lr or set train.optim.clipGrad"
            )
        self.optimizer.step(rate)
        with torch.no_grad():
            self.log_scale.clamp_(0.0, math.log(_MAX_SCALE))
        values = (loss, float(scale.detach()), rate, float(norm), entropy)
        for name, value in zip(_METRICS, values, strict=True):
            self.history[name].append(value)
        self.done += 1
        self.seconds += time.monotonic() - began

    def await_batch(self) -> None:
        """Wait for the next batch where it is still read, and for the ranks that do; as long as storage may take."""
        self.batches.wait(self.done)
        distributed.meet()

    def _read(self, step: int) -> RawBatch:
        return self.data.read(step, self.rank, self.world)

    def _batch(self, step: int) -> Batch:
        """This rank's part of a step's batch, without the objects that are damaged."""
        batch = self.batches.take(step)
        damaged = self.skipped.of(batch)
        if damaged:
            with self.beat.storage():
                batch = self.data.batch(step, self.rank, self.world, damaged)
                distributed.meet()
        return batch

    def _share(self, batch: Batch, weights: PairWeights | None, scale: Tensor) -> Tensor:
        image = torch.from_numpy(batch.image).to(self.device)
        shape = functional.normalize(self.encoder(torch.from_numpy(batch.points).to(self.device)), dim=-1)
        return blocked_share(image, shape, scale, weights, batch.sizes)

    def save(self) -> None:
        """Store a checkpoint (rank 0)."""
        if self.rank == 0:
            state = {
                "fingerprint": self.fingerprint,
                "step": self.done,
                "encoder": self.encoder.state_dict(),
                "log_scale": self.log_scale.detach(),
                "optimizer": self.optimizer.state_dict(),
                "history": self.history,
                "skipped": self.skipped.keys,
                "seconds": self.seconds,
            }
            checkpoint.save(self.job.run, self.done, state, self.spec.keep_checkpoints)

    def resume(self) -> None:
        """Go on from the newest whole checkpoint of this run; one of other settings or data is discarded."""
        state = checkpoint.newest(self.job.run, self.fingerprint) if self.rank == 0 else None
        if self.rank == 0 and state is None:
            checkpoint.discard(self.job.run)
        state = distributed.from_first(state)
        if state is not None:
            self.encoder.load_state_dict(state["encoder"])
            self.optimizer.load_state_dict(state["optimizer"])
            with torch.no_grad():
                self.log_scale.copy_(state["log_scale"])
            self.history, self.done, self.seconds = state["history"], state["step"], state["seconds"]
            self.skipped.keys = list(state.get("skipped", ()))

    def finish(self) -> None:
        """Store history.json, then the model file, which says that the run is complete (rank 0)."""
        if self.rank == 0:
            url = objects.join(self.job.run, HISTORY)
            document = {
                "run": self.job.title,
                "seconds": self.seconds,
                "skipped": self.skipped.keys,
                "step": list(range(self.done)),
                **self.history,
            }
            objects.write_bytes(url, (json.dumps(document) + "\n").encode())
            meta = {
                "fingerprint": self.fingerprint,
                "step": self.done,
                "log_scale": float(self.log_scale.detach()),
                "clip": {**self.job.clip, "embed_dim": self.data.features},
                "points": self.spec.points,
                "weights": self.job.weights.value,
                "seed": self.job.seed,
                "train": self.spec.model_dump(mode="json"),
                "provenance": {
                    **self.job.provenance,
                    "data": self.data.digest,
                    "training_objects": len(self.data.keys),
                    "skipped": self.skipped.keys,
                    "captionless": __version__,
                    "torch": str(torch.__version__),
                    "processes": self.world,
                    "threads": self.job.threads,
                    "device": self.device.type,
                },
            }
            model_url = objects.join(self.job.run, checkpoint.MODEL)
            checkpoint.save_model(model_url, self.encoder, self.spec.encoder.name, self.options, meta)


def train(job: Job, stop: Callable[[], bool] = lambda: False, beat: Heartbeat | None = None, **info: Any) -> None:
    """Train a job to its end, from where it stands; a finished one is left as it is.

    `stop` is asked after each step on every rank: when it says so on any of them, all stop at that step with a
    checkpoint and raise Interrupted. The supervisor hears of the work by `beat`; `info` is shown with the progress.
    Ranks that end well end together, after all is stored. SpecError, DataError or Retryable on settings, data or
    storage.
    """
    beat = beat or Heartbeat()
    run = Run(job, beat)
    if distributed.from_first(run.rank == 0 and checkpoint.is_finished(job.run, run.fingerprint)):
        return
    run.resume()
    steps = run.spec.steps
    if run.rank == 0 and run.done:
        print(f"{job.title}: goes on after step {run.done} of {steps}", file=sys.stderr, flush=True)
    shown = Progress(job.title, total=steps, unit="step", done=run.done)
    with run.batches, shown if run.rank == 0 else contextlib.nullcontext() as progress:
        run.await_batch()
        while run.done < steps:
            run.step()
            beat.step(run.done)
            if progress is not None:
                progress.advance(1, loss=run.history["loss"][-1], scale=run.history["scale"][-1], **info)
            stopping, late = distributed.any_rank(stop(), run.batches.is_late(run.done))
            if stopping or run.done % run.spec.checkpoint_every == 0 or run.done == steps:
                _store(run, run.save, beat)
                beat.saved()
            if stopping and run.done < steps:
                raise Interrupted(f"{job.title}: stopped after step {run.done} of {steps}; run again to go on")
            if late:
                with beat.storage():
                    run.await_batch()
    _store(run, run.finish, beat)


def _store(run: Run, store: Callable[[], None], beat: Heartbeat) -> None:
    """Rank 0 stores something and the others wait until it has; only who waits for storage may be late."""
    if run.rank == 0:
        with beat.storage():
            store()
        distributed.meet()
    else:
        with beat.storage():
            distributed.meet()


def device(wanted: str) -> torch.device:
    """The device of this rank for "auto", "cpu" or "cuda". SpecError when a GPU is asked for and none is there."""
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise SpecError("resources.device: cuda, but no CUDA device is available; use auto or cpu")
    if wanted == "cpu" or not available:
        return torch.device("cpu")
    return torch.device("cuda", distributed.rank() % torch.cuda.device_count())
