"""CLIP models through open_clip: `load` turns a model name and a `pretrained` value into a frozen `Clip`.

Its two methods, `images` and `texts`, return L2-normalised float32 rows. The embedded demo model goes through the same
`open_clip` calls as any other: its name is another spelling of open_clip's `local-dir:` for a folder of this package.

`Clip.digest` identifies what embeddings depend on: it is stored with them, and they are recomputed when it changes.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from captionless.clip import demo, hub
from captionless.clip.checkpoints import fetch
from captionless.clip.demo import NAME as DEMO
from captionless.clip.names import HUB, check, is_url, quiet
from captionless.clip.preprocessing import image_size, preprocess, to_rgb
from captionless.errors import CaptionlessError, DataError, Retryable, SpecError, one_line

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["fp32", "bf16", "fp16"]

_log = logging.getLogger(__name__)


class Clip:
    """A frozen CLIP model in evaluation mode.

    device: what it runs on. embed_dim: F, the width of both embeddings. image_size: the
    model's input in pixels (the shorter side where it is not square). digest: sha256 (hex)
    over the model's configuration, its preprocessing and its weights. context_length: tokens
    a text may have; longer ones are truncated, as CLIP does, with a warning that counts them.
    revision: the commit of a model of the Hugging Face Hub, else empty.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        tokenizer: Callable[..., torch.Tensor],
        config: dict[str, Any],
        device: torch.device,
        precision: Precision,
        revision: str = "",
    ) -> None:
        import torch

        self.revision = revision
        self._model = model.eval().requires_grad_(False)
        self._tokenizer = tokenizer
        self.device = device
        self._dtype = {
            "fp32": torch.float32,
            "bf16": torch.bfloat16,
            "fp16": torch.float16,
        }[precision]
        self._preprocess: dict[str, Any] = dict(model.visual.preprocess_cfg)  # type: ignore[union-attr, arg-type]
        self.embed_dim = int(config["embed_dim"])
        self.image_size = min(image_size(self._preprocess))
        self.context_length = int(getattr(tokenizer, "context_length", None) or 77)
        self.digest = _digest(config, self._preprocess, model.state_dict())

    def images(
        self,
        views: Iterable[NDArray[np.uint8] | Image] | NDArray[np.uint8],
        batch_size: int = 256,
    ) -> NDArray[np.float32]:
        """Embeds pictures: uint8 (H, W, 3) arrays or PIL images, in any mix of sizes.

        Returns (n, F) float32, L2-normalised. DataError names the first picture that is
        not uint8 RGB or whose embedding is not finite.
        """

        return self._embed("image", (to_rgb(view, n) for n, view in enumerate(views)), self._encode_image, batch_size)

    def start(self, pictures: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> torch.Tensor:
        """Embeds one batch of uint8 (H, W, 3) pictures and does not wait for it where the device is not the CPU.

        Returns (n, F) float32, L2-normalised, on the model's device; see `check_embeddings`. Any thread may call it.
        """
        return self._normalised(self._encode_image, pictures)

    def texts(self, texts: Sequence[str], batch_size: int = 256) -> NDArray[np.float32]:
        """Embeds texts: (n, F) float32, L2-normalised. DataError names a text without a finite embedding."""
        cut = 0

        def encode(batch: list[str]) -> torch.Tensor:
            nonlocal cut
            tokens = self._tokenizer(batch)
            cut += self._overlong(batch, tokens)
            features: torch.Tensor = self._model.encode_text(tokens.to(self.device))  # type: ignore[operator]
            return features

        embeddings = self._embed("text", texts, encode, batch_size)
        if cut:
            _log.warning(
                "%d of %d texts exceed the model's context length of %d tokens and were truncated",
                cut,
                len(texts),
                self.context_length,
            )
        return embeddings

    def read(self, texts: Sequence[str]) -> list[bytes]:
        """What the model reads of each text: its tokens, as bytes that are equal for texts which it cannot tell
        apart."""
        return [row.tobytes() for row in self._tokenizer(list(texts)).numpy()]

    def _encode_image(self, pictures: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> torch.Tensor:
        features: torch.Tensor = self._model.encode_image(preprocess(pictures, self._preprocess, self.device))  # type: ignore[operator]
        return features

    def _overlong(self, texts: list[str], tokens: torch.Tensor) -> int:
        """How many of the texts lost tokens: those whose row is full and would fill a longer one too."""
        full = [texts[i] for i in (tokens[:, -1] != 0).nonzero().flatten().tolist()]
        if not full:
            return 0
        return int((self._tokenizer(full, self.context_length + 1)[:, -1] != 0).sum())

    def _embed(
        self,
        what: str,
        items: Iterable[Any],
        encode: Callable[[list[Any]], torch.Tensor],
        batch_size: int,
    ) -> NDArray[np.float32]:
        done: list[NDArray[np.float32]] = []
        start = 0
        iterator = iter(items)
        while batch := list(islice(iterator, batch_size)):
            rows = self._normalised(encode, batch).cpu().numpy()
            check_embeddings(rows, lambda n, first=start: f"{what} {first + n}")  # type: ignore[misc]
            done.append(rows)
            start += len(batch)
        return np.concatenate(done) if done else np.zeros((0, self.embed_dim), np.float32)

    def _normalised(self, encode: Callable[[Any], torch.Tensor], batch: Any) -> torch.Tensor:
        import torch

        lowered = self._dtype != torch.float32
        with torch.inference_mode(), torch.autocast(self.device.type, self._dtype, enabled=lowered):
            features = encode(batch).float()
        # The normalisation itself is always float32: half precision would leave norms 1e-3 off.
        return torch.nn.functional.normalize(features, dim=-1)


def check_embeddings(rows: NDArray[np.float32], name: Callable[[int], str]) -> None:
    """DataError that names the first of (n, F) embeddings that is not finite, or all zero."""
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1) | ~rows.any(axis=1))
    if len(bad):
        raise DataError(
            f"{name(int(bad[0]))}: the embedding from the CLIP model is not finite or all zero; "
            "check the checkpoint, or try precision fp32"
        )


def load(
    model: str,
    pretrained: str | None = None,
    device: Device = "auto",
    precision: Precision = "fp32",
) -> Clip:
    """Loads a CLIP model.

    model: any open_clip name, `hf-hub:ORG/NAME[@REVISION]`, `local-dir:PATH` or `DEMO`.
    pretrained: a tag that open_clip knows for that name, a path, or an fsspec URL of a
    checkpoint (fetched once to `$CAPTIONLESS_CACHE`, default `~/.cache/captionless`).
    The last three kinds of model include their weights; `pretrained` must be None for them.
    device: `auto` is CUDA if available. precision: of the matrix products; weights and
    returned embeddings are always float32.
    Raises SpecError for invalid settings, Retryable for a download that failed.
    """
    check(model, pretrained)
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise SpecError('device: "cuda" requested, but PyTorch finds no CUDA device; use "auto" or "cpu"')
    place = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
    name = f"local-dir:{demo.FOLDER}" if model == DEMO else model
    source = f'"{model}"' + (f' with pretrained "{pretrained}"' if pretrained else "")
    with quiet():
        import open_clip

        try:
            weights = fetch(pretrained) if pretrained and is_url(pretrained) else pretrained
            of_hub = hub.resolve(model) if model.startswith(HUB) else None
            name = f"local-dir:{hub.folder(of_hub)}" if of_hub is not None else name
            network = open_clip.create_model(name, pretrained=weights, require_pretrained=True)
            config = open_clip.get_model_config(name)
            # a model of the Hub may name the tokenizer of another repository, which only open_clip's own spelling finds
            elsewhere = config.get("text_cfg", {}).get("hf_tokenizer_name")
            tokenizer = open_clip.get_tokenizer(f"{HUB}{of_hub.repository}" if of_hub and elsewhere else name)
        except CaptionlessError:
            raise
        except Exception as error:  # open_clip, torch, safetensors and the hub each raise their own kinds
            raise _load_error(error, source) from error
    for key, value in network.state_dict().items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise SpecError(
                f'clip model {source}: weight "{key}" has values that are not finite; download the checkpoint again'
            )
    return Clip(network.to(place), tokenizer, config, place, precision, of_hub.revision if of_hub else "")


def _load_error(error: Exception, source: str) -> CaptionlessError:
    """The one line a user can act on, for what open_clip raised while loading `source`."""
    text = one_line(error)
    if isinstance(error, FileNotFoundError | ConnectionError | TimeoutError) or "ownload" in text:
        return Retryable(
            f"clip model {source} could not be downloaded ({text}); check the network, "
            "or set clip.pretrained to a local path or URL of the checkpoint"
        )
    if "size mismatch" in text or "Missing key" in text or "Unexpected key" in text:
        return SpecError(
            f"clip model {source}: the checkpoint has another architecture ({text}); name the model it was trained as"
        )
    if "Required pretrained" in text:
        return SpecError(f"clip model {source}: no weights found next to its configuration")
    if isinstance(error, ImportError):
        return SpecError(f"clip model {source} needs a package that is not installed: {text}")
    return SpecError(
        f"clip model {source}: the checkpoint cannot be read ({text}); it may be truncated: download it again"
    )


def _digest(config: dict[str, Any], preprocessing: dict[str, Any], weights: dict[str, torch.Tensor]) -> str:
    """sha256 (hex) over the configuration and over every weight's name, type, shape and bytes, by name."""
    import torch

    digest = hashlib.sha256(json.dumps([config, preprocessing], sort_keys=True, default=list).encode())
    for key in sorted(weights):
        value = weights[key].detach().cpu().contiguous()
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
