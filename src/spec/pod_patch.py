"""`pods.patch`: a strategic-merge patch of a stage's Job, read from YAML and checked for its shape.

It may concern the labels and annotations of the Job and its pods, and the pods' spec. Which fields of these it must
leave alone depends on what the Job builder made: `kube.jobs.patch` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import isfinite
from typing import Any

import yaml

PATCH, RETAIN = "$patch", "$retainKeys"
"""The directives of a strategic-merge patch that are understood."""
DELETE, REPLACE = "delete", "replace"
"""The values of `PATCH`."""

_MARKS: Mapping[str, Any] = {"labels": None, "annotations": None}
_SHAPE: Mapping[str, Any] = {"metadata": _MARKS, "spec": {"template": {"metadata": _MARKS, "spec": None}}}
"""The fields that a patch may have; None: any below."""


class _Loader(yaml.SafeLoader):
    """Without aliases, by which a short text can stand for a document of any size."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not supported")
        return super().compose_node(parent, index)


@lru_cache(maxsize=256)  # a controller validates the same specs again and again
def read(text: str) -> Mapping[str, Any]:
    """The patch as JSON values. ValueError names the field that is wrong, and what was expected."""
    try:
        found = yaml.load(text, _Loader)
        _check_json(found, "")
    except yaml.YAMLError as error:
        raise ValueError(f"not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    _check_shape(found, _SHAPE, "")
    template = (found.get("spec") or {}).get("template") or {}
    for path, metadata in (("metadata", found.get("metadata")), ("spec.template.metadata", template.get("metadata"))):
        for kind, marks in (metadata or {}).items():
            for name, value in marks.items():
                if not isinstance(value, str | None):
                    raise ValueError(f"{path}.{kind}.{name}: expected text, found {value!r}; put it in quotes")
    return dict(found)


def _check_shape(node: Any, shape: Mapping[str, Any], path: str) -> None:
    below = f"{path}." if path else ""
    if not isinstance(node, dict):
        raise ValueError(f"{path + ': ' if path else ''}expected fields ({', '.join(shape)}), found {node!r}")
    for name, value in node.items():
        if name not in shape:
            raise ValueError(f"{below}{name}: cannot be patched; expected {', '.join(below + s for s in shape)}")
        if shape[name] is not None:
            _check_shape(value, shape[name], below + name)
        elif not isinstance(value, dict):
            raise ValueError(f"{below}{name}: expected fields, found {value!r}")


def _check_json(node: Any, path: str) -> None:
    """ValueError for what JSON has no values for, such as YAML's dates, and for unknown directives."""
    if isinstance(node, dict):
        for name, value in node.items():
            at = f"{path}.{name}" if path else str(name)
            if not isinstance(name, str):
                raise ValueError(f"{at}: expected text for the name of a field, found {name!r}; put it in quotes")
            if name.startswith("$") and name not in (PATCH, RETAIN):
                raise ValueError(f"{at}: unknown directive; expected {PATCH} or {RETAIN}")
            if name == PATCH and value not in (DELETE, REPLACE):
                raise ValueError(f"{at}: expected {DELETE} or {REPLACE}, found {value!r}")
            if name == RETAIN and not (isinstance(value, list) and all(isinstance(v, str) for v in value)):
                raise ValueError(f"{at}: expected a list of names of fields, found {value!r}")
            _check_json(value, at)
    elif isinstance(node, list):
        for i, value in enumerate(node):
            _check_json(value, f"{path}[{i}]")
    elif not isinstance(node, str | int | float | bool | None) or (isinstance(node, float) and not isfinite(node)):
        raise ValueError(f"{path or 'patch'}: expected a value of JSON, found {node!r}; put it in quotes")
