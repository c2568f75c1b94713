"""PointNeXt's weights as openpoints and ULIP-2 store them, both ways.

Names map as follows; 1x1 convolutions there are linear layers here, so their weights lose trailing dimensions of 1
(k = 0, 1 for the two layers of the head; the projection is ULIP's, transposed):

=====================================  ==========================================
here                                   openpoints
=====================================  ==========================================
stem.{weight,bias}                     encoder.encoder.0.0.convs.0.0.{...}
stages.{i}.layers.{j}.linear.weight    encoder.encoder.{i+1}.0.convs.{j}.0.weight
stages.{i}.layers.{j}.norm.*           encoder.encoder.{i+1}.0.convs.{j}.1.*
stages.{i}.skip.{weight,bias}          encoder.encoder.{i+1}.0.skipconv.0.{...}
head.{k}.linear.weight                 prediction.head.{2k}.0.weight
head.{k}.norm.*                        prediction.head.{2k}.1.*
projection.weight                      pc_projection (transposed)
=====================================  ==========================================

Their checkpoints have a prefix before all of these (ULIP-2: `module.point_encoder.`, and `module.` before the
projection) and contain other entries too; the required ones are found by the names above.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from captionless.errors import DataError
from captionless.trainer.encoders.pointnext import PointNext

_RULES = (
    (r"stem\.(\w+)", r"encoder.encoder.0.0.convs.0.0.\1", 1),
    (r"stages\.(\d+)\.layers\.(\d+)\.linear\.weight", r"encoder.encoder.<\1>.0.convs.\2.0.weight", 2),
    (r"stages\.(\d+)\.layers\.(\d+)\.norm\.(\w+)", r"encoder.encoder.<\1>.0.convs.\2.1.\3", 0),
    (r"stages\.(\d+)\.skip\.(\w+)", r"encoder.encoder.<\1>.0.skipconv.0.\2", 1),
    (r"head\.(\d+)\.linear\.weight", r"prediction.head.(\1).0.weight", 0),
    (r"head\.(\d+)\.norm\.(\w+)", r"prediction.head.(\1).1.\2", 0),
    (r"projection\.weight", r"pc_projection", 0),
)
"""Our name, theirs with <i> for i + 1 and (k) for 2k, and the trailing ones of their weight's shape."""

_PROJECTION = "pc_projection"


def _theirs(name: str) -> tuple[str, int]:
    """Their name of a parameter or buffer of ours, and how many trailing ones its weight has there."""
    for ours, theirs, ones in _RULES:
        if re.fullmatch(ours, name):
            found = re.sub(ours, theirs, name)
            found = re.sub(r"<(\d+)>", lambda m: str(int(m[1]) + 1), found)
            return re.sub(r"\((\d+)\)", lambda m: str(2 * int(m[1])), found), ones
    raise KeyError(name)


def to_openpoints(model: PointNext) -> dict[str, Tensor]:
    """The model's state dict under their names and in their shapes."""
    found = {}
    for name, value in model.state_dict().items():
        theirs, ones = _theirs(name)
        if theirs == _PROJECTION:
            value = value.t()
        found[theirs] = value.reshape(*value.shape, *[1] * ones) if value.ndim == 2 else value
    return found


def load_openpoints(model: PointNext, state: Mapping[str, Tensor]) -> list[str]:
    """Give a model the weights of a state dict of openpoints or ULIP-2; returns the names there that it has no use for.

    A state dict without a projection, as of a classifier, leaves the model's own.

    Raises:
        DataError: a weight is missing or has another shape; the message names it.
    """
    first = _theirs("stem.weight")[0]
    prefix = next((key.removesuffix(first) for key in state if key.endswith(first)), "")
    projection = next((key for key in state if key.rpartition(".")[2] == _PROJECTION), "")
    own, used = model.state_dict(), set()
    for name, value in own.items():
        theirs = _theirs(name)[0]
        key = projection if theirs == _PROJECTION else prefix + theirs
        if theirs == _PROJECTION and not projection:
            continue
        if key not in state:
            raise DataError(f"openpoints state dict: {key} is missing (our {name})")
        given = state[key].t() if theirs == _PROJECTION else state[key]
        if given.numel() != value.numel() or given.shape[: value.ndim] != value.shape:
            raise DataError(
                f"openpoints state dict: {key} has shape {tuple(state[key].shape)}; our {name} has {tuple(value.shape)}"
            )
        own[name] = given.reshape(value.shape)
        used.add(key)
    model.load_state_dict(own)
    return [key for key in state if key not in used]
