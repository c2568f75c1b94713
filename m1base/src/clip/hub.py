"""Models of the Hugging Face Hub, `hf-hub:ORG/NAME[@REVISION]`: which commit that is, and its files.

A branch moves, so a model is the commit that its revision (`main` if none is named) points to: asked of the Hub or, if
that does not answer or HF_HUB_OFFLINE is set, what the local cache of the Hub last saw.
"""

from __future__ import annotations

import logging
import os
import re
from typing import NamedTuple

from captionless.clip.names import HUB, quiet
from captionless.errors import Retryable, SpecError, one_line

_COMMIT = re.compile(r"[0-9a-f]{40}")
_CONFIG = "open_clip_config.json"
_SECONDS = 30.0
_log = logging.getLogger(__name__)


class HubModel(NamedTuple):
    """A model at a commit; `revision` is the commit's sha."""

    repository: str
    revision: str


def resolve(model: str) -> HubModel:
    """The commit of a model's revision.

    Raises:
        SpecError: no such repository or revision, or no access to it.
        Retryable: the Hub does not answer, and the cache has no such revision.
    """
    repository, _, revision = model.removeprefix(HUB).partition("@")
    if _COMMIT.fullmatch(revision):
        return HubModel(repository, revision)
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        found = HfApi().model_info(repository, revision=revision or None, timeout=_SECONDS).sha
        return HubModel(repository, str(found))
    except (GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise SpecError(f'clip.model: "{model}": {one_line(error)}') from error
    except Exception as error:  # the hub's, requests' or httpx', and OfflineModeIsEnabled
        cached = try_to_load_from_cache(repository, _CONFIG, revision=revision or None)
        if not isinstance(cached, str):
            raise Retryable(
                f'clip.model: "{model}": the Hub does not answer ({one_line(error)}), and its cache on this '
                "machine has no such model; check the network, or use local-dir:"
            ) from error
        sha = os.path.basename(os.path.dirname(cached))
        _log.warning("%s: the Hub does not answer; using commit %s of its cache", model, sha)
        return HubModel(repository, sha)


def folder(model: HubModel) -> str:
    """The local folder of a model's configuration and weights, downloaded unless it is in the Hub's cache."""
    with quiet():
        from open_clip.pretrained import download_pretrained_from_hf

        download_pretrained_from_hf(model.repository, revision=model.revision)
        return os.path.dirname(str(download_pretrained_from_hf(model.repository, _CONFIG, revision=model.revision)))
