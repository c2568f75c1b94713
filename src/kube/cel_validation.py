"""The spec classes' validation across fields, as CEL for the API server (KEP-2876), and what may change (KEP-3488).

Each rule mirrors a validator of a class, so that `kubectl apply` refuses a wrong spec
with the field's name instead of it failing later. An absent field counts as its default, which is
read from the class: CEL sees only what the author wrote. `tests/cluster/test_crd.py` verifies that the API server and
pydantic agree.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from captionless.spec.alignment import AlignmentSpec
from captionless.spec.data import SourceKind, SourceSpec
from captionless.spec.encoder import EncoderSpec
from captionless.spec.landmarks import LandmarkOrigin, LandmarksSpec
from captionless.spec.pods import Variable, Volume
from captionless.spec.resources import ResourcesSpec
from captionless.spec.train import LOSS_OPTIONS, WEIGHTS_OPTIONS, BatchesSpec, TrainSpec, ViewsSpec
from captionless.spec.weights import Weights

Rule = dict[str, Any]

MUTABLE = ("resources", "suspend", "ttlSecondsAfterFinished")
"""The fields of an existing Alignment that may be changed."""

_REQUIRED = ("output", "data")


def value(model: type[BaseModel], path: str) -> str:
    """A CEL expression for a field's value, or for its default where it or a section above it is absent."""
    at, guards, node = "self", [], model
    for name in path.split("."):
        field = next(f for f in node.model_fields.values() if f.alias == name)
        if not field.is_required():
            guards.append(f"has({at}.{name})")
        at = f"{at}.{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            node = field.annotation
    if not guards:
        return at
    default = field.get_default()
    if default is PydanticUndefined:
        raise ValueError(f"{path}: is required in a section that is not, so it has no default")
    return f"({' && '.join(guards)} ? {at} : {_literal(default)})"


def _literal(default: Any) -> str:
    if isinstance(default, tuple):
        return f"[{', '.join(map(_literal, default))}]"
    if isinstance(default, bool):
        return str(default).lower()
    return f"'{default}'" if isinstance(default, str) else str(default)


def _rule(field: str, message: str, rule: str, reason: str = "FieldValueInvalid") -> Rule:
    return {"rule": rule, "message": message, "fieldPath": field, "reason": reason}


def _source() -> Rule:
    met = f"self.kind == '{SourceKind.parametric}' || {value(SourceSpec, 'url')} != ''"
    return _rule(".url", "url is required for every kind but parametric", met, "FieldValueRequired")


def _landmarks() -> Rule:
    origin, file = value(LandmarksSpec, "origin"), value(LandmarksSpec, "file")
    met = f"{origin} != '{LandmarkOrigin.file}' || {file} != ''"
    return _rule(".file", "file is required for origin: file", met, "FieldValueRequired")


def _group() -> Rule:
    met = f"{value(BatchesSpec, 'group')} <= {value(BatchesSpec, 'candidates')} + 1"
    return _rule(".group", "group exceeds candidates + 1", met)


def _of_neighbours() -> list[Rule]:
    """A rule for each option that random batches do not have."""
    found, kind = [], value(BatchesSpec, "kind")
    for option in BatchesSpec.OF_NEIGHBOURS:
        field = BatchesSpec.model_fields[option]
        met = f"{kind} == 'neighbours' || {value(BatchesSpec, str(field.alias))} == {_literal(field.get_default())}"
        found.append(_rule(f".{field.alias}", "is only an option of kind: neighbours", met))
    every = BatchesSpec.model_fields["every"]
    searched = f"{value(BatchesSpec, 'from')} == '' || {value(BatchesSpec, 'every')} == {_literal(every.get_default())}"
    return [*found, _rule(".every", "does nothing with from, which brings the neighbours", searched)]


def _options() -> list[Rule]:
    """A rule for each option that not every encoder has."""
    name, found = value(EncoderSpec, "name"), []
    for option, field in EncoderSpec.model_fields.items():
        takers = [encoder for encoder, options in EncoderSpec.OPTIONS.items() if option in options]
        if 0 < len(takers) < len(EncoderSpec.OPTIONS):
            met = f"!has(self.{field.alias}) || {name} in {_literal(tuple(takers))}"
            found.append(_rule(f".{field.alias}", f"is only an option of {' and '.join(takers)}", met))
    return found


def _heads() -> Rule:
    width = f"(has(self.width) ? self.width : {EncoderSpec.DEFAULTS['pointbert']['width']})"
    met = f"{value(EncoderSpec, 'name')} != 'pointbert' || {width} % {value(EncoderSpec, 'heads')} == 0"
    return _rule(".width", "is not a multiple of heads", met)


def _depth() -> Rule:
    met = f"{value(EncoderSpec, 'name')} != 'sparseconv' || !has(self.depth) || self.depth in "
    known = EncoderSpec.DEPTHS
    return _rule(".depth", f"must be one of {', '.join(map(str, known))} for sparseconv", met + _literal(known))


def _loss() -> list[Rule]:
    """A rule for each option that only one of the losses has."""
    found, loss = [], value(TrainSpec, "loss")
    for option, (taker, default) in LOSS_OPTIONS.items():
        alias = str(TrainSpec.model_fields[option].alias)
        met = f"{loss} == '{taker}' || {value(TrainSpec, alias)} == {_literal(default)}"
        found.append(_rule(f".{alias}", f"is only an option of loss: {taker}", met))
    return found


def _views() -> Rule:
    met = f"({value(ViewsSpec, 'count')} == 1) == ({value(ViewsSpec, 'loss')} == 'sample')"
    return _rule(".count", "does not go with loss: sample takes 1, others 2 or more", met)


def _views_of_loss() -> Rule:
    met = f"{value(TrainSpec, 'views.loss')} != 'multi-positive' || {value(TrainSpec, 'loss')} == 'contrastive'"
    return _rule(".views.loss", "multi-positive is only an option of loss: contrastive", met)


def _kept_or_computed_again() -> Rule:
    met = f"!{value(TrainSpec, 'gradientCheckpointing')} || !{value(TrainSpec, 'compile')}"
    return _rule(".gradientCheckpointing", "not with compile, which decides by itself what to keep", met)


def _weights() -> list[Rule]:
    """A rule for each option that not all weights have."""
    found, trained = [], value(TrainSpec, "weights")
    for option, takers in WEIGHTS_OPTIONS.items():
        field = TrainSpec.model_fields[option]
        default = f"{value(TrainSpec, str(field.alias))} == {_literal(field.get_default())}"
        met = f"{default} || {trained}.exists(w, w in {_literal(takers)})"
        found.append(_rule(f".{field.alias}", f"is only an option of weights: {', '.join(takers)}", met))
    return found


def _temperature() -> list[Rule]:
    start, reset = f"{value(TrainSpec, 'init')} != ''", value(TrainSpec, "resetTemperature")
    default = _literal(TrainSpec.model_fields["temperature"].get_default())
    return [
        _rule(".resetTemperature", "is only an option of init", f"!{reset} || {start}"),
        _rule(
            ".temperature",
            "init brings its own, which has been learned; set resetTemperature: true to begin with this one",
            f"!({start}) || {reset} || {value(TrainSpec, 'temperature')} == {default}",
        ),
    ]


def _groups() -> list[Rule]:
    other, points = f"{value(TrainSpec, 'encoder.name')} != 'pointbert'", value(TrainSpec, "points")
    return [
        _rule(
            f".encoder.{option}",
            f"encoder.{option} exceeds points (pointbert)",
            f"{other} || {value(TrainSpec, f'encoder.{option}')} <= {points}",
        )
        for option in ("groups", "nsample")
    ]


def _elastic() -> Rule:
    met = f"{value(ResourcesSpec, 'minNodes')} <= {value(ResourcesSpec, 'nodes')}"
    return _rule(".minNodes", "minNodes exceeds nodes", met)


def _variable() -> Rule:
    text, secret, key = (f"{value(Variable, n)} != ''" for n in ("value", "secret", "key"))
    met = f"({secret}) == ({key}) && !({secret} && {text})"
    return _rule(".value", "give either value, or both secret and key", met)


def _volume() -> Rule:
    origins = ("claim", "configMap", "secret")
    met = " + ".join(f"({value(Volume, n)} != '' ? 1 : 0)" for n in origins) + " == 1"
    return _rule(".claim", "expected exactly one of claim, configMap, secret", met)


def _grammar() -> Rule:
    kind, origin = value(AlignmentSpec, "data.source.kind"), value(AlignmentSpec, "landmarks.origin")
    needing = ", ".join(f"'{w}'" for w in Weights if "i2l" in w.metrics)
    trained = f"{value(AlignmentSpec, 'train.weights')}.exists(w, w in [{needing}])"
    return _rule(
        ".landmarks.origin",
        "grammar has texts only for data.source.kind: parametric; use file or llm, or train with weights that need "
        "no landmarks (uniform, category, i2i)",
        f"{kind} == '{SourceKind.parametric}' || {origin} != '{LandmarkOrigin.grammar}' || !{trained}",
    )


def _clouds() -> Rule:
    return _rule(
        ".data.source.kind",
        "points has no meshes to render, so it cannot be aligned to images",
        f"{value(AlignmentSpec, 'data.source.kind')} != '{SourceKind.points}'",
    )


def _points() -> Rule:
    met = f"{value(AlignmentSpec, 'train.points')} <= {value(AlignmentSpec, 'data.points')}"
    return _rule(".train.points", "train.points exceeds data.points", met)


def _shared() -> list[Rule]:
    """Not rules of the spec class: on one machine a local folder is fine. `check_shared` is their equivalent."""
    path = "self.output.replace('file://', '', 1)"
    below = f"{path}.startsWith(v.mountPath.endsWith('/') ? v.mountPath : v.mountPath + '/')"
    writable = f"{value(Volume, 'claim')} != '' && !{value(Volume, 'readOnly')}".replace("self.", "v.")
    remote = "self.output.contains('://') && !self.output.matches('^(file|local|memory)://')"

    def mounted(test: str) -> str:
        """True if a volume of `pods`, and one of every stage that has its own volumes, passes the test."""
        everywhere = f"has(self.pods) && has(self.pods.volumes) && self.pods.volumes.exists(v, {test})"
        of_stages = f"self.pods.stages.all(s, !has(s.volumes) || s.volumes.exists(v, {test}))"
        return f"({remote}) || ({everywhere} && (!has(self.pods.stages) || {of_stages}))"

    return [
        _rule(
            ".output",
            "is not accessible to all pods; expected object storage (s3://bucket/folder) or a path below a volume of "
            "pods.volumes, and of pods.stages[].volumes where these are set",
            mounted(below),
        ),
        _rule(
            ".output",
            "is below a volume that is mounted read-only; expected readOnly: false and a claim, since every stage "
            "writes there",
            f"!({mounted(below)}) || {mounted(f'{below} && {writable}')}",
        ),
    ]


def _kept(name: str) -> Rule:
    """The transition rule of a section that must not change, nor be added or removed, after creation."""
    unchanged = f"self.{name} == oldSelf.{name}"
    if name not in _REQUIRED:
        unchanged = f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || {unchanged})"
    return _rule(
        f".{name}",
        f"cannot be changed; create another Alignment (only {', '.join(MUTABLE)} can)",
        unchanged,
        "FieldValueForbidden",
    )


def rules() -> dict[str, list[Rule]]:
    """The rules by the name of the class that they belong to, as `schema.structural` takes them."""
    fields = [f.alias for f in AlignmentSpec.model_fields.values() if f.alias and f.alias not in ("name", *MUTABLE)]
    return {
        SourceSpec.__name__: [_source()],
        LandmarksSpec.__name__: [_landmarks()],
        BatchesSpec.__name__: [_group(), *_of_neighbours()],
        EncoderSpec.__name__: [*_options(), _heads(), _depth()],
        TrainSpec.__name__: [
            *_groups(),
            *_loss(),
            *_weights(),
            *_temperature(),
            _views_of_loss(),
            _kept_or_computed_again(),
        ],
        ViewsSpec.__name__: [_views()],
        ResourcesSpec.__name__: [_elastic()],
        Variable.__name__: [_variable()],
        Volume.__name__: [_volume()],
        AlignmentSpec.__name__: [_grammar(), _clouds(), _points(), *_shared(), *map(_kept, fields)],
    }
