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
    claim = "{mountPath: /data, claim: c, readOnly: false}"
    manifests(spec("output=/data/x", f"pods.volumes=[{claim}]"), _OPERATOR)
    other = spec("output=/data/x", f"pods.volumes=[{claim}]", "pods.stages=[{stage: train, volumes: []}]")
    with pytest.raises(SpecError, match=r"output: /data/x .* below a volume of pods\.stages\[train\]\.volumes"):
        manifests(other, _OPERATOR)


def test_outputs_must_be_on_a_volume_that_is_mounted_to_be_written() -> None:
    claim = "{mountPath: /data, claim: c, readOnly: false}"
    inner = "pods.volumes=[%s, {mountPath: /data/x/, %s}]"
    line = r"output: /data/x/run is below /data/x/, which pods\.volumes mounts read-only; expected readOnly: false"
    for wrong in ("claim: d", "secret: s, readOnly: false", "configMap: m"):
        with pytest.raises(SpecError, match=line):
            manifests(spec("output=/data/x/run", inner % (claim, wrong)), _OPERATOR)
    found = manifests(spec("output=/data/x/run", inner % (claim, "claim: d, readOnly: false")), _OPERATOR)
    for stage, objects in found.items():
        template = objects[-1]["spec"]["template"]["spec"]
        mounts = {m["mountPath"]: m.get("readOnly") for m in template["containers"][0]["volumeMounts"]}
        assert mounts["/data/x/"] is False, stage
        claims = [v["persistentVolumeClaim"] for v in template["volumes"] if "persistentVolumeClaim" in v]
        assert claims == [{"claimName": "c", "readOnly": False}, {"claimName": "d", "readOnly": False}], stage


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
