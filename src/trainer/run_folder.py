"""The folder of a training run: the names of its files, and the location and digest of its model. Without torch.

    model.pt, history.json                          of the run that was finished last
    settings-<run>.json                             what determines a run's result, field by field; written first
    checkpoints/step-<step>-<run>-<digest>.pt       of a run that is not finished, or that may be extended
    checkpoints/curve-<run>-<first step>.jsonl      its curve so far, see `curve`
    unfinished/<run>/                               what a search between two steps has found so far
    earlier/<run>/model.pt, history.json            of runs with other settings, which were finished before

`<run>` is the beginning of a run's fingerprint, the digest of its settings and data: a run whose settings have changed
begins beside the one before, and neither touches the other's files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from captionless.errors import DataError
from captionless.store import objects

MODEL = "model.pt"
"""The trained model, written last: its presence says that the run is complete."""

HISTORY = "history.json"
"""The curves of the run."""

CHECKPOINTS = "checkpoints"
"""The folder of the checkpoints."""


EARLIER = "earlier"
"""The folder of the models that were trained with other settings."""

_UNFINISHED = "unfinished"

_CHECKPOINT = re.compile(r"step-(\d{8})(?:-([0-9a-f]{8}))?-([0-9a-f]{16})\.pt")
_CURVE = re.compile(r"curve-([0-9a-f]{8})-(\d{8})\.jsonl")


@dataclass(frozen=True)
class CheckpointName:
    """The name of a checkpoint. run: `run_name` of its run; None: of an earlier release, which did not say. digest: the
    beginning of its bytes' sha256."""

    step: int
    run: str | None
    digest: str

    def __str__(self) -> str:
        return f"step-{self.step:08d}-{self.run}-{self.digest}.pt"


def checkpoint_names(run: str) -> dict[str, CheckpointName]:
    """The checkpoints in a run's folder by their files' names, fewest steps first."""
    found = {}
    for name in objects.list_names(objects.join(run, CHECKPOINTS)):
        if matched := _CHECKPOINT.fullmatch(name):
            found[name] = CheckpointName(int(matched[1]), matched[2], matched[3])
    return found


def curve_name(fingerprint: str, first: int) -> str:
    """The file among the checkpoints that has the steps from `first` on of the run with this fingerprint."""
    return f"curve-{run_name(fingerprint)}-{first:08d}.jsonl"


def curve_names(run: str, fingerprint: str) -> dict[str, int]:
    """The files with the steps of the run with this fingerprint, in the folder `run`, and the first of each."""
    found = {}
    for name in objects.list_names(objects.join(run, CHECKPOINTS)):
        if (matched := _CURVE.fullmatch(name)) and matched[1] == run_name(fingerprint):
            found[name] = int(matched[2])
    return found


def of_other_runs(names: Iterable[str], fingerprint: str) -> list[str]:
    """Of the names of files in a run's folder, those that are not of the run with this fingerprint."""
    found, own = [], run_name(fingerprint)
    for name in names:
        folder, _, file = name.rpartition("/")
        checkpoint = _CHECKPOINT.fullmatch(file) if folder == CHECKPOINTS else None
        curve = _CURVE.fullmatch(file) if folder == CHECKPOINTS else None
        is_settings = not folder and file.startswith("settings-") and file != f"settings-{own}.json"
        is_other = (checkpoint is not None and checkpoint[2] != own) or (curve is not None and curve[1] != own)
        if is_settings or is_other or folder.partition("/")[0] == EARLIER:
            found.append(name)
    return sorted(found)


def run_name(fingerprint: str) -> str:
    """What the files of the run with this fingerprint have in their names."""
    return fingerprint[:8]


def settings_url(run: str, fingerprint: str) -> str:
    """The settings of the run with this fingerprint, in the folder `run`."""
    return objects.join(run, f"settings-{run_name(fingerprint)}.json")


def unfinished_url(run: str, fingerprint: str) -> str:
    """The folder of what the run with this fingerprint is computing between two steps."""
    return objects.join(run, _UNFINISHED, run_name(fingerprint))


def earlier_url(run: str, fingerprint: str) -> str:
    """The folder to which the model of the run with this fingerprint is moved when another one takes its place."""
    return objects.join(run, EARLIER, run_name(fingerprint))


def model_url(url: str) -> str:
    """The model file at `url`, which is the file or its run's folder."""
    return url if is_model(url) else objects.join(url, MODEL)


def is_model(url: str) -> bool:
    """Whether a URL, which may be signed, is that of a model file."""
    return url.partition("?")[0].endswith(".pt")


def model_digest(url: str) -> str:
    """The sha256 (hex) of the model file at `url`. DataError when it does not exist."""
    try:
        return objects.sha256(model_url(url))
    except FileNotFoundError:
        raise DataError(f"{model_url(url)}: model file not found; train first, or correct the URL") from None
