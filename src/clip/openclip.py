"""One door to every CLIP model: names, checkpoints, preprocessing, embeddings.

`load` turns a model name and a `pretrained` value into a frozen `Clip` with two
methods, `images` and `texts`, both of which return L2-normalised float32 rows. The
embedded demo model goes through the same `open_clip` calls as the production model:
its name is merely another spelling of open_clip's `local-dir:` for a folder of this
package.

Views are uint8 arrays of one size, hundreds of thousands of them, so the model's
preprocessing (open_clip's own resize mode, interpolation, crop, mean and std) runs
on whole batches in torch instead of on one PIL picture at a time; pictures that have
the model's size already are not resampled at all. The tests hold it to open_clip's
own transform.

`Clip.digest` names what embeddings depend on: whoever stores embeddings stores it
with them, and recomputes when it changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import logging
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from captionless.clip import demo
from captionless.clip.demo import NAME as DEMO
from captionless.errors import CaptionlessError, DataError, Retryable, SpecError, did_you_mean, one_line

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["fp32", "bf16", "fp16"]

_DEMO_DIR = Path(demo.FOLDER)
_SCHEMAS = ("hf-hub:", "local-dir:")
_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://|::")
_CHECKPOINT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".npz", ".npy")

_log = logging.getLogger(__name__)


class Clip:
    """A frozen CLIP model in evaluation mode.

    embed_dim: F, the width of both embeddings. image_size: the model's input in pixels
    (the shorter side where it is not square). digest: sha256 (hex) over the model's
    configuration, its preprocessing and its weights. context_length: tokens a text may
    have; longer ones are cut, as CLIP does, and a warning says how many were.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        tokenizer: Callable[..., torch.Tensor],
        config: dict[str, Any],
        device: torch.device,
        precision: Precision,
    ) -> None:
        import torch

        self._model = model.eval().requires_grad_(False)
        self._tokenizer = tokenizer
        self._device = device
        self._dtype = {
            "fp32": torch.float32,
            "bf16": torch.bfloat16,
            "fp16": torch.float16,
        }[precision]
        self._preprocess: dict[str, Any] = dict(model.visual.preprocess_cfg)  # type: ignore[union-attr, arg-type]
        self.embed_dim = int(config["embed_dim"])
        self.image_size = min(_pair(self._preprocess["size"]))
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

        def encode(pictures: list[NDArray[np.uint8]]) -> torch.Tensor:
            features: torch.Tensor = self._model.encode_image(self._pixels(pictures))  # type: ignore[operator]
            return features

        return self._embed("image", (_rgb(view, n) for n, view in enumerate(views)), encode, batch_size)

    def texts(self, texts: Sequence[str], batch_size: int = 256) -> NDArray[np.float32]:
        """Embeds texts: (n, F) float32, L2-normalised. DataError names a text without a finite embedding."""
        cut = 0

        def encode(batch: list[str]) -> torch.Tensor:
            nonlocal cut
            tokens = self._tokenizer(batch)
            cut += self._overlong(batch, tokens)
            features: torch.Tensor = self._model.encode_text(tokens.to(self._device))  # type: ignore[operator]
            return features

        embeddings = self._embed("text", texts, encode, batch_size)
        if cut:
            _log.warning(
                "%d of %d texts are longer than the model's %d tokens; their ends were cut off",
                cut,
                len(texts),
                self.context_length,
            )
        return embeddings

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
        import torch

        done: list[NDArray[np.float32]] = []
        start = 0
        iterator = iter(items)
        lowered = self._dtype != torch.float32
        while batch := list(islice(iterator, batch_size)):
            with (
                torch.inference_mode(),
                torch.autocast(self._device.type, self._dtype, enabled=lowered),
            ):
                features = encode(batch).float()
            # The normalisation itself is always float32: half precision would leave norms 1e-3 off.
            rows = torch.nn.functional.normalize(features, dim=-1).cpu().numpy()
            bad = np.flatnonzero(~np.isfinite(rows).all(axis=1) | ~rows.any(axis=1))
            if len(bad):
                raise DataError(
                    f"{what} {start + bad[0]}: the CLIP model gave an embedding that is not finite or all zero; "
                    "check its checkpoint, or try precision fp32"
                )
            done.append(rows)
            start += len(batch)
        return np.concatenate(done) if done else np.zeros((0, self.embed_dim), np.float32)

    def _pixels(self, pictures: list[NDArray[np.uint8]]) -> torch.Tensor:
        """Preprocessed input (n, 3, h, w) float32 on the model's device, order kept."""
        import torch

        by_shape: dict[tuple[int, ...], list[int]] = {}
        for n, picture in enumerate(pictures):
            by_shape.setdefault(picture.shape, []).append(n)
        height, width = _pair(self._preprocess["size"])
        sized = torch.empty((len(pictures), 3, height, width), dtype=torch.uint8, device=self._device)
        for indices in by_shape.values():
            stack = torch.from_numpy(np.stack([pictures[n] for n in indices])).to(self._device)
            sized[indices] = _fit(stack.permute(0, 3, 1, 2), self._preprocess)
        mean, std = (
            torch.tensor(self._preprocess[key], dtype=torch.float32, device=self._device).expand(3).view(3, 1, 1)
            for key in ("mean", "std")
        )
        return sized.float().div_(255).sub_(mean).div_(std)


def load(
    model: str,
    pretrained: str | None = None,
    device: Device = "auto",
    precision: Precision = "fp32",
) -> Clip:
    """Loads a CLIP model.

    model: any open_clip name, `hf-hub:ORG/NAME`, `local-dir:PATH` or `DEMO`.
    pretrained: a tag that open_clip knows for that name, a path, or an fsspec URL of a
    checkpoint (fetched once to `$CAPTIONLESS_CACHE`, default `~/.cache/captionless`).
    The last three kinds of model bring their own weights and take none.
    device: `auto` is CUDA where there is one. precision: the matrix products'; weights
    and returned embeddings are float32 at any.
    Raises SpecError for what cannot work, Retryable for a download that failed.
    """
    check(model, pretrained)
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise SpecError('device: "cuda" asked for, but PyTorch finds no CUDA device; use "auto" or "cpu"')
    place = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
    name = f"local-dir:{_DEMO_DIR}" if model == DEMO else model
    source = f'"{model}"' + (f' with pretrained "{pretrained}"' if pretrained else "")
    with _quiet():
        import open_clip

        try:
            weights = fetch(pretrained) if pretrained and _URL.search(pretrained) else pretrained
            network = open_clip.create_model(name, pretrained=weights, require_pretrained=True)
            tokenizer = open_clip.get_tokenizer(name)
            config = open_clip.get_model_config(name)
        except CaptionlessError:
            raise
        except Exception as error:  # open_clip, torch, safetensors and the hub each raise their own kinds
            raise _explained(error, source) from error
    for key, value in network.state_dict().items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise SpecError(
                f'clip model {source}: weight "{key}" holds values that are not finite; fetch the checkpoint again'
            )
    return Clip(network.to(place), tokenizer, config, place, precision)


def check(model: str, pretrained: str | None) -> None:
    """Raises SpecError where `load(model, pretrained)` cannot work; loads no weights, asks no network."""
    if model == DEMO or model.startswith(_SCHEMAS):
        if pretrained:
            raise SpecError(f'clip.pretrained: "{model}" brings its own weights; leave "{pretrained}" out')
        folder = model.removeprefix("local-dir:")
        if folder != model and not (Path(folder) / "open_clip_config.json").is_file():
            raise SpecError(f'clip.model: "{model}": no open_clip_config.json in that folder')
        return
    names = _model_names()
    # open_clip itself reads a slash as a dash (ViT-B/32).
    if model.replace("/", "-") not in names:
        raise SpecError(
            f'clip.model: open_clip knows no model "{model}"{did_you_mean(model, [*names, DEMO])}; '
            f'expected one of its {len(names)} names, "hf-hub:ORG/NAME", "local-dir:PATH" or "{DEMO}"'
        )
    if pretrained and (_URL.search(pretrained) or Path(pretrained).is_file()):
        return
    with _quiet():
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
    if "/" in pretrained or pretrained.endswith(_CHECKPOINT_SUFFIXES):
        raise SpecError(f'clip.pretrained: no checkpoint file at "{pretrained}"')
    raise SpecError(
        f'clip.pretrained: "{pretrained}" is no tag of "{model}"{did_you_mean(pretrained, tags)}; '
        f"expected one of its {len(tags)} tags ({_some(tags)}), a path or a URL of a checkpoint"
    )


def identity(model: str, pretrained: str | None) -> str:
    """What identifies the weights without loading them, to tell whether stored embeddings are of this model.

    A local checkpoint or folder by its bytes, a URL by what its store says of it, a tag of open_clip by its name:
    tags do not change. SpecError as `check`.
    """
    check(model, pretrained)
    parts = [model, pretrained or ""]
    folder = _DEMO_DIR if model == DEMO else Path(model.removeprefix("local-dir:"))
    if model == DEMO or model.startswith("local-dir:"):
        parts = [model if model == DEMO else "local-dir"]
        files = sorted(p for p in folder.iterdir() if p.is_file() and p.suffix in (".json", *_CHECKPOINT_SUFFIXES))
    elif pretrained and Path(pretrained).is_file():
        parts, files = [model], [Path(pretrained)]
    else:
        files = []
        if pretrained and _URL.search(pretrained):
            parts = [model, _version(pretrained)]
    for path in files:
        with path.open("rb") as file:
            parts += [path.name, hashlib.file_digest(file, "sha256").hexdigest()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def fetch(url: str) -> str:
    """The local path of a checkpoint given by URL, fetched at most once for each version of it.

    A name in the cache is a digest of the URL and of its version, and appears by renaming
    a finished file: a reader never sees half a checkpoint, whoever else fetches it at the
    same moment.
    """
    with _told(url):
        filesystem, path = _opened(url)
        if "file" in filesystem.protocol and "::" not in url:
            if not os.path.isfile(path):
                raise FileNotFoundError(path)
            return path
        digest = hashlib.sha256(f"{url}\n{filesystem.ukey(path)}".encode()).hexdigest()
        cache = Path(os.environ.get("CAPTIONLESS_CACHE", "~/.cache/captionless")).expanduser() / "checkpoints"
        # The suffix stays, because open_clip chooses the reader by it.
        target = cache / f"{digest[:24]}-{os.path.basename(path)}"
        if not target.exists():
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache) as partial:
                filesystem.get_file(path, os.path.join(partial, "checkpoint"))
                os.replace(os.path.join(partial, "checkpoint"), target)
        return str(target)


def _version(url: str) -> str:
    """What the store of a checkpoint says identifies its content (size, ETag, time), as a digest."""
    with _told(url):
        filesystem, path = _opened(url)
        return str(filesystem.ukey(path))


def _opened(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path in it."""
    import fsspec

    filesystem, path = fsspec.url_to_fs(url)
    return filesystem, str(path)


@contextlib.contextmanager
def _told(url: str) -> Iterator[None]:
    """Whatever goes wrong with a checkpoint's URL, in one line."""
    try:
        yield
    except FileNotFoundError as error:
        raise SpecError(f'clip.pretrained: nothing found at "{url}"') from error
    except PermissionError as error:
        raise SpecError(f'clip.pretrained: no permission to read "{url}"; check the credentials') from error
    except ValueError as error:  # fsspec: unknown protocol
        raise SpecError(f'clip.pretrained: "{url}": {one_line(error)}') from error
    except Exception as error:
        raise Retryable(f'clip.pretrained: "{url}" could not be fetched: {one_line(error)}') from error


def _model_names() -> list[str]:
    """open_clip's model names, read from its folder of configurations without importing it."""
    found = importlib.util.find_spec("open_clip")
    if found is None or not found.submodule_search_locations:
        raise SpecError("open_clip is not installed; run: pip install open_clip_torch")
    folder = Path(found.submodule_search_locations[0]) / "model_configs"
    return sorted(path.stem for path in folder.glob("*.json"))


def _some(names: Sequence[str], limit: int = 6) -> str:
    return ", ".join([*names[:limit], "..."] if len(names) > limit else names)


def _explained(error: Exception, source: str) -> CaptionlessError:
    """The one line a user can act on, for what open_clip raised while loading `source`."""
    text = one_line(error)
    if isinstance(error, FileNotFoundError | ConnectionError | TimeoutError) or "ownload" in text:
        return Retryable(
            f"clip model {source} could not be downloaded ({text}); check the network, "
            "or set clip.pretrained to a local path or URL of the checkpoint"
        )
    if "size mismatch" in text or "Missing key" in text or "Unexpected key" in text:
        return SpecError(
            f"clip model {source}: the checkpoint is of another architecture ({text}); name the model it was made with"
        )
    if "Required pretrained" in text:
        return SpecError(f"clip model {source}: no weights found beside its configuration")
    if isinstance(error, ImportError):
        return SpecError(f"clip model {source} needs a package that is missing: {text}")
    return SpecError(
        f"clip model {source}: the checkpoint cannot be read ({text}); it may be truncated: fetch it again"
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps open_clip's chatter off the terminal: it logs to the root logger, which would install a handler."""
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


def _digest(config: dict[str, Any], preprocess: dict[str, Any], weights: dict[str, torch.Tensor]) -> str:
    """sha256 (hex) over the configuration and over every weight's name, type, shape and bytes, by name."""
    import torch

    digest = hashlib.sha256(json.dumps([config, preprocess], sort_keys=True, default=list).encode())
    for key in sorted(weights):
        value = weights[key].detach().cpu().contiguous()
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _rgb(view: NDArray[np.uint8] | Image, n: int) -> NDArray[np.uint8]:
    picture = view if isinstance(view, np.ndarray) else np.asarray(view.convert("RGB"))
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise DataError(f"image {n}: expected uint8 (H, W, 3), found {picture.dtype} {picture.shape}")
    return picture


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _fit(pictures: torch.Tensor, preprocess: dict[str, Any]) -> torch.Tensor:
    """uint8 (n, 3, h, w) resized and cropped or padded to the model's size, as open_clip's transform does."""
    from torch.nn.functional import pad

    height, width = int(pictures.shape[2]), int(pictures.shape[3])
    target = _pair(preprocess["size"])
    mode = preprocess["resize_mode"]
    # open_clip's only other value, "random", means bicubic outside of training.
    interpolation = "bilinear" if preprocess["interpolation"] == "bilinear" else "bicubic"
    if mode == "squash":
        return _resize(pictures, target, interpolation)
    if mode == "shortest" and target[0] == target[1]:
        # torchvision's Resize with a scalar rounds the longer side down.
        short = min(height, width)
        pictures = _resize(
            pictures,
            (target[0] * height // short, target[0] * width // short),
            interpolation,
        )
    else:
        # open_clip's ResizeKeepRatio rounds to nearest, and is bicubic whatever the configuration in this mode.
        ratios = (height / target[0], width / target[1])
        ratio = max(ratios) if mode == "longest" else min(ratios)
        shape = (round(height / ratio), round(width / ratio))
        pictures = _resize(pictures, shape, interpolation if mode == "longest" else "bicubic")
    missing = [max(0, target[n] - pictures.shape[2 + n]) for n in (0, 1)]
    if any(missing):
        (above, below), (left, right) = ((m // 2, (m + 1) // 2) for m in missing)
        pictures = pad(pictures, (left, right, above, below), value=preprocess["fill_color"])
    top, side = (round((pictures.shape[2 + n] - target[n]) / 2.0) for n in (0, 1))
    return pictures[:, :, top : top + target[0], side : side + target[1]]


def _resize(pictures: torch.Tensor, size: tuple[int, int], interpolation: str) -> torch.Tensor:
    """Anti-aliased like Pillow's; uint8 in and out, nothing done when the size is right."""
    from torch.nn.functional import interpolate

    if tuple(pictures.shape[2:]) == size:
        return pictures
    if pictures.device.type == "cpu":  # torch's uint8 kernel follows Pillow's fixed-point arithmetic
        return interpolate(pictures, size=size, mode=interpolation, antialias=True)
    return _resize_float(pictures, size, interpolation)


def _resize_float(pictures: torch.Tensor, size: tuple[int, int], interpolation: str) -> torch.Tensor:
    """The same where there is no uint8 kernel: across, then down, rounded and clamped after each as Pillow does."""
    import torch

    resized = pictures.float()
    for shape in ((int(pictures.shape[2]), size[1]), size):
        resized = torch.nn.functional.interpolate(resized, size=shape, mode=interpolation, antialias=True)
        resized = resized.round_().clamp_(0, 255)
    return resized.to(torch.uint8)
