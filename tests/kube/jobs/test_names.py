"""Names: readable where they fit, unique where they do not, and always a DNS label."""

from __future__ import annotations

import re

import pytest

from captionless.kube.jobs import job_name

_LABEL = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")


def test_a_short_name_tells_all() -> None:
    assert job_name("my-run", "train-avg-seed0", 2) == "my-run-train-avg-seed0-2"


@pytest.mark.parametrize("stage", ["pack", "similarity-i2l", "train-category-seed123456"])
@pytest.mark.parametrize("alignment", ["a", "a" * 40, "my-" * 13 + "x"])
@pytest.mark.parametrize("attempt", [1, 12345])
def test_names_fit_every_host_name_made_of_them(alignment: str, stage: str, attempt: int) -> None:
    name = job_name(alignment, stage, attempt)
    assert _LABEL.fullmatch(name)
    assert len(f"{name}-nodes-0-99999") <= 63
    assert name.endswith(f"-{attempt}")


def test_long_names_stay_different() -> None:
    names = {job_name("a" * 40, f"train-category-seed{s}", t) for s in range(20) for t in range(1, 20)}
    assert len(names) == 20 * 19
