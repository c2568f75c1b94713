"""Evaluates a checkpoint on any labelled objects: zero-shot classification, and retrieval where there are pictures.

This needs neither a run nor views: clouds are normalised and put in farthest-point order like packed ones; texts and
pictures are embedded by the CLIP model that the checkpoint was trained against. For the results see
`eval.checkpoint_figures`.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from captionless.clip import checkpoints, openclip
from captionless.errors import DataError, SpecError
from captionless.eval import checkpoint_figures as figures
from captionless.eval import outcomes, prompts, results
from captionless.eval.checkpoint_figures import PROTOCOLS, ProtocolName
from captionless.eval.trees import plain
from captionless.runtime.redaction import public
from captionless.runtime.thread_pools import thread_pool
from captionless.spec.variant import mode_of
from captionless.stages import broken, candidates
from captionless.stages.eval_dataset import EvalDataset
from captionless.stages.provenance import host, versions
from captionless.stages.source_clouds import SourceClouds
from captionless.store import objects
from captionless.telemetry.progress import Progress
from captionless.trainer.run_folder import model_digest

if TYPE_CHECKING:
    from captionless.precompute.testsets.base import Photo, Photos
    from captionless.trainer.encoders.encoder import Encoder

_PACKAGES = ("torch", "numpy", "open_clip_torch", "trimesh")
_PHOTOS_AT_ONCE = 32

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EmbeddedItems:
    """Embeddings (n, D) of shapes, or of pictures.

    keys: their names. of: the class of each shape; the key of the shape that each picture shows. digest: of what was
    embedded, in that order. skipped: what was not, `key` and `reason`.
    """

    keys: list[str]
    of: list[str]
    rows: NDArray[np.float32]
    digest: str
    skipped: list[dict[str, str]]


def protocols_of(dataset: EvalDataset, asked: Sequence[str]) -> tuple[ProtocolName, ...]:
    """The protocols to measure by, in their order.

    asked: names, or "all" that apply; none: retrieval where there are pictures, zero-shot where there are not.
    SpecError for retrieval without pictures.
    """
    retrieval: tuple[ProtocolName, ...] = ("gallery", "in-batch")
    if dataset.photos is None:
        wrong = [name for name in retrieval if name in asked]
        if wrong:
            raise SpecError(
                f"--protocol {wrong[0]}: {dataset.name} has no pictures of its shapes; retrieval requires pix3d or "
                "pix3d-masked (on rendered views use `captionless run`)"
            )
        return ("zero-shot",)
    if "all" in asked:
        return PROTOCOLS
    return tuple(name for name in PROTOCOLS if name in (asked or retrieval))


def evaluate(
    url: str,
    dataset: EvalDataset,
    asked: Sequence[str] = (),
    prompt: str = "paper",
    points: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """The results of the checkpoint at `url` on `dataset`: schema, figures, provenance, host.

    points: how many of each cloud; None: as many as it was trained with. seed: of the in-batch protocol's shuffle.
    SpecError for what cannot work, DataError for a broken checkpoint or more broken objects than may be left out.
    """
    from captionless.trainer.model_file import load_model

    protocols = protocols_of(dataset, asked)
    templates = list(prompts.templates(prompt))
    if "zero-shot" in protocols:
        candidates.check("eval", dataset.classes, dataset.names, {ref.category for ref in dataset.refs})
    sha256 = model_digest(url)
    model, meta = load_model(url, sha256)
    if "clip" not in meta:
        raise DataError(
            f"{url}: a classifier trained on labels, without a CLIP model; use `captionless classify evaluate`"
        )
    count = points or int(meta["points"])
    embedder, about = _clip(meta["clip"], url)
    shapes = _shapes(model, dataset, count)
    classes = list(dataset.classes)
    place = {name: code for code, name in enumerate(classes)}
    labels = np.array([place[name] for name in shapes.of], dtype=np.int64)
    absent = [name for name in classes if name not in set(shapes.of)]
    candidates.tell("eval", classes, absent)
    trees = [_zero_shot(embedder, shapes, labels, dataset, prompt)] if "zero-shot" in protocols else []
    photos = None
    if dataset.photos is not None and protocols != ("zero-shot",):
        photos = _photos(embedder, dataset.photos, shapes, dataset.limit)
        trees += _retrieval(shapes, photos, protocols, seed)
    tree, digests = figures.merged(trees), _digests(dataset, shapes, photos)
    kept = figures.outcomes(tree.pop("ranks"), labels, digests["content"]["objects"])
    counts = {
        "objects": len(shapes.keys),
        "images": len(photos.keys) if photos else 0,
        "classes": classes,
        "without_objects": absent,
    }
    provenance = {
        "dataset": {**dataset.described, **digests},
        "protocol": figures.described(protocols, seed),
        "prompt": {"name": prompt, "templates": templates} if "zero-shot" in protocols else None,
        "clip": about,
        "checkpoint": {"url": url, "sha256": sha256, **({"mode": mode_of(meta)} if "weights" in meta else {})},
        "points": {"used": count, "trained": int(meta["points"])},
        "seed": meta["seed"],
        "device": next(model.parameters()).device.type,
        "skipped": [*shapes.skipped, *(photos.skipped if photos else [])],
        "versions": versions(_PACKAGES),
    }
    found: dict[str, Any] = plain(
        {
            "schema": results.SCHEMA,
            "figures": {**counts, **tree, "intervals": figures.intervals(kept)},
            "outcomes": outcomes.to_json(kept),
            "provenance": public(provenance),
            "host": host(),
        }
    )
    return found


def _clip(meta: Mapping[str, Any], url: str) -> tuple[openclip.Clip, dict[str, Any]]:
    """The CLIP model that the checkpoint was trained against, and which one that is."""
    name, pretrained = str(meta["model"]), str(meta["pretrained"]) or None
    if not checkpoints.is_of(meta["identity"], name, pretrained):
        _log.warning("%s: cannot verify that these weights of %s are those it was trained against", url, name)
    embedder = openclip.load(name, pretrained)
    return embedder, {"model": name, "pretrained": pretrained or "", "digest": embedder.digest}


def _shapes(model: Encoder, dataset: EvalDataset, count: int) -> EmbeddedItems:
    import torch  # heavy, as what encodes

    from captionless.trainer.infer import encode_points

    model.to("cuda" if torch.cuda.is_available() else "cpu")
    clouds = SourceClouds(
        dataset.source,
        dataset.refs,
        count,
        "the checkpoint or --points",
        dataset.points,
        dataset.limit,
        dataset.strict,
        dataset.limits,
    )
    keys, of, rows, content = [], [], [], hashlib.sha256()
    for refs, points in clouds.blocks():
        keys += [ref.key for ref in refs]
        of += [ref.category for ref in refs]
        rows.append(encode_points(model, points, count))
        content.update(np.ascontiguousarray(points[..., :3]).tobytes())
    content.update(json.dumps([keys, of]).encode())
    return EmbeddedItems(keys, of, np.concatenate(rows), content.hexdigest(), clouds.skipped)


def _zero_shot(
    embedder: openclip.Clip, shapes: EmbeddedItems, labels: NDArray[np.int64], dataset: EvalDataset, prompt: str
) -> dict[str, Any]:
    texts = prompts.class_texts(prompt, dataset.names)
    candidates.check(
        "eval",
        dataset.classes,
        dataset.names,
        {ref.category for ref in dataset.refs},
        [tuple(embedder.read(of)) for of in texts],
    )
    embedded = embedder.texts([text for of_class in texts for text in of_class])
    rows = embedded.reshape(len(texts), len(texts[0]), -1)
    return figures.zero_shot_figures(shapes.rows, rows, labels, dataset.classes)


def _retrieval(
    shapes: EmbeddedItems, photos: EmbeddedItems, protocols: Sequence[ProtocolName], seed: int
) -> list[dict[str, Any]]:
    place = {key: row for row, key in enumerate(shapes.keys)}
    shown = np.array([place[key] for key in photos.of])
    trees = []
    if "gallery" in protocols:
        trees.append(figures.gallery_figures(photos.rows, shapes.rows, shown))
    if "in-batch" in protocols:
        trees.append(figures.in_batch_figures(photos.rows, shapes.rows, shown, seed))
    return trees


def _photos(embedder: openclip.Clip, photos: Photos, shapes: EmbeddedItems, limit: broken.Limit) -> EmbeddedItems:
    """The pictures of the shapes that were embedded; of the others they are left out and named like broken ones."""
    known = set(shapes.keys)
    skipped = [
        {"key": p.key, "reason": f"its shape {p.shows} was skipped"} for p in photos.listed if p.shows not in known
    ]
    keys, of, rows, content = [], [], [], hashlib.sha256()
    for some in _read(photos, known, skipped):
        rows.append(embedder.images([pixels for _, pixels in some]))
        for photo, pixels in some:
            keys.append(photo.key)
            of.append(photo.shows)
            content.update(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes())
    broken.refuse([*shapes.skipped, *skipped], limit)
    if not keys:
        raise DataError(f"the data: all of its {len(photos.listed)} pictures are broken")
    content.update(json.dumps([keys, of]).encode())
    return EmbeddedItems(keys, of, np.concatenate(rows), content.hexdigest(), skipped)


def _read(
    photos: Photos, known: Set[str], skipped: list[dict[str, str]]
) -> Iterator[list[tuple[Photo, NDArray[np.uint8]]]]:
    """The whole pictures of known shapes, some at a time, read in threads; broken ones are added to `skipped`."""

    def load(photo: Photo) -> NDArray[np.uint8] | DataError:
        try:
            return photo.load()
        except DataError as error:
            return error

    wanted = [photo for photo in photos.listed if photo.shows in known]
    with thread_pool(2) as pool, Progress("pictures", len(wanted), "picture") as progress:
        for start in range(0, len(wanted), _PHOTOS_AT_ONCE):
            some = wanted[start : start + _PHOTOS_AT_ONCE]
            whole = []
            for photo, pixels in zip(some, pool.map(load, some), strict=True):
                if isinstance(pixels, DataError):
                    skipped.append({"key": photo.key, "reason": str(pixels)})
                else:
                    whole.append((photo, pixels))
            if whole:
                yield whole
            progress.advance(len(some))


def _digests(dataset: EvalDataset, shapes: EmbeddedItems, photos: EmbeddedItems | None) -> dict[str, Any]:
    """Digests that identify the data: of the files that list it, and of everything that was embedded.

    The digest of the clouds covers as many points as were used. That of the objects, if files contain or list them,
    does not depend on the number of points: it identifies the objects that were evaluated.
    """
    files = {file: objects.sha256(file) for file in dataset.files}
    edition = [sorted(files.values()), dataset.described.get("up")] if files else shapes.digest
    content = {
        "objects": objects.digest(edition, shapes.keys, shapes.of),
        "clouds": shapes.digest,
        "pictures": photos.digest if photos else None,
        "candidates": candidates.digest(dataset.classes, dataset.names),
    }
    return {"files": files, "content": content}
