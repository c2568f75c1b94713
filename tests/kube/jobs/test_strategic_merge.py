"""Strategic merge, held to what Kubernetes' own library made of the same patches (strategic_merge.json)."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from captionless.kube.jobs.strategic_merge import POD_TEMPLATE, Fields, merge

_UPSTREAM = json.loads(Path(__file__).with_name("strategic_merge.json").read_text())
_CASES: dict[str, dict[str, Any]] = _UPSTREAM["cases"]


@pytest.mark.parametrize("case", _CASES.values(), ids=_CASES)
def test_merges_as_kubernetes_does(case: dict[str, Any]) -> None:
    original, patch = copy.deepcopy(_UPSTREAM["original"]), copy.deepcopy(case["patch"])
    if case["merged"] is None:
        with pytest.raises(ValueError, match=r"^spec\."):
            merge(original, patch, POD_TEMPLATE)
        return
    assert merge(original, patch, POD_TEMPLATE) == case["merged"]
    assert (original, patch) == (_UPSTREAM["original"], case["patch"])


def test_the_merge_keys_are_those_of_the_api() -> None:
    def listed(fields: Fields, path: str = "") -> Iterator[tuple[str, str]]:
        for name, (key, below) in fields.items():
            if key:
                yield f"{path}{name}", key
            yield from listed(below, f"{path}{name}.")

    # Metadata: only labels and annotations are patched. A volume's template of a claim is never there before a patch.
    upstream = {p: k for p, k in _UPSTREAM["mergeKeys"].items() if "metadata." not in p}
    assert dict(listed(POD_TEMPLATE)) == upstream


@pytest.mark.parametrize(
    ("patch", "line"),
    [
        ({"spec": {"containers": "x"}}, "spec.containers: expected a list, found 'x'"),
        ({"spec": {"containers": ["x"]}}, "spec.containers[0]: expected fields, among them name, found 'x'"),
        (
            {"spec": {"containers": [{"name": "worker", "env": [{"value": "1"}]}]}},
            "spec.containers[worker].env[0]: name is missing, by which elements of spec.containers[worker].env "
            "are merged",
        ),
        ({"spec": {"volumes": [{"name": ["a"]}]}}, "spec.volumes[0].name: expected text or a number, found ['a']"),
        (
            {"spec": {"volumes": [{"name": "a", "$retainKeys": ["name"], "emptyDir": {}}]}},
            "spec.volumes[a].emptyDir: is not in the $retainKeys beside it",
        ),
    ],
)
def test_what_cannot_be_merged_is_named(patch: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError) as caught:
        merge(_UPSTREAM["original"], patch, POD_TEMPLATE)
    assert str(caught.value) == line
