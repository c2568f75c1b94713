"""Reading specs: both spellings, overrides, and every mistake reported by field, value and what is allowed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from captionless.errors import SpecError
from captionless.spec import load
from captionless.spec.resources import ResourcesSpec

BASE: dict[str, Any] = {"data": {"source": {"kind": "parametric"}}}


def test_camel_and_snake_case_are_the_same_field() -> None:
    camel = load.build_spec({**BASE, "train": {"batchSize": 8}})
    snake = load.build_spec({**BASE, "train": {"batch_size": 8}})
    assert camel == snake
    assert camel.train.batch_size == 8


def test_overrides_go_on_top_in_either_spelling() -> None:
    document = {**BASE, "train": {"batch_size": 8}}
    spec = load.build_spec(
        document, ["train.batchSize=16", "train.weights=[uniform, i2i]", "data.source.test_objects=3"]
    )
    assert spec.train.batch_size == 16
    assert [w.value for w in spec.train.weights] == ["uniform", "i2i"]
    assert spec.data.source.test_objects == 3
    assert document == {**BASE, "train": {"batch_size": 8}}


def test_what_is_dumped_loads_as_the_same_spec(tmp_path: Path) -> None:
    spec = load.build_spec(BASE, ["clip.model=captionless-demo", "train.seeds=[0,1]"])
    (tmp_path / "spec.yaml").write_text(load.dump_spec(spec))
    assert load.load_spec(str(tmp_path / "spec.yaml")) == spec


def test_an_alignment_object_is_taken_by_its_spec() -> None:
    spec = load.build_spec({"apiVersion": "x", "kind": "Alignment", "metadata": {"name": "mine"}, "spec": BASE})
    assert spec.name == "mine"


def test_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("data: {source: {kind: parametric}}"))
    assert load.load_spec("-").data.source.kind == "parametric"


@pytest.mark.parametrize(
    ("override", "field", "named"),
    [
        ("train.stps=4", "train.stps", ['"steps"']),
        ("trian.steps=4", "trian", ['"train"']),
        ("train.encoder.widht=8", "train.encoder.widht", ['"width"']),
        ("train.weights=[i2j]", "train.weights.0", ["'i2j'", "uniform, category, i2i, i2l, avg"]),
        ("train.weights=[]", "train.weights", ["1", "[]"]),
        ("data.source.kind=foldr", "data.source.kind", ["'foldr'", '"folder"']),
        ("data.source.kind=folder", "data.source", ["url", "folder"]),
        ("data.source=3", "data.source", ["3"]),
        ("data.classNames=[a=x, a=y]", "data", ["classNames", "a is named twice"]),
        (
            "data.classNames=[a=x, b=night_stand, c=Night  Stand]",
            "data",
            ["classNames", "b=night_stand", "c=Night  Stand"],
        ),
        ("train.batchSize=many", "train.batchSize", ["integer", "'many'"]),
        ("train.batchSize=1", "train.batchSize", ["2", "1"]),
        ("train.points=20000", "train.points", ["20000", "data.points", "10000"]),
        ("train.temperature=0.001", "train.temperature", ["0.01", "0.001"]),
        ("train.hclBeta=0.5", "train", ["hclBeta", "hcl", "contrastive"]),
        ("train.resetTemperature=true", "train", ["resetTemperature", "init"]),
        ("train.batches.every=3", "train.batches", ["every", "neighbours", "random"]),
        ("train.batches.from=s3://b/n", "train.batches", ["from", "neighbours", "random"]),
        ("name=My_Run", "name", ["'My_Run'"]),
        ("landmarks.origin=file", "landmarks", ["file", "origin"]),
        ("data.source.kind.x=1", "--set data.source.kind.x=1", ["data.source.kind"]),
        ("nonsense", "--set nonsense", ["field.path=value"]),
    ],
    ids=lambda value: value if isinstance(value, str) and ("=" in value or value == "nonsense") else "",
)
def test_a_mistake_is_one_line_that_names_the_field(override: str, field: str, named: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        load.build_spec(BASE, [override])
    (line,) = str(caught.value).splitlines()
    assert f"{field}: " in line
    assert all(name in line.partition(f"{field}: ")[2] for name in named)


@pytest.mark.parametrize(
    ("train", "named"),
    [
        ({"init": "model.pt", "temperature": 0.1}, ["temperature", "init", "resetTemperature: true"]),
        ({"weights": ["uniform", "category"], "sharpen": 2}, ["sharpen", "i2i, i2l, avg"]),
        ({"weights": ["uniform"], "positiveWeight": "formula"}, ["positiveWeight", "category, i2i, i2l, avg"]),
    ],
    ids=["temperature", "sharpen", "positiveWeight"],
)
def test_an_option_that_does_nothing_is_refused_unless_something_takes_it(
    train: dict[str, object], named: list[str]
) -> None:
    with pytest.raises(SpecError) as caught:
        load.build_spec({**BASE, "train": train})
    assert all(name in str(caught.value) for name in named)
    taken = {"resetTemperature": True} if "init" in train else {"weights": ["uniform", "avg"]}
    load.build_spec({**BASE, "train": {**train, **taken}})


def test_grammar_landmarks_are_the_parametric_source_s_only() -> None:
    document = {"data": {"source": {"kind": "folder", "url": "x"}}}
    with pytest.raises(SpecError, match=r"landmarks\.origin: grammar"):
        load.build_spec(document)
    load.build_spec(document, ["train.weights=[uniform,i2i]"])


def test_files_that_are_not_a_spec(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"absent\.yaml"):
        load.load_spec(str(tmp_path / "absent.yaml"))
    for name, text in (("a", "[1]"), ("b", "a: [")):
        (tmp_path / name).write_text(text)
        with pytest.raises(SpecError, match=str(tmp_path / name)):
            load.load_spec(str(tmp_path / name))
    with pytest.raises(SpecError, match=str(tmp_path)):
        load.load_spec(str(tmp_path))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, 4 << 30),
        ({"trainMemory": "3Gi", "processes": 2}, 3 << 28),
        ({"dataMemory": "1.5Gi"}, 3 << 29),
        ({"dataMemory": "500M", "processes": 3}, 500_000_000 // 3),
        ({"dataMemory": "1000m"}, 1),
        ({"dataMemory": "0"}, 0),
    ],
    ids=["default", "share of trainMemory", "fraction", "per process", "milli", "zero"],
)
def test_memory_that_a_rank_keeps_objects_in(given: dict[str, object], expected: int) -> None:
    assert ResourcesSpec.model_validate(given).rank_memory == expected
