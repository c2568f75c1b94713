"""Which names of classes are one and the same to CLIP."""

from __future__ import annotations

import open_clip

from captionless.clip.class_names import alike, as_read, spoken


def test_names_that_read_alike_have_one_text_to_clip() -> None:
    names = ["night_stand", "Night Stand", "night  stand ", "nightstand", "night-stand"]
    tokens = open_clip.get_tokenizer("ViT-B-32")([f"a point cloud of a {spoken(name)}" for name in names])
    same = (tokens[:, None] == tokens[None]).all(dim=2)
    assert same.tolist() == [[as_read(a) == as_read(b) for b in names] for a in names]
    assert alike(names) == [(0, 1), (0, 2)]
    assert alike(["a", "b"]) == []
