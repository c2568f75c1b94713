"""The folder of a training run: the names of its files, and the location and digest of its model. Without torch.

    model.pt, history.json                          of the run that was finished last
    settings-<run>.json                             what determines a run's result, field by field; written first
    checkpoints/step-<step>-<run>-<digest>.pt       of a run that is not finished, or that may be extended
    checkpoints/curve-<run>-<first step>.jsonl      its curve so far, see `curve`
    tensorboard/<run>/events.out.tfevents.<first step>.captionless    its figures, see `logs`
    profile/<run>-<first step>.json.gz              a trace of some steps, see `profiling`
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

_UNFINISHED, _EVENTS, _PROFILE = "unfinished", "tensorboard", "profile"

_RUN = r"(?P<run>[0-9a-f]{8})"
_CHECKPOINT = re.compile(rf"step-(?P<step>\d{{8}})(?:-{_RUN})?-(?P<digest>[0-9a-f]{{16}})\.pt")
_CURVE = re.compile(rf"curve-{_RUN}-(?P<first>\d{{8}})\.jsonl")
_EVENT_FILE = re.compile(rf"{_EVENTS}/{_RUN}/events\.out\.tfevents\.(?P<first>\d{{10}})\.captionless")
_OF_A_RUN = tuple(
    re.compile(pattern)
    for pattern in (
        rf"settings-{_RUN}\.json", f"{CHECKPOINTS}/{_CHECKPOINT.pattern}", f"{CHECKPOINTS}/{_CURVE.pattern}",
        _EVENT_FILE.pattern, rf"{_PROFILE}/{_RUN}-\d{{8}}\.json\.gz", f"{_UNFINISHED}/{_RUN}/.*",
        f"{EARLIER}/{_RUN}/.*",
    )
)  # fmt: skip


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
            found[name] = CheckpointName(int(matched["step"]), matched["run"], matched["digest"])
    return found


def curve_name(fingerprint: str, first: int) -> str:
    """The file among the checkpoints that has the steps from `first` on of the run with this fingerprint."""
    return f"curve-{run_name(fingerprint)}-{first:08d}.jsonl"


def curve_names(run: str, fingerprint: str) -> dict[str, int]:
    """The files with the steps of the run with this fingerprint, in the folder `run`, and the first of each."""
    found = {}
    for name in objects.list_names(objects.join(run, CHECKPOINTS)):
        if (matched := _CURVE.fullmatch(name)) and matched["run"] == run_name(fingerprint):
            found[name] = int(matched["first"])
    return found


def event_file_name(fingerprint: str, first: int) -> str:
    """The path, in the folder of a run, of the event file with the steps from `first` on of the run with this
    fingerprint: TensorBoard reads the files of a folder in the order of their names."""
    return f"{_EVENTS}/{run_name(fingerprint)}/events.out.tfevents.{first:010d}.captionless"


def event_file_names(run: str, fingerprint: str) -> dict[str, int]:
    """The event files of the run with this fingerprint, by their paths in the folder `run`; the first step of each."""
    folder = f"{_EVENTS}/{run_name(fingerprint)}"
    names = (f"{folder}/{name}" for name in objects.list_names(objects.join(run, folder)))
    return {name: int(matched["first"]) for name in names if (matched := _EVENT_FILE.fullmatch(name))}


def profile_name(fingerprint: str, first: int) -> str:
    """The path, in the folder of a run, of the trace of its steps from `first` on."""
    return f"{_PROFILE}/{run_name(fingerprint)}-{first:08d}.json.gz"


def run_of(name: str) -> str | None:
    """The `run_name` of the run that a file in a run's folder is of, by its path there; empty for a checkpoint of an
    earlier release, which did not say; None for a file of no one run."""
    found = next((matched for pattern in _OF_A_RUN if (matched := pattern.fullmatch(name))), None)
    return None if found is None else found["run"] or ""


def of_other_runs(names: Iterable[str], fingerprint: str) -> list[str]:
    """Of the names of files in a run's folder, those that are of another run than the one with this fingerprint."""
    return sorted(name for name in names if run_of(name) not in (None, run_name(fingerprint)))


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


def check_place(url: str) -> None:
    """DataError for a file of another kind, such as the weights of another program, in the place of `model_url`'s."""
    if not is_model(url) and objects.size(url) is not None:
        raise DataError(f"{url}: is no {MODEL}; expected the {MODEL} of a training run, or that run's folder")


def is_model(url: str) -> bool:
    """Whether a URL, which may be signed, is that of a model file."""
    return url.partition("?")[0].endswith(".pt")


def model_digest(url: str) -> str:
    """The sha256 (hex) of the model file at `url`. DataError when it does not exist."""
    check_place(url)
    try:
        return objects.sha256(model_url(url))
    except FileNotFoundError:
        raise DataError(f"{model_url(url)}: model file not found; train first, or correct the URL") from None
