"""Manifests for kubectl: which stages, in which files, and what cannot be rendered."""

from __future__ import annotations

import pytest
import yaml

from captionless.errors import SpecError
from captionless.kube.jobs import Operator
from captionless.kube.render import chosen, documents, manifests, tree
from tests.kube.jobs.build import spec

_OPERATOR = Operator("captionless:test", wait_inputs="30m")


def test_groups_and_names_choose_stages() -> None:
    assert [s.name for s in chosen(spec(), ["train", "eval"])] == ["train-avg-seed0", "eval"]
    assert [s.name for s in chosen(spec(), ["embed"])] == ["embed"]
    with pytest.raises(SpecError, match=r"'embd'.*embed"):
        chosen(spec(), ["embd"])


def test_outputs_must_be_shared_by_pods() -> None:
    with pytest.raises(SpecError, match="output: runs/x"):
        manifests(spec("output=runs/x"), _OPERATOR)
    manifests(spec("output=/data/x", "pods.volumes=[{mountPath: /data, claim: c, readOnly: false}]"), _OPERATOR)


def test_the_tree_is_kustomizations_that_list_their_files() -> None:
    files = tree(spec(), _OPERATOR)
    for folder in ("precompute", "train", "eval"):
        listed = yaml.safe_load(files[f"{folder}/kustomization.yaml"])["resources"]
        assert {f"{folder}/{f}" for f in listed} | {f"{folder}/kustomization.yaml"} == {
            f for f in files if f.startswith(f"{folder}/")
        }
    kinds = [d["kind"] for d in yaml.safe_load_all(files["train/train-avg-seed0.yaml"])]
    assert kinds == ["ConfigMap", "Service", "Job"]


def test_the_spec_reads_well_in_its_config_map() -> None:
    text = documents(manifests(spec(), _OPERATOR, names=["embed"])["embed"])
    assert "  spec.yaml: |\n    name: shapes\n" in text
