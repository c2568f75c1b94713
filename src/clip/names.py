"""Names of CLIP models and of their weights: which ones open_clip knows, checked without loading any.

A model is an open_clip name, `hf-hub:ORG/NAME[@REVISION]`, `local-dir:PATH` or the embedded `DEMO`; `pretrained` is a
tag that open_clip knows for the name, a path, or an fsspec URL of a checkpoint.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from captionless.clip.demo import NAME as DEMO
from captionless.errors import SpecError, did_you_mean

CHECKPOINT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".npz", ".npy")

HUB = "hf-hub:"
_SCHEMAS = (HUB, "local-dir:")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://|::")


def check(model: str, pretrained: str | None) -> None:
    """Raises SpecError where `openclip.load(model, pretrained)` cannot work; loads no weights, uses no network."""
    if model == DEMO or model.startswith(_SCHEMAS):
        if pretrained:
            raise SpecError(f'clip.pretrained: "{model}" has its own weights; omit "{pretrained}"')
        if model.startswith(HUB) and not _REPOSITORY.fullmatch(model.removeprefix(HUB)):
            raise SpecError(f'clip.model: "{model}"; expected hf-hub:ORG/NAME or hf-hub:ORG/NAME@REVISION')
        folder = model.removeprefix("local-dir:")
        if folder != model and not (Path(folder) / "open_clip_config.json").is_file():
            raise SpecError(f'clip.model: "{model}": no open_clip_config.json in that folder')
        return
    names = _model_names()
    # open_clip itself reads a slash as a dash (ViT-B/32).
    if model.replace("/", "-") not in names:
        raise SpecError(
            f'clip.model: open_clip has no model "{model}"{did_you_mean(model, [*names, DEMO])}; '
            f'expected one of its {len(names)} names, "hf-hub:ORG/NAME", "local-dir:PATH" or "{DEMO}"'
        )
    if pretrained and (is_url(pretrained) or Path(pretrained).is_file()):
        return
    with quiet():
        from open_clip.pretrained import (
            is_pretrained_cfg,
            list_pretrained_tags_by_model,
        )
    tags = list_pretrained_tags_by_model(model.replace("/", "-"))
    if not pretrained:
        known = f"a tag ({_some(tags)}), a path or a URL" if tags else "a path or a URL of a checkpoint"
        raise SpecError(f'clip.pretrained: "{model}" needs weights: {known}')
    if is_pretrained_cfg(model.replace("/", "-"), pretrained):
        return
    if "/" in pretrained or pretrained.endswith(CHECKPOINT_SUFFIXES):
        raise SpecError(f'clip.pretrained: no checkpoint file at "{pretrained}"')
    raise SpecError(
        f'clip.pretrained: "{model}" has no tag "{pretrained}"{did_you_mean(pretrained, tags)}; '
        f"expected one of its {len(tags)} tags ({_some(tags)}), a path or a URL of a checkpoint"
    )


def parse(text: str) -> tuple[str, str]:
    """The model and its `pretrained` in `MODEL/TAG`, `MODEL/PATH` or `MODEL/URL`; `pretrained` is empty for the name of
    a model that includes its weights.

    open_clip's names may have a slash for a dash (`ViT-B/32/openai`): the longest beginning that is a model's name is
    the model. SpecError as `check`, which is made of the result.
    """
    if text == DEMO or text.startswith(_SCHEMAS):
        model, pretrained = text, ""
    else:
        parts, known = text.split("/"), set(_model_names())
        length = next((n for n in range(len(parts), 0, -1) if "-".join(parts[:n]) in known), 1)
        model, pretrained = "/".join(parts[:length]), "/".join(parts[length:])
    check(model, pretrained or None)
    return model, pretrained


def is_url(pretrained: str) -> bool:
    """Whether `pretrained` is the URL of a checkpoint, for fsspec."""
    return _URL.search(pretrained) is not None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppresses open_clip's output: it logs to the root logger, which would install a handler."""
    root = logging.getLogger()
    previous = logging.root.manager.disable
    handler = logging.NullHandler()
    root.addHandler(handler)
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)
        root.removeHandler(handler)


def _model_names() -> list[str]:
    """open_clip's model names, read from its folder of configurations without importing it."""
    found = importlib.util.find_spec("open_clip")
    if found is None or not found.submodule_search_locations:
        raise SpecError("open_clip is not installed; run: pip install open_clip_torch")
    folder = Path(found.submodule_search_locations[0]) / "model_configs"
    return sorted(path.stem for path in folder.glob("*.json"))


def _some(names: Sequence[str], limit: int = 6) -> str:
    return ", ".join([*names[:limit], "..."] if len(names) > limit else names)
