"""Trains the embedded demo CLIP model from scratch, once, offline.

    python hack/demo_clip/train.py PICTURES RUN [--steps 2600] [--out src/clip/demo]

PICTURES is what hack/demo_clip/dataset.py wrote; RUN keeps the log and a checkpoint that
the same command resumes from. The architecture is the one of src/clip/demo's
open_clip_config.json; the finished weights go to --out as open_clip_model.safetensors.

The loss is InfoNCE with several positives: each true (caption, picture) pair is set
against all false ones of its row and of its column, and not against other true ones.
Half of the batches show a single category, so that its objects must be distinguished by
their attributes. Only the token rows that occur in a caption are trained (a few hundred of 49,408);
all others are zero in the stored table, so that unknown words add nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import open_clip
import torch
from batches import PROMPTS, Pictures, augmented
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

_SIZE_LIMIT = 12_000_000  # bytes: what the package may carry


def contrastive(logits: Tensor, true: Tensor, false: Tensor) -> Tensor:
    """The mean over rows of the mean over a row's true pairs p of -log(e^p / (e^p + sum of false e^n)).

    logits, true, false: (rows, columns). A row with no true or no false pair adds nothing.
    """
    negatives = torch.logsumexp(logits.masked_fill(~false, -1e4), dim=1, keepdim=True)
    pairs = functional.softplus(negatives - logits) * true
    return (pairs.sum(1) / true.sum(1).clamp_min(1)).mean()


class CompactTokens:
    """Maps OpenCLIP's token numbers to 0..V-1 over those in use, in order (so that end-of-text stays the largest)."""

    def __init__(self, tokenizer: open_clip.SimpleTokenizer, texts: list[str]) -> None:
        self._tokenizer = tokenizer
        used: set[int] = set()
        for text in texts:
            used |= set(tokenizer.encode(text))
        for prompt in PROMPTS:
            used |= set(tokenizer.encode(prompt.format("")))
        longest = max(len(tokenizer.encode(t)) for t in texts) + max(
            len(tokenizer.encode(p.format(""))) for p in PROMPTS
        )
        if longest + 2 > tokenizer.context_length:
            raise SystemExit(f"captions have up to {longest + 2} tokens, the model {tokenizer.context_length}")
        self.ids = torch.tensor(sorted(used | {0, tokenizer.sot_token_id, tokenizer.eot_token_id}))
        self._place = torch.full((tokenizer.vocab_size,), -1)
        self._place[self.ids] = torch.arange(len(self.ids))

    def __call__(self, texts: list[str]) -> Tensor:
        tokens: Tensor = self._place[self._tokenizer(texts)]
        if (tokens < 0).any():
            raise ValueError("a text has a word outside the training vocabulary")
        return tokens


def encode_texts(model: open_clip.CLIP, tokens: Tensor) -> Tensor:
    """Text embeddings from as many positions as the longest text has: attention is causal, padding never matters."""
    length = int((tokens != 0).sum(1).max())
    x = model.token_embedding(tokens[:, :length]) + model.positional_embedding[:length]
    x = model.transformer(x, attn_mask=model.attn_mask[:length, :length])
    x = model.ln_final(x)[torch.arange(len(x)), tokens.argmax(1)]
    embedded: Tensor = x @ model.text_projection
    return embedded


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Matrices decay; norms, biases, embeddings of tokens and positions and the scale do not."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, p in model.named_parameters():
        (plain if p.ndim < 2 or "embedding" in name else decayed).append(p)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def store(model: nn.Module, ids: Tensor, vocabulary: int, out: Path) -> None:
    """Writes the weights as fp16 safetensors, the token table at its full height."""
    weights = {k: v.detach().half().contiguous() for k, v in model.state_dict().items()}
    table = torch.zeros(vocabulary, weights["token_embedding.weight"].shape[1], dtype=torch.float16)
    table[ids] = weights["token_embedding.weight"]
    weights["token_embedding.weight"] = table
    target = out / "open_clip_model.safetensors"
    partial = target.with_suffix(".partial")
    save_file(weights, partial)
    if partial.stat().st_size > _SIZE_LIMIT:
        raise SystemExit(f"{partial} has {partial.stat().st_size} bytes, more than {_SIZE_LIMIT}")
    partial.chmod(0o644)  # safetensors makes it private
    partial.replace(target)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the demo CLIP model.")
    parser.add_argument("pictures", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--config", type=Path, default=Path("src/clip/demo"), help="folder with open_clip_config.json")
    parser.add_argument("--out", type=Path, default=Path("src/clip/demo"))
    parser.add_argument("--steps", type=int, default=2600)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--warmup", type=int, default=200)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    arguments.run.mkdir(parents=True, exist_ok=True)
    pictures = Pictures(arguments.pictures)
    name = f"local-dir:{arguments.config}"
    model = open_clip.create_model(name, load_weights=False)
    tokens = CompactTokens(open_clip.get_tokenizer(name), pictures.texts())
    vocabulary, width = model.token_embedding.weight.shape
    model.token_embedding = nn.Embedding(len(tokens.ids), width)
    nn.init.normal_(model.token_embedding.weight, std=0.02)
    model = model.to(memory_format=torch.channels_last).train()
    print(f"{len(pictures)} pictures of {len(pictures.classes)} classes, {len(tokens.ids)} tokens in use", flush=True)

    size = int(model.visual.image_size)
    preprocess = model.visual.preprocess_cfg
    mean, std = (torch.tensor(preprocess[k]).view(3, 1, 1) for k in ("mean", "std"))
    optimizer = torch.optim.AdamW(parameter_groups(model, arguments.weight_decay), lr=arguments.lr, betas=(0.9, 0.98))
    checkpoint = arguments.run / "checkpoint.pt"
    first = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        first = saved["step"]
    started = time.monotonic()
    with (arguments.run / "log.jsonl").open("a") as log:
        for step in range(first, arguments.steps):
            warm = min(1.0, (step + 1) / arguments.warmup)
            rate = arguments.lr * warm * 0.5 * (1 + math.cos(math.pi * step / arguments.steps))
            for group in optimizer.param_groups:
                group["lr"] = rate
            # Everything random in a step comes from its number, so that a resumed run sees the same batches.
            random = np.random.default_rng([arguments.seed, step])
            generator = torch.Generator().manual_seed(int(random.integers(2**62)))
            batch = pictures.batch(arguments.batch, random, one_class=step % 2 == 1)
            views = (augmented(batch.views, size, generator) - mean) / std
            with torch.autocast("cpu", torch.bfloat16):
                seen = model.encode_image(views.contiguous(memory_format=torch.channels_last))
                read = encode_texts(model, tokens(batch.texts))
            read, seen = functional.normalize(read.float(), dim=-1), functional.normalize(seen.float(), dim=-1)
            logits = model.logit_scale.exp() * read @ seen.T
            of_texts = contrastive(logits, batch.true, batch.false)
            of_pictures = contrastive(logits.T, batch.true.T, batch.false.T)
            loss = (of_texts + of_pictures) / 2
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            with torch.no_grad():
                model.logit_scale.clamp_(0, math.log(100))
            if step % 50 < 2:
                row = {
                    "step": step,
                    "one_class": step % 2 == 1,
                    "loss": round(loss.item(), 4),
                    "scale": round(model.logit_scale.exp().item(), 2),
                    "seconds": round(time.monotonic() - started, 1),
                }
                log.write(json.dumps(row) + "\n")
                log.flush()
            if (step + 1) % 500 == 0 or step + 1 == arguments.steps:
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
                torch.save(state, checkpoint.with_suffix(".partial"))
                checkpoint.with_suffix(".partial").replace(checkpoint)
                arguments.out.mkdir(parents=True, exist_ok=True)
                store(model, tokens.ids, vocabulary, arguments.out)


if __name__ == "__main__":
    main()
