"""similarity: stored embeddings -> one matrix per category, for one metric.

    similarity/<metric>/<category>.sim, similarity.json    see store.similarity

Only the training split: similarity weighs the negatives of training batches. A
category is made anew when one of its objects' embeddings or, for (I2L)², its landmarks
change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from captionless.errors import DataError, did_you_mean
from captionless.spec import AlignmentSpec
from captionless.stages.parts import Made, Outcome, Part, Shard, work
from captionless.store import objects
from captionless.store import similarity as store
from captionless.store.embeddings import Embeddings, open_embeddings
from captionless.store.landmarks import LandmarkTexts, open_landmarks
from captionless.store.ledger import Ledger

VERSION = 1


def run(spec: AlignmentSpec, metric: store.Metric, shard: Shard = Shard()) -> Outcome:
    """This worker's categories of a spec's run."""
    return compute(
        objects.join(spec.root, "embed"),
        objects.join(spec.root, "landmarks"),
        objects.join(spec.root, "similarity", metric),
        metric,
        spec.similarity.cross_category_sim,
        shard,
    )


def compute(
    dataset: str,
    landmarks: str | None,
    out: str,
    metric: store.Metric,
    cross_category_sim: float = store.CROSS_CATEGORY_SIM,
    shard: Shard = Shard(),
) -> Outcome:
    """The same over explicit places: `dataset` an embed stage's folder, `landmarks` a landmarks stage's
    (beside the dataset when None; only (I2L)² reads it), `out` the store to make."""
    data = open_embeddings(dataset, "train")
    texts: Mapping[str, LandmarkTexts] = {}
    if metric == "i2l":
        texts = open_landmarks(landmarks or objects.join(dataset.rstrip("/").rsplit("/", 1)[0], "landmarks"))
    members: dict[str, list[int]] = {}
    for index, category in enumerate(data.categories):
        members.setdefault(category, []).append(index)
    # The costliest categories first, so that dealing them out in turn leaves workers about even.
    order = sorted(members, key=lambda c: (-len(members[c]), c))
    parts = [_part(data, c, members[c], texts, out, metric) for c in order]

    def check() -> None:
        store.publish(out, members, cross_category_sim)

    facts = {"crossCategorySim": cross_category_sim}
    return work(f"similarity {metric}", "pair", Ledger(out), parts, shard, check, facts)


def _part(
    data: Embeddings,
    category: str,
    indices: Sequence[int],
    texts: Mapping[str, LandmarkTexts],
    out: str,
    metric: store.Metric,
) -> Part:
    held = [data.objects[i] for i in indices]
    known: list[object] = [[o.key, o.views_digest] for o in held]
    if metric == "i2l":
        if category not in texts:
            raise DataError(
                f"no landmarks for category {category!r}{did_you_mean(category, texts)}; run landmarks again"
            )
        known.append(texts[category].digest)
    fingerprint = objects.digest(VERSION, metric, known)

    def make(tell: Callable[[int], None]) -> Made:
        from captionless.precompute import similarity  # heavy, and needed only where there is work

        views = data.views(indices)
        keys = [o.key for o in held]
        if metric == "i2l":
            matrix = similarity.i2l(views, texts[category].embeddings(), names=keys)
        else:
            matrix = similarity.i2i(views, names=keys)
        store.write_category(out, category, keys, matrix, metric, fingerprint)
        return Made({store.category_file(category): ""}, {"category": category, "objects": len(keys)})

    name = store.category_file(category).removesuffix(".sim")
    return Part(name, fingerprint, max(1, len(held) * (len(held) - 1) // 2), make)
