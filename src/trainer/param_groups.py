"""Which parameters are trained, and at what rate: `train.freeze` and `optim.groups`, by patterns of their names.

A pattern is a glob, in which `*` also matches dots; one that matches a module's name stands for all of its parameters:
`stages.0`, `blocks.[0-5]`, `*.norm.*`, `log_scale`. A pattern that matches nothing is refused, since it is misspelt or
meant for another encoder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from torch import nn

from captionless.errors import SpecError, did_you_mean
from captionless.spec.train import OptimSpec


class Share(NamedTuple):
    """How one parameter is updated: the learning rate in multiples of the schedule's, and its weight decay."""

    rate: float
    decay: float


def matched(names: Iterable[str], pattern: str) -> set[str]:
    """Those of the names of parameters that a pattern means."""
    return {name for name in names if fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")}


def shares(parameters: Sequence[nn.Parameter], names: Sequence[str], spec: OptimSpec, field: str) -> list[Share]:
    """How each of some named parameters is updated: as the first group of `spec.groups` says that matches its name.

    Parameters of fewer than two dimensions never decay. SpecError when a group matches none, or none that earlier ones
    leave; `field` is where the spec has `spec`.
    """
    left, of_group = set(names), dict[str, int]()
    for i, group in enumerate(spec.groups):
        meant = _found(names, group.match, f"{field}.groups[{i}].match")
        if not meant & left:
            raise SpecError(
                f"{field}.groups[{i}].match: all that {group.match!r} matches is in groups before it; the first "
                "that matches a parameter applies"
            )
        of_group |= dict.fromkeys(meant & left, i)
        left -= meant
    found = []
    for parameter, name in zip(parameters, names, strict=True):
        own = spec.groups[of_group[name]] if name in of_group else None
        decay = spec.weight_decay if own is None or own.weight_decay is None else own.weight_decay
        found.append(Share(1.0 if own is None else own.lr_factor, decay if parameter.ndim >= 2 else 0.0))
    return found


def freeze(
    model: nn.Module, others: Mapping[str, nn.Parameter], patterns: Sequence[str], field: str
) -> list[nn.Module]:
    """Excludes from training what patterns of parameters' names mean, in a model and of some others beside it; returns
    the outermost modules of which nothing is trained any more.

    These are to be kept in evaluation mode: a BatchNorm whose weights stay keeps its statistics as well, and is applied
    with them. SpecError when a pattern matches nothing, or nothing of the model is left to train.
    """
    named = {**dict(model.named_parameters()), **others}
    for i, pattern in enumerate(patterns):
        for name in _found(list(named), pattern, f"{field}[{i}]"):
            named[name].requires_grad_(False)
    if patterns and not any(p.requires_grad for p in model.parameters()):
        raise SpecError(f"{field}: {', '.join(patterns)} leaves no parameter of the encoder to train")
    return _frozen(model)


def _frozen(module: nn.Module) -> list[nn.Module]:
    """Of a module and those below it the outermost whose parameters, one at least, are all excluded from training."""
    parameters = list(module.parameters())
    if parameters and not any(p.requires_grad for p in parameters):
        return [module]
    return [frozen for child in module.children() for frozen in _frozen(child)]


def _found(names: Sequence[str], pattern: str, field: str) -> set[str]:
    found = matched(names, pattern)
    if not found:
        modules = list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))
        raise SpecError(
            f"{field}: {pattern!r} matches no parameter{did_you_mean(pattern, [*modules, *names])}; there are "
            f"{', '.join(modules)}"
        )
    return found
