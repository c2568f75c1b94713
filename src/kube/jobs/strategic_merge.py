"""Strategic merge of a patch into a pod template, as `kubectl patch --type=strategic` and kustomize do it.

Maps are merged field by field, and null removes a field. Lists are replaced as a whole, except those that the API
marks with a merge key (`patchMergeKey` in k8s.io/api): their elements are merged by it, and new ones come before what
the patch does not mention, as upstream. `$patch: replace` takes the patch's value for a map or a list as it is,
`$patch: delete` empties a map or removes an element of a keyed list, `$retainKeys` removes a map's other fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from captionless.spec.pod_patch import DELETE, PATCH, REPLACE, RETAIN

Object = dict[str, Any]


class Fields(dict[str, "tuple[str, Fields]"]):
    """The fields of an object below which there are keyed lists: the list's merge key, or empty for an object, and the
    fields of the element or object."""


_NONE = Fields()
_CONTAINER = Fields(
    env=("name", _NONE),
    ports=("containerPort", _NONE),
    volumeDevices=("devicePath", _NONE),
    volumeMounts=("mountPath", _NONE),
)
_POD_SPEC = Fields(
    containers=("name", _CONTAINER),
    ephemeralContainers=("name", _CONTAINER),
    hostAliases=("ip", _NONE),
    imagePullSecrets=("name", _NONE),
    initContainers=("name", _CONTAINER),
    resourceClaims=("name", _NONE),
    schedulingGates=("name", _NONE),
    topologySpreadConstraints=("topologyKey", _NONE),
    volumes=("name", _NONE),
)
POD_TEMPLATE = Fields(spec=("", _POD_SPEC))
"""A core/v1 PodTemplateSpec. Its metadata has keyed lists too, but only labels and annotations are patched."""
JOB = Fields(spec=("", Fields(template=("", POD_TEMPLATE))))
"""A batch/v1 Job, as far as it is patched."""


def merge(original: Mapping[str, Any], patch: Mapping[str, Any], fields: Fields, path: str = "") -> Object:
    """The original with the patch applied; neither is changed. ValueError names an element without its merge key."""
    if patch.get(PATCH) == DELETE:
        return {}
    if patch.get(PATCH) == REPLACE:
        return {
            k: _plain(v) for k, v in patch.items() if k not in (PATCH, RETAIN) and v is not None and not _directed(v)
        }
    found = dict(original)
    if RETAIN in patch:
        lost = [k for k, v in patch.items() if k != RETAIN and v is not None and k not in patch[RETAIN]]
        if lost:
            raise ValueError(f"{path}.{lost[0]}: is not in the {RETAIN} beside it".lstrip("."))
        found = {k: v for k, v in found.items() if k in patch[RETAIN]}
    for name, value in patch.items():
        if name == RETAIN:
            continue
        at = f"{path}.{name}".lstrip(".")
        key, below = fields.get(name, ("", _NONE))
        before = found.get(name)
        if value is None:
            found.pop(name, None)
        elif isinstance(value, dict) and isinstance(before, dict):
            found[name] = merge(before, value, below, at)
        elif key:
            if not isinstance(value, list):
                raise ValueError(f"{at}: expected a list, found {value!r}")
            found[name] = _merged_list(before if isinstance(before, list) else [], value, key, below, at)
        elif isinstance(value, dict) and PATCH in value:
            found.pop(name, None)  # there is nothing to delete or replace; upstream drops it as well
        else:
            found[name] = _plain(value)
    return found


def _merged_list(before: Sequence[Any], patch: Sequence[Any], key: str, fields: Fields, path: str) -> list[Any]:
    given = []
    for i, each in enumerate(patch):
        if not isinstance(each, dict):
            raise ValueError(f"{path}[{i}]: expected fields, among them {key}, found {each!r}")
        if key not in each and each.get(PATCH) != REPLACE:
            raise ValueError(f"{path}[{i}]: {key} is missing, by which elements of {path} are merged")
        if not isinstance(each.get(key, ""), str | int):
            raise ValueError(f"{path}[{i}].{key}: expected text or a number, found {each[key]!r}")
        if PATCH not in each:
            given.append(each)
    if any(each.get(PATCH) == REPLACE for each in patch):
        return [_plain(each) for each in given]
    deleted = [each[key] for each in patch if each.get(PATCH) == DELETE]
    kept = [each for each in before if each[key] not in deleted]
    by_key: dict[Any, Object] = {}
    for each in given:
        own = each[key]
        old: Object = by_key.get(own) or next((k for k in kept if k[key] == own), {})
        by_key[own] = merge(old, each, fields, f"{path}[{own}]")
    order = [each[key] for each in kept]
    rest = [each for each in kept if each[key] not in by_key]
    return _interleaved(rest, list(by_key.values()), order, key)


def _interleaved(rest: Sequence[Object], given: Sequence[Object], order: Sequence[Any], key: str) -> list[Object]:
    """Upstream's order: both keep their own; of two at the front, one of the rest goes first if it was before the other
    one in `order`."""
    left, right, found = list(rest), list(given), list[Object]()
    while left and right:
        first, other = left[0][key], right[0][key]
        before = other in order and order.index(first) < order.index(other)
        found.append((left if before else right).pop(0))
    return [*found, *left, *right]


def _plain(value: Any) -> Any:
    """A value of a patch without nulls and directives, and without what a directive in it deletes or replaces."""
    if isinstance(value, dict):
        return merge({}, {**value, PATCH: REPLACE}, _NONE)
    if isinstance(value, list):
        return [_plain(v) for v in value if not _directed(v)]
    return value


def _directed(value: Any) -> bool:
    return isinstance(value, dict) and PATCH in value
