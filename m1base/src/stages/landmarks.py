"""landmarks: L texts per category and their CLIP embeddings.

    landmarks/<category>-<digest>.jsonl, .npy    see store.landmark_store
    landmarks/drafts/<category>-<asked>.json     origin llm: texts as they are accepted

The texts come from the demo world's grammar, a file or a language model. Texts from a
model are stored as they arrive, so that nothing paid for is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from captionless import demo_world
from captionless.clip import openclip
from captionless.precompute import landmark_texts
from captionless.precompute.landmark_texts import LandmarkSet
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.landmarks import LandmarkOrigin
from captionless.spec.plan import LANDMARKS, LIST
from captionless.stages import chain
from captionless.stages.clip_model import FACT, clip_facts, clip_identity, load_clip
from captionless.stages.work_items import Outcome, Shard, WorkItem, WorkOutput, work
from captionless.store import objects
from captionless.store.file_names import earlier_stem, file_stem
from captionless.store.landmark_store import write_landmarks
from captionless.store.ledger import Ledger
from captionless.store.listing import open_listing

if TYPE_CHECKING:
    from captionless.precompute.llm import Chat


def run(spec: AlignmentSpec, shard: Shard = Shard()) -> Outcome:
    """Gets and embeds the landmarks of this worker's categories; the outcome counts each text as an object."""
    url = objects.join(spec.root, LANDMARKS)
    objects.check(url)
    made_from = chain.made_from(spec, "landmarks")
    categories = open_listing(objects.join(spec.root, LIST)).categories
    ledger = Ledger(url)
    stage = Landmarks(spec, url, categories, ledger)
    items = [stage.work_item(c) for c in categories]
    facts = partial(clip_facts, spec.clip, stage.model, url)
    outcome = work(
        "landmarks", "text", ledger, items, shard.of(items), facts=facts, made_from=made_from, shard=shard,
        holds=lambda record: int(record.facts.get("count", 0)),
    )  # fmt: skip
    return replace(outcome, unit="object")


class Landmarks:
    def __init__(self, spec: AlignmentSpec, url: str, categories: list[str], ledger: Ledger):
        self.spec, self.own, self.url, self.categories, self.ledger = spec, spec.landmarks, url, categories, ledger
        self.model = clip_identity(spec.clip)

    def work_item(self, category: str) -> WorkItem:
        earlier = earlier_stem(category)
        name = earlier if self.ledger.previous(earlier) is not None else file_stem(category)
        fingerprint = objects.digest(
            chain.FORMATS[LANDMARKS], category, self.own.count, self.model.embeddings, self.origin(category)
        )

        def make(advance: Callable[[int], None]) -> WorkOutput:
            texts = self._texts(category, advance)
            files, digest = write_landmarks(self.url, category, texts.texts, self.clip.texts(texts.texts))
            facts = {
                "category": category, "digest": digest, "count": len(texts.texts),
                "flagged": dict(texts.flagged), "cost": texts.cost, FACT: self.clip.digest,
            }  # fmt: skip
            return WorkOutput(dict.fromkeys(files, ""), facts)

        return WorkItem(name, fingerprint, self.own.count, make)

    def origin(self, category: str) -> list[Any]:
        """What a category's texts depend on."""
        match self.own.origin:
            case LandmarkOrigin.grammar:
                return ["grammar", demo_world.VERSION]
            case LandmarkOrigin.file:
                return ["file", self._of_file[category].texts]
            case LandmarkOrigin.llm:
                own, name = self.own, self.spec.data.display_name(category)
                asked = ["llm", own.endpoint, own.model, own.temperature, self._hints.get(category, "")]
                return asked if name == category else [*asked, name]

    def _texts(self, category: str, advance: Callable[[int], None]) -> LandmarkSet:
        match self.own.origin:
            case LandmarkOrigin.grammar:
                return landmark_texts.from_grammar(category, self.own.count)
            case LandmarkOrigin.file:
                return self._of_file[category]
            case LandmarkOrigin.llm:
                from captionless.precompute.landmark_writer import from_llm  # openai takes seconds to import

                drafts = objects.join(self.url, "drafts", file_stem(category))
                reported = 0

                def on_round(accepted: int) -> None:
                    nonlocal reported
                    advance(min(accepted, self.own.count) - reported)
                    reported = min(accepted, self.own.count)

                hint = self._hints.get(category, "")
                name = self.spec.data.display_name(category)
                return from_llm(self._chat, name, self.own.count, drafts, hint, self.own.texts_per_request, on_round)

    @cached_property
    def clip(self) -> openclip.Clip:
        return load_clip(self.spec.clip, self.model)

    @cached_property
    def _of_file(self) -> dict[str, LandmarkSet]:
        return landmark_texts.from_file(self.own.file, self.categories, self.own.count, self.own.filter == "drop")

    @cached_property
    def _chat(self) -> Chat:
        from captionless.precompute.llm import Budget, Chat, Endpoint

        own = self.own
        spent = sum(float(record.facts["cost"]) for record in self.ledger.everything())
        endpoint = Endpoint(own.endpoint, own.model, own.api_key_env, own.temperature, own.timeout_seconds)
        return Chat(endpoint, Budget(own.max_cost, own.input_price, own.output_price, spent))

    @cached_property
    def _hints(self) -> dict[str, str]:
        pairs = (h.partition(":") for h in self.own.hints)
        return {category.strip(): text.strip() for category, _, text in pairs}
