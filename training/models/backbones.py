"""Tiny pretrained backbones, so that tiny recipes begin as full ones do: from a Swin and a BERT.

Both learn from rendered picture-book scenes of a series of their own: the Swin to name class and
colour of what is under each of its patches, and the box of it, the BERT to guess masked words of
captions. A backbone is a folder that `from_pretrained` loads; it is made once per configuration
and kept in a cache under the hash of all that went into it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig, BertForMaskedLM, BertTokenizer, SwinConfig

from grand_pipeline.picturebook.language import caption
from grand_pipeline.picturebook.render import render
from training import loop, optim
from training.checkpoint import replace_folder
from training.data.order import Position
from training.models.xvlm.network import swin
from training.recipes.picturebook.captioner import build_tokenizer
from training.recipes.picturebook.pool import Pool, order
from training.recipes.picturebook.scenes import SIDE, TRAIN_SEED, pixels
from training.recipes.picturebook.text import COLOR_NAMES, NAMES
from training.state import Loop, Loss

VERSION = 2
"""Raised when the making of a backbone changes, so that cached ones are not used any more."""

Save = Callable[[Path], None]
_MASKED = 0.15
_COLOR_WEIGHT, _BOX_WEIGHT = 0.5, 2.0


@dataclass(frozen=True)
class Budget:
    """Optimizer steps, pictures or captions per step, the rate, and how many scenes there are."""

    steps: int
    batch_size: int
    lr: float
    scenes: int = 2000
    seed: int = 0


def cache() -> Path:
    """Where backbones are kept: `grand/backbones` in XDG_CACHE_HOME, else in ~/.cache."""
    root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(root).expanduser() / "grand" / "backbones"


def swin_folder(config: SwinConfig, budget: Budget, folder: Path | None = None) -> Path:
    """A folder with a Swin of `config`, made now or before (in `folder`, default the cache)."""
    return _kept("swin", config.to_diff_dict(), budget, folder, partial(_train_swin, config))


def bert_folder(config: BertConfig, budget: Budget, folder: Path | None = None) -> Path:
    """The same for a BERT with its tokenizer, whose words are those of the picture book."""
    return _kept("bert", config.to_diff_dict(), budget, folder, partial(_train_bert, config))


def vocabulary() -> int:
    """Tokens that the tiny BERT knows."""
    return len(build_tokenizer())


def _kept(
    kind: str,
    config: dict[str, Any],
    budget: Budget,
    folder: Path | None,
    train: Callable[[Budget, Path], Save],
) -> Path:
    """The folder of a backbone; where it is not there yet, it is trained."""
    asked = {k: v for k, v in config.items() if k != "transformers_version"}
    facts = json.dumps([kind, VERSION, asked, asdict(budget)], sort_keys=True, default=str)
    place = (folder or cache()) / f"{kind}-{hashlib.sha256(facts.encode()).hexdigest()[:16]}"
    if not (place / "config.json").is_file():
        print(f"training the tiny {kind} that this recipe starts from, once, into {place}")
        work = place.with_name(f"{place.name}.training")
        replace_folder(place, train(budget, work))
        shutil.rmtree(work)
    return place


class _Tagger(nn.Module):
    """A Swin that names class, colour and box of what is under each of its patches.

    Nothing else would keep places and extents in its states, and boxes are read from those.
    """

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        self.swin = swin(config)
        self.classes = nn.Linear(config.hidden_size, len(NAMES))
        self.colors = nn.Linear(config.hidden_size, len(COLOR_NAMES))
        self.boxes = nn.Linear(config.hidden_size, 4)


@dataclass(frozen=True)
class _Scenes:
    """Pictures (B, 3, S, S); class and colour per patch (B, T), -1 where there is none, and the box
    (B, T, 4) cxcywh in fractions of the picture."""

    pixels: Tensor
    classes: Tensor
    colors: Tensor
    boxes: Tensor


def _train_swin(config: SwinConfig, budget: Budget, work: Path) -> Save:
    torch.manual_seed(budget.seed)
    model = _Tagger(config)
    grid = config.image_size // (config.patch_size << (len(config.depths) - 1))
    pool = Pool(work / "scenes", budget.scenes, seed=TRAIN_SEED)

    def make(step: int) -> _Scenes:
        chosen = order(step, budget.batch_size, budget.scenes, budget.seed)
        return _scenes(pool, chosen.tolist(), config.image_size, grid, step)

    _fit(model, make, _named, budget, work)
    return partial(model.swin.save_pretrained)


def _scenes(pool: Pool, chosen: list[int], side: int, grid: int, step: int) -> _Scenes:
    """Half of the pictures mirrored; of each patch one point says what is under it."""
    rng = np.random.default_rng([TRAIN_SEED, step])
    data = pool.take(chosen)
    points = (np.arange(grid) * SIDE + int(rng.integers(SIDE))) // grid
    slots = data.ids[:, points][:, :, points].reshape(len(chosen), -1).astype(np.int64)
    known = slots < data.classes.shape[1]
    slots = np.where(known, slots, 0)
    classes = np.where(known, np.take_along_axis(data.classes, slots, 1), -1)
    colors = np.where(known, np.take_along_axis(data.colors, slots, 1), -1)
    corners = np.take_along_axis(data.boxes, slots[..., None], 1) / SIDE
    low, high = corners[..., :2], corners[..., 2:]
    boxes = torch.from_numpy(np.concatenate([(low + high) / 2, high - low], -1).astype(np.float32))
    mirrored = torch.from_numpy(rng.random(len(chosen)) < 0.5)
    shown = pixels(data.images, side)
    return _Scenes(
        torch.where(mirrored[:, None, None, None], shown.flip(3), shown),
        _mirrored(torch.from_numpy(classes), mirrored, grid),
        _mirrored(torch.from_numpy(colors), mirrored, grid),
        _mirrored(torch.cat([_turned(boxes, mirrored), boxes[..., 1:]], -1), mirrored, grid),
    )


def _turned(boxes: Tensor, which: Tensor) -> Tensor:
    """Centres (B, T, 1) along the width, in pictures some of which are mirrored."""
    return torch.where(which[:, None, None], 1 - boxes[..., :1], boxes[..., :1])


def _mirrored(patches: Tensor, which: Tensor, grid: int) -> Tensor:
    """What belongs to patches (B, T, ...), in pictures some of which are mirrored."""
    turned = patches.reshape(len(patches), grid, grid, -1).flip(2).reshape(patches.shape)
    return torch.where(which.reshape(-1, *(1,) * (patches.ndim - 1)), turned, patches)


def _named(model: nn.Module, batch: Any) -> dict[str, Tensor]:
    tagger: Any = model
    states = tagger.swin(pixel_values=batch.pixels).last_hidden_state
    terms = {
        name: F.cross_entropy(head(states).flatten(0, 1), truth.flatten(), ignore_index=-1)
        for name, head, truth in (
            ("classes", tagger.classes, batch.classes),
            ("colors", tagger.colors, batch.colors),
        )
    }
    held = (batch.classes >= 0)[..., None]
    apart = (tagger.boxes(states) - batch.boxes).abs() * held
    terms["boxes"] = apart.sum() / (4 * held.sum()).clamp(min=1)
    loss = terms["classes"] + _COLOR_WEIGHT * terms["colors"] + _BOX_WEIGHT * terms["boxes"]
    return {"loss": loss, **terms}


@dataclass(frozen=True)
class _Captions:
    """Tokens (B, L) with some masked, their mask, and labels, -100 where nothing is masked."""

    tokens: Tensor
    mask: Tensor
    labels: Tensor


def _train_bert(config: BertConfig, budget: Budget, work: Path) -> Save:
    torch.manual_seed(budget.seed)
    model, tokenizer = BertForMaskedLM(config), build_tokenizer()
    scenes = [render(TRAIN_SEED, index) for index in range(min(budget.scenes, 500))]

    def make(step: int) -> _Captions:
        rng = np.random.default_rng([TRAIN_SEED, 1, step])
        chosen = rng.integers(len(scenes), size=budget.batch_size)
        return _captions([caption(scenes[i], rng).text for i in chosen], tokenizer, rng)

    _fit(model, make, _guessed, budget, work)

    def save(out: Path) -> None:
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)

    return save


def _captions(texts: list[str], tokenizer: BertTokenizer, rng: np.random.Generator) -> _Captions:
    made = tokenizer(texts, padding=True, return_tensors="pt")
    tokens, mask = made["input_ids"], made["attention_mask"]
    special = torch.isin(tokens, torch.tensor(tokenizer.all_special_ids))
    chosen = torch.from_numpy(rng.random(tuple(tokens.shape)) < _MASKED) & ~special
    labels = torch.where(chosen, tokens, -100)
    return _Captions(tokens.masked_fill(chosen, tokenizer.mask_token_id), mask, labels)


def _guessed(model: nn.Module, batch: Any) -> dict[str, Tensor]:
    guess: Any = model(input_ids=batch.tokens, attention_mask=batch.mask, labels=batch.labels)
    return {"loss": guess.loss}


def _fit(
    model: nn.Module,
    make: Callable[[int], Any],
    loss: Loss,
    budget: Budget,
    work: Path,
) -> None:
    """Train; the position in the data is the number of the step."""

    def data(begun: Position) -> Iterator[tuple[Position, Any]]:
        for step in range(begun.index, budget.steps):
            yield Position(0, step + 1), make(step)

    loop.fit(
        model,
        data,
        loss,
        Loop(budget.steps, seed=budget.seed, log_every=50, bf16=False),
        optim.AdamW(budget.lr, warmup=min(50, budget.steps), weight_decay=0.05),
        work,
        start=Position(),
        batch_size=budget.batch_size,
    )
