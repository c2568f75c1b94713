"""Specs right and wrong: pydantic and the API server must come to the same verdict on each.

`RIGHT` and `WRONG` are overrides of a small spec; with a wrong one, the field that a refusal must name.
"""

from __future__ import annotations

from typing import Any

import yaml

BASE: dict[str, Any] = {"output": "s3://bucket/run", "data": {"source": {"kind": "parametric"}}}

RIGHT: dict[str, str] = {
    "the least": "{}",
    "meshes with their own landmarks": "{data: {source: {kind: folder, url: s3://b/m}}, landmarks: {origin: llm}}",
    "a file of landmarks": "{landmarks: {origin: file, file: s3://b/l.jsonl}}",
    "meshes without landmarks": "{data: {source: {kind: manifest, url: s3://b/m}}, train: {weights: [uniform, i2i]}}",
    "as many points in a step as are stored": "{data: {source: {kind: parametric}, points: 512}, train: {points: 512}}",
    "an elastic training": "{resources: {nodes: 4, minNodes: 2}}",
    "false negatives of groups": "{train: {batches: {kind: neighbours, falseNegatives: 0.1}}}",
    "batches from stored neighbours": "{train: {batches: {kind: neighbours, from: s3://b/n}}}",
    "a group of all candidates": "{train: {batches: {kind: neighbours, group: 8, candidates: 7}}}",
    "a learned temperature that is reset": "{train: {init: s3://b/m.pt, resetTemperature: true, temperature: 0.1}}",
    "an option of one of the weights": "{train: {weights: [uniform, i2i], sharpen: 2, positiveWeight: formula}}",
    "a rigid training": "{resources: {nodes: 2, minNodes: 2}}",
    "a variable with an empty value": "{pods: {env: [{name: A}]}}",
    "a variable of a secret": "{pods: {env: [{name: A, secret: s, key: k}]}}",
    "outputs on a volume": "{output: /data/run, pods: {volumes: [{mountPath: /data, claim: c, readOnly: false}]}}",
    "outputs on a volume, as a URL": (
        "{output: file:///data/run, pods: {volumes: [{mountPath: /data/, claim: c, readOnly: false}]}}"
    ),
    "outputs on a volume of all stages": (
        "{output: /d/r, pods: {volumes: [{mountPath: /d, claim: c, readOnly: false}], stages: [{stage: train, volumes: "
        "[{mountPath: /e, claim: e}, {mountPath: /d, claim: c, readOnly: false}]}, {stage: eval, graceSeconds: 30}]}}"
    ),
    "places of GPUs": "{pods: {gpu: {nodeSelector: {a: b}, tolerations: [{key: gpu, operator: Exists}]}}}",
    "other pods for a stage": (
        "{pods: {nodeSelector: {a: b}, stages: [{stage: train, nodeSelector: {}, tolerations: [{operator: Exists}]}]}}"
    ),
    "other pods for every stage": (
        "{pods: {stages: [{stage: list}, {stage: pack}, {stage: embed}, {stage: landmarks}, {stage: similarity}, "
        "{stage: train}, {stage: eval, env: [{name: A, value: b}]}]}}"
    ),
    "the pods described": "{pods: {nodeSelector: {zone: a}, tolerations: [{key: gpu, operator: Exists}]}}",
    "options of the other loss at their defaults": "{train: {loss: hcl, hclBeta: 0.5, positiveWeight: one}}",
    "whole numbers for fractions": "{train: {collectiveTimeout: 60, optim: {lr: 1}}}",
    "a transformer in its own sizes": "{train: {encoder: {name: pointbert}}}",
    "a transformer as large as another": (
        "{train: {encoder: {name: pointbert, width: 512, heads: 8, groups: 384, nsample: 64, dropPath: 0}}}"
    ),
    "as many groups as points": "{train: {points: 512, encoder: {name: pointbert}}}",
    "operators of another package": "{train: {encoder: {operators: pointnext}}}",
    "a small network of voxels": "{train: {encoder: {name: sparseconv, width: 8, depth: 11, voxel: 0.05}}}",
    "everything held": "{suspend: true, queue: team-a, ttlSecondsAfterFinished: 0}",
}

WRONG: dict[str, tuple[str, str]] = {
    "no data": ("{data: null}", "data"),
    "an unknown kind": ("{data: {source: {kind: zip}}}", "data.source.kind"),
    "a kind in a different case": ("{data: {source: {kind: Parametric}}}", "data.source.kind"),
    "a folder without url": ("{data: {source: {kind: folder}}, train: {weights: [i2i]}}", "data.source"),
    "a folder with an empty url": ("{data: {source: {kind: folder, url: ''}}, train: {weights: [i2i]}}", "data.source"),
    "clouds, which cannot be rendered": (
        "{data: {source: {kind: points, url: s3://b/p}}, train: {weights: [i2i]}}",
        "data.source.kind",
    ),
    "a grammar for meshes, by default": ("{data: {source: {kind: folder, url: s3://b/m}}}", "landmarks.origin"),
    "a grammar for meshes, in words": (
        "{data: {source: {kind: folder, url: s3://b/m}}, landmarks: {origin: grammar}, train: {weights: [i2i, i2l]}}",
        "landmarks.origin",
    ),
    "landmarks from no file": ("{landmarks: {origin: file}}", "landmarks"),
    "a group of more than the candidates": (
        "{train: {batches: {kind: neighbours, group: 9, candidates: 7}}}",
        "train.batches",
    ),
    "a group of more than the default candidates": (
        "{train: {batches: {kind: neighbours, group: 64}}}",
        "train.batches",
    ),
    "stored neighbours of random batches": ("{train: {batches: {from: s3://b/n}}}", "train.batches.from"),
    "false negatives of random batches": ("{train: {batches: {falseNegatives: 0.1}}}", "train.batches.falseNegatives"),
    "searches beside stored neighbours": (
        "{train: {batches: {kind: neighbours, from: s3://b/n, every: 3}}}",
        "train.batches.every",
    ),
    "searches for random batches": ("{train: {batches: {every: 3}}}", "train.batches.every"),
    "weights to sharpen, where all are 1": ("{train: {weights: [uniform], sharpen: 2}}", "train.sharpen"),
    "a temperature that nothing is reset to": ("{train: {resetTemperature: true}}", "train.resetTemperature"),
    "a temperature beside a learned one": ("{train: {init: s3://b/m.pt, temperature: 0.1}}", "train.temperature"),
    "more points in a step than stored": ("{train: {points: 20000}}", "train.points"),
    "fewer points stored than in a step": ("{data: {source: {kind: parametric}, points: 64}}", "train.points"),
    "more nodes at least than at most": ("{resources: {minNodes: 2}}", "resources"),
    "a variable with two origins": ("{pods: {env: [{name: A, value: v, secret: s, key: k}]}}", "pods.env"),
    "a variable of a secret without key": ("{pods: {env: [{name: A, secret: s}]}}", "pods.env"),
    "a volume of nothing": ("{pods: {volumes: [{mountPath: /d}]}}", "pods.volumes"),
    "a volume of two things": ("{pods: {volumes: [{mountPath: /d, claim: a, secret: b}]}}", "pods.volumes"),
    "pods of no stage": ("{pods: {stages: [{image: i}]}}", "pods.stages"),
    "pods of an unknown stage": ("{pods: {stages: [{stage: trian}]}}", "pods.stages"),
    "pods of a stage twice": ("{pods: {stages: [{stage: pack}, {stage: train}, {stage: pack}]}}", "pods.stages"),
    "stages in a stage": ("{pods: {stages: [{stage: train, stages: []}]}}", "pods.stages"),
    "a stage's variable of a secret without key": (
        "{pods: {stages: [{stage: train, env: [{name: A, secret: s}]}]}}",
        "pods.stages",
    ),
    "a relative mount path": ("{pods: {volumes: [{mountPath: d, claim: a}]}}", "pods.volumes"),
    "no losses": ("{train: {weights: []}}", "train.weights"),
    "six losses": ("{train: {weights: [i2i, i2i, i2i, i2i, i2i, i2i]}}", "train.weights"),
    "an unknown loss": ("{train: {weights: [i2t]}}", "train.weights"),
    "a weight of the positives, where they have none": ("{train: {loss: hcl, positiveWeight: formula}}", "train"),
    "hard negatives of another loss": ("{train: {hclBeta: 0.5}}", "train"),
    "a temperature below the clamp": ("{train: {temperature: 0.001}}", "train.temperature"),
    "an unknown encoder": ("{train: {encoder: {name: pointnet}}}", "train.encoder.name"),
    "five channels": ("{train: {encoder: {inChannels: 5}}}", "train.encoder.inChannels"),
    "a bound that is excluded": ("{train: {encoder: {dropout: 1}}}", "train.encoder.dropout"),
    "a radius for a transformer": ("{train: {encoder: {name: pointbert, radius: 0.15}}}", "train.encoder.radius"),
    "dropout for a transformer": ("{train: {encoder: {name: pointbert, dropout: 0.5}}}", "train.encoder.dropout"),
    "groups for voxels": ("{train: {encoder: {name: sparseconv, groups: 64}}}", "train.encoder.groups"),
    "neighbours for voxels": ("{train: {encoder: {name: sparseconv, nsample: 8}}}", "train.encoder.nsample"),
    "voxels for set abstractions": ("{train: {encoder: {voxel: 0.02}}}", "train.encoder.voxel"),
    "blocks for set abstractions": ("{train: {encoder: {name: pointnext-s, depth: 12}}}", "train.encoder.depth"),
    "heads for set abstractions": ("{train: {encoder: {heads: 6}}}", "train.encoder.heads"),
    "stochastic depth of voxels": (
        "{train: {encoder: {name: sparseconv, dropPath: 0.1}}}",
        "train.encoder.dropPath",
    ),
    "operators of points for voxels": (
        "{train: {encoder: {name: sparseconv, operators: own}}}",
        "train.encoder.operators",
    ),
    "heads that do not divide the width": (
        "{train: {encoder: {name: pointbert, heads: 5}}}",
        "train.encoder.width",
    ),
    "a depth that no such network has": (
        "{train: {encoder: {name: sparseconv, depth: 12}}}",
        "train.encoder.depth",
    ),
    "more groups than points": ("{train: {points: 256, encoder: {name: pointbert}}}", "train.encoder.groups"),
    "larger groups than clouds": (
        "{train: {points: 64, encoder: {name: pointbert, groups: 8, nsample: 65}}}",
        "train.encoder.nsample",
    ),
    "memory saved twice": ("{train: {gradientCheckpointing: true, compile: true}}", "train.gradientCheckpointing"),
    "a log that is none": ("{train: {logs: [tensorbord]}}", "train.logs"),
    "several views of which one is taken": ("{train: {views: {count: 2}}}", "train.views.count"),
    "one view as several positives": ("{train: {views: {loss: multi-positive}}}", "train.views.count"),
    "several positives of a loss for one": (
        "{train: {loss: hcl, views: {count: 2, loss: multi-positive}}}",
        "train.views.loss",
    ),
    "a group's learning rate of nothing": (
        "{train: {optim: {groups: [{match: stem, lrFactor: 0}]}}}",
        "train.optim.groups",
    ),
    "a pattern of nothing": ("{train: {freeze: ['']}}", "train.freeze"),
    "an average that keeps all": ("{train: {ema: 1}}", "train.ema"),
    "a learning rate of nothing": ("{train: {optim: {lr: 0}}}", "train.optim.lr"),
    "no workers": ("{resources: {workers: 0}}", "resources.workers"),
    "a quantity that is none": ("{resources: {memory: lots}}", "resources.memory"),
    "text for a number": ("{train: {steps: many}}", "train.steps"),
    "a fraction of a step": ("{train: {steps: 1.5}}", "train.steps"),
    "a list for a section": ("{train: []}", "train"),
    "a number among labels": ("{pods: {labels: {a: 1}}}", "pods.labels"),
    "an unknown field": ("{train: {stpes: 5}}", "train.stpes"),
    "an unknown section": ("{trian: {}}", "trian"),
    "an unknown field in a list": ("{pods: {tolerations: [{kay: a}]}}", "pods.tolerations"),
    "outputs on the node": ("{output: runs/x}", "output"),
    "outputs beside the volume": ("{output: /database, pods: {volumes: [{mountPath: /data, claim: c}]}}", "output"),
    "outputs on a volume that is mounted read-only": (
        "{output: /data/run, pods: {volumes: [{mountPath: /data, claim: c}]}}",
        "output",
    ),
    "outputs on a Secret": (
        "{output: /data/run, pods: {volumes: [{mountPath: /data, secret: s, readOnly: false}]}}",
        "output",
    ),
    "outputs on a volume that a stage does not have": (
        "{output: /d/r, pods: {volumes: [{mountPath: /d, claim: c, readOnly: false}], stages: "
        "[{stage: eval, volumes: []}]}}",
        "output",
    ),
    "outputs on a volume that a stage mounts read-only": (
        "{output: /d/r, pods: {volumes: [{mountPath: /d, claim: c, readOnly: false}], stages: "
        "[{stage: eval, volumes: [{mountPath: /d, claim: c}]}]}}",
        "output",
    ),
    "outputs in a pod's memory": ("{output: memory://run}", "output"),
    "outputs nowhere": ("{output: ''}", "output"),
}


def document(text: str) -> dict[str, Any]:
    """The small spec with overrides; null removes a section."""
    return {k: v for k, v in {**BASE, **yaml.safe_load(text)}.items() if v is not None}
