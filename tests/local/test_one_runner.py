"""A second `captionless run` into the same output is refused, by name, wherever the first one runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from captionless.errors import Retryable
from captionless.local import runner
from captionless.spec import load
from captionless.store import objects, writers
from captionless.store.writers import writer
from tests.store.faulty_s3 import FaultyS3, reached_by_environment

BUCKET = "captionless-one-runner"


@pytest.fixture(scope="module")
def s3() -> Iterator[FaultyS3]:
    with reached_by_environment(BUCKET) as server:
        yield server


@pytest.mark.parametrize("where", ["folder", "s3"])
def test_the_first_one_is_named(
    where: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the logs of a run on S3
    monkeypatch.setattr(writers, "ENDING_SECONDS", 0.0)
    output = str(tmp_path / "out")
    if where == "s3":
        request.getfixturevalue("s3")
        output = f"s3://{BUCKET}/out"
    spec = load.build_spec({"output": output, "data": {"source": {"kind": "parametric"}}})
    with writer(spec.root, settings=runner.LEASE), pytest.raises(Retryable) as caught:
        runner.run(spec)
    assert output in str(caught.value)
    assert f"process {os.getpid()}," in str(caught.value)
    assert objects.walk(output) == []
