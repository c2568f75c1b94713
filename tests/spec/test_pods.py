"""The settings of a stage's pods: those of the run, with those of the stage's kind in their place."""

from __future__ import annotations

from typing import get_args

import pytest
import yaml

from captionless.errors import SpecError
from captionless.spec import load
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.plan import plan
from captionless.spec.pods import PodSettings, PodsSpec, StageKind, StagePods


def _spec(pods: str) -> AlignmentSpec:
    return load.build_spec({"data": {"source": {"kind": "parametric"}}, "pods": yaml.safe_load(pods)})


def test_kinds_are_those_of_the_plan() -> None:
    assert set(get_args(StageKind)) == {s.kind for s in plan(_spec("{}"))}


def test_a_stage_has_every_field_of_the_pods_but_stages() -> None:
    assert set(StagePods.model_fields) - {"stage"} == set(PodsSpec.model_fields) - {"stages"}


def test_what_is_set_for_a_stage_replaces_what_is_set_for_all_and_nothing_else_does() -> None:
    pods = _spec("""
        nodeSelector: {pool: cpu, zone: a}
        labels: {team: x}
        graceSeconds: 60
        stages:
          - {stage: train, nodeSelector: {pool: gpu}, graceSeconds: 120}
          - {stage: eval, labels: {}}
        """).pods
    assert pods.of("pack") == PodSettings(
        node_selector={"pool": "cpu", "zone": "a"}, labels={"team": "x"}, grace_seconds=60
    )
    # 120 is the default, and was set nevertheless
    assert pods.of("train") == PodSettings(node_selector={"pool": "gpu"}, labels={"team": "x"}, grace_seconds=120)
    assert pods.of("eval").labels == {}
    assert pods.of("eval").node_selector == {"pool": "cpu", "zone": "a"}


def test_a_spec_that_was_written_and_read_again_sets_no_more() -> None:
    before = _spec("{graceSeconds: 60, stages: [{stage: train, image: i, tolerations: []}]}")
    after = load.build_spec(yaml.safe_load(load.dump_spec(before)))
    assert after == before
    assert after.pods.of("train").grace_seconds == 60
    assert yaml.safe_load(load.dump_spec(before))["pods"]["stages"] == [
        {"stage": "train", "tolerations": [], "image": "i"}
    ]


def test_pods_determine_no_result() -> None:
    assert _spec("{stages: [{stage: train, image: i}]}").described() == _spec("{}").described()


@pytest.mark.parametrize(
    ("pods", "line"),
    [
        ("{stages: [{stage: trian}]}", "pods.stages.0.stage: 'trian' is not one of list, pack, embed"),
        ("{stages: [{image: i}]}", "pods.stages.0.stage: required field is missing"),
        ("{stages: [{stage: pack, imgae: i}]}", 'pods.stages.0.imgae: unknown field; did you mean "image"?'),
        (
            "{stages: [{stage: pack}, {stage: pack}]}",
            "pods.stages: stage: pack is listed 2 times; expected one entry per stage",
        ),
    ],
)
def test_a_wrong_entry_is_told_in_one_line(pods: str, line: str) -> None:
    with pytest.raises(SpecError) as caught:
        _spec(pods)
    assert str(caught.value).startswith(f"spec: {line}"), caught.value
    assert len(str(caught.value).splitlines()) == 1
