"""The report of a real run: negatives with the weights of training, and marks with their pictures."""

from __future__ import annotations

import json
import re

import pytest
import torch

from captionless.store.similarity_store import open_similarity
from captionless.trainer.losses.hn_weights import log_weights
from tests.flow.conftest import Finished
from tests.pages import chart

pytestmark = pytest.mark.flow

NEGATIVE = re.compile(
    r'<span class="number">(\S+)</span>\s*<span class="note">[^<\d]*([\d.]+)</span>\s*<span class="key">(\S+)</span>'
)
OTHERS = re.compile(r'<span class="note">[^<\d]*other categories[^<\d]*([\d.]+)<')


def test_negatives_weigh_in_the_report_what_they_weigh_in_training(finished: Finished) -> None:
    page = (finished.folder / "out" / "eval" / "report.html").read_text()
    articles = re.findall(r'<article class="kin">(.*?)</article>', page, re.S)
    assert len(articles) == 3 * 2  # objects, each by both similarities
    for article, metric in zip(articles, ["i2i", "i2l"] * 3, strict=True):
        store = open_similarity(str(finished.folder / "out" / "similarity" / metric))
        keys = [key for category in store.categories for key in store.keys(category)]
        similarity = store.lookup(keys)
        weights = log_weights(torch.from_numpy(similarity).double(), keys).exp().numpy()
        found = re.search(r'<span class="key">(\S+)</span>', article)
        assert found
        anchor = keys.index(found[1])
        negatives = NEGATIVE.findall(article)
        assert len(negatives) >= 4
        for shown, weight, key in negatives:
            assert float(shown) == pytest.approx(similarity[anchor, keys.index(key)], abs=6e-5)
            assert float(weight) == pytest.approx(weights[anchor, keys.index(key)], abs=6e-3)
        other = next(key for key in keys if key.split("-")[0] != found[1].split("-")[0])
        assert float(OTHERS.findall(article)[0]) == pytest.approx(weights[anchor, keys.index(other)], abs=6e-3)


def test_every_mark_of_the_map_has_its_picture(finished: Finished) -> None:
    page = (finished.folder / "out" / "eval" / "report.html").read_text()
    found = re.search(r'<script type="application/json" id="pictures">(.*?)</script>', page, re.S)
    assert found
    marks = [key for trace in chart(page, "map")["data"] for key in trace["text"]]
    assert sorted(json.loads(found[1])) == sorted(marks)
    assert len(marks) == 9
