"""What becomes of a run whose settings have changed: another begins beside it, goes on with it, or replaces it.

What determines a run's result is stored, field by field, before its first step (`run_folder.settings_url`), so that a
later call can say what has changed. `train.onChange` says what is then done:

    new        begins beside the other run, whose checkpoints and model stay
    extend     goes on from the other run's newest checkpoint, where only fields of EXTENDABLE have changed
    restart    removes the other runs' checkpoints and earlier models, and begins
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from captionless.errors import SpecError
from captionless.store import objects
from captionless.trainer.run_folder import (
    CHECKPOINTS,
    EARLIER,
    checkpoint_names,
    of_other_runs,
    run_name,
    run_of,
    settings_url,
)

EXTENDABLE = frozenset(
    {
        "format", "train.steps", "train.precision", "train.compile", "train.accumulate", "train.validation.every",
        "train.optim.lr", "train.optim.minLr", "train.optim.warmup", "train.optim.weightDecay", "train.optim.beta1",
        "train.optim.beta2", "train.optim.eps", "train.optim.clipGrad", "train.optim.groups",
        "train.ema", "train.freeze",
    }
)  # fmt: skip
"""Fields that a run may change on the way: they say how steps are computed or how many, and not what is learned. So
does the version of their arithmetic."""

_DIGITS = 64  # of a digest, which says nothing to a reader

Settings = Mapping[str, Any]
"""What determines a run's result: values by name, those of the spec by their dotted names in it."""


class Predecessor(NamedTuple):
    """The run of other settings that was last trained in a folder. step: of its newest checkpoint; None: it has none.
    settings: None if they are not stored, or damaged."""

    fingerprint: str
    step: int | None
    settings: Settings | None


def record(run: str, fingerprint: str, settings: Settings) -> None:
    """Stores what a run is made from, before it begins."""
    objects.write_json(settings_url(run, fingerprint), {"fingerprint": fingerprint, "settings": dict(settings)})


def predecessor(run: str, fingerprint: str) -> Predecessor | None:
    """The last other run in the folder `run`; None if there is none."""
    own, latest = run_name(fingerprint), dict[str, tuple[float, int | None]]()
    for name in objects.list_names(run):
        if (of := run_of(name)) and of != own:  # settings: all else is in folders
            latest[of] = (objects.modified(objects.join(run, name)) or 0.0, None)
    for file, checkpoint in checkpoint_names(run).items():  # fewest steps first
        if checkpoint.run != own:  # of an earlier release it does not say which
            written = objects.modified(objects.join(run, CHECKPOINTS, file)) or 0.0
            latest[checkpoint.run or ""] = (written, checkpoint.step)
    if not latest:
        return None
    name = max(latest, key=lambda each: latest[each][0])
    fingerprint, settings = _recorded(run, name)
    return Predecessor(fingerprint, latest[name][1], settings)


def _recorded(run: str, name: str) -> tuple[str, Settings | None]:
    """The fingerprint and the settings of a run, by its name; no settings if what is stored is not what `record` wrote:
    then it can neither be compared nor extended, and is left as it is."""
    try:
        found = json.loads(objects.read_if_any(settings_url(run, name)) or b"{}")
        return str(found["fingerprint"]), dict(found["settings"])
    except (ValueError, KeyError, TypeError):
        return name, None


def remove_others(run: str, fingerprint: str) -> None:
    """Removes what is stored of other runs in the folder `run`, but for the model that is there."""
    objects.remove(objects.join(run, EARLIER))
    for name in of_other_runs(objects.walk(run), fingerprint):
        objects.remove(objects.join(run, name))


def changes(before: Settings, now: Settings) -> dict[str, tuple[Any, Any]]:
    """What differs: the value before and the value now, by name."""
    names = sorted({*before, *now})
    return {n: (before.get(n), now.get(n)) for n in names if before.get(n) != now.get(n)}


def described(before: Settings, now: Settings) -> str:
    """`changes` in words."""
    found = changes(before, now).items()
    return ", ".join(f"{n} is another" if _is_digest(a, b) else f"{n} was {a!r} and is {b!r}" for n, (a, b) in found)


def _is_digest(*values: Any) -> bool:
    return all(isinstance(value, str) and len(value) == _DIGITS for value in values)


def extended(before: Predecessor, now: Settings) -> str:
    """The fingerprint of the run to go on with.

    Raises:
        SpecError: it cannot be: another field has changed, or there is no checkpoint, or no step left to make.
    """
    if before.settings is None:
        raise SpecError(
            "train.onChange: extend: the settings of the run before are not stored, or damaged; use new or restart"
        )
    if before.step is None:
        raise SpecError("train.onChange: extend: the run before has no checkpoint; use new or restart")
    fixed = {name: before.settings.get(name) for name in changes(before.settings, now) if name not in EXTENDABLE}
    if fixed:
        name, value = next(iter(fixed.items()))
        raise SpecError(
            f"train.onChange: extend: {name} is {now.get(name)!r} and was {value!r}: this is another run; use new or "
            f"restart (a run may be extended with another {', '.join(sorted(EXTENDABLE))})"
        )
    if before.step >= int(now["train.steps"]):
        raise SpecError(
            f"train.steps: {now['train.steps']}, but the run to be extended has made {before.step} already; set more"
        )
    return before.fingerprint
