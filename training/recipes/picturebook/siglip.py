"""Train the two embedded SigLIP models: one reads crops of objects, one reads whole pictures.

    python -m training.recipes.picturebook.siglip siglip_crop --out RUN --export DIR
    python -m training.recipes.picturebook.siglip siglip_scene --trunk OWL_VIT --out ...

The first also tells kinds of place, from a whole picture seen small. Both are real `SiglipModel`s
in miniature. Truth is known exactly here, so instead of pairing each image with one caption every
image is compared with every prompt of the batch (sigmoid, as in SigLIP), and where prompts exclude
each other (classes, colours, landmarks) also by softmax.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel, SiglipProcessor
from transformers.models.siglip.configuration_siglip import SiglipTextConfig, SiglipVisionConfig

from training.recipes.picturebook import recipe
from training.recipes.picturebook.recipe import Phase, Recipe
from training.recipes.picturebook.siglip_batches import (
    CROP,
    SCENE,
    Batch,
    Shape,
    crop_batch,
    scene_batch,
)
from training.recipes.picturebook.siglip_scores import score_crops, score_scenes
from training.recipes.picturebook.state import Schedule
from training.recipes.picturebook.text import COLOR_NAMES, MAX_LENGTH, NAMES, build_tokenizer
from training.recipes.picturebook.trunk import Memo, load_tower, start_siglip


def build(shape: Shape) -> SiglipModel:
    """A tiny SiglipModel over the shared tokenizer."""
    tokenizer = build_tokenizer()
    config = SiglipConfig(
        vision_config=SiglipVisionConfig(
            hidden_size=shape.width,
            intermediate_size=shape.inner,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            hidden_act=shape.act,
            image_size=shape.size,
            patch_size=shape.patch,
        ),
        text_config=SiglipTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=96,
            intermediate_size=192,
            num_hidden_layers=2,
            num_attention_heads=3,
            max_position_embeddings=MAX_LENGTH,
            projection_size=shape.width,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        ),
    )
    model = SiglipModel(config)
    _sharpen(model)
    return model


@torch.no_grad()
def _sharpen(model: SiglipModel) -> None:
    """Start values of the logits' scale and bias.

    A picture answers several prompts at once, so its cosine with each stays near 1/3. A scale of
    10, the usual start, cannot tell that from 0, and it grows by a thousandth per step only.
    """
    model.logit_scale.fill_(float(np.log(30.0)))
    model.logit_bias.fill_(-6.0)


def processor(shape: Shape) -> SiglipProcessor:
    """The processor that belongs to `build(shape)`; prompts need padding="max_length"."""
    images = SiglipImageProcessorPil(
        size={"height": shape.size, "width": shape.size},
        image_mean=list(shape.mean),
        image_std=list(shape.std),
    )
    return SiglipProcessor(images, build_tokenizer())


class Student(nn.Module):
    """SigLIP with throw-away heads: class under every patch; class and colour of the picture.

    The towers alone learn shapes slowly, as long as neither knows what the other means.
    """

    def __init__(self, shape: Shape, *, frozen: bool = False) -> None:
        super().__init__()
        self.siglip = build(shape)
        self.patch_head = nn.Linear(shape.width, len(NAMES))
        self.head = nn.Linear(shape.width, len(NAMES) + len(COLOR_NAMES))
        self.memo = Memo() if frozen else None
        if frozen:
            self.siglip.vision_model.requires_grad_(False)
            self.siglip.vision_model.head.requires_grad_(True)

    def see(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Patch features (N, T, D) and pooled features (N, D)."""
        vision = self.siglip.vision_model
        if self.memo is None:
            out = vision(pixel_values=batch.pixels)
            return out.last_hidden_state, out.pooler_output
        tokens = self.memo(self._encode, batch.pixels, batch.indices)
        return tokens, vision.head(tokens)

    def _encode(self, pixels: Tensor) -> Tensor:
        seen: Tensor = self.siglip.vision_model(pixel_values=pixels).last_hidden_state
        return seen


def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Sigmoid loss of all pairs, softmax losses of the groups, and the heads' losses."""
    assert isinstance(model, Student)
    tokens, pooled = model.see(batch)
    siglip, asked = model.siglip, ~batch.truth.isnan()
    truth = batch.truth.nan_to_num()
    words = siglip.get_text_features(batch.prompts, attention_mask=batch.mask).pooler_output
    logits = F.normalize(pooled.float(), dim=-1) @ F.normalize(words.float(), dim=-1).T
    logits = logits * siglip.logit_scale.exp() + siglip.logit_bias
    pairs = F.binary_cross_entropy_with_logits(logits, truth, weight=asked.float(), reduction="sum")
    cells = model.patch_head(tokens).float().flatten(0, 1)
    patches = F.cross_entropy(cells, batch.patches.flatten())
    terms = {"pairs": pairs / len(truth) / 8, "patches": patches}
    if batch.groups:
        first, *others = (_softmax_loss(logits[:, g], truth[:, g]) for g in batch.groups)
        terms["groups"] = first + torch.stack(others).mean()
    if batch.labels is not None:
        classes, colors = torch.split(
            model.head(pooled).float(), [len(NAMES), len(COLOR_NAMES)], dim=1
        )
        terms["labels"] = F.cross_entropy(classes, batch.labels[:, 0], ignore_index=-1)
        terms["labels"] = terms["labels"] + F.cross_entropy(
            colors, batch.labels[:, 1], ignore_index=-1
        )
    return {"loss": torch.stack(list(terms.values())).sum(), **terms}


def _softmax_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross entropy over the images that have one true prompt in the group."""
    has = truth.sum(1) == 1
    if not has.any():
        return logits.sum() * 0.0
    return F.cross_entropy(logits[has], truth[has].argmax(1))


def start_tower(student: Student, folder: Path) -> None:
    """Start from the vision tower of an exported detector."""
    sample = scene_batch(0, 24).pixels
    start_siglip(student.siglip.vision_model, load_tower(folder), sample)


def crops(step: int, phase: Phase, run: Path) -> Batch:
    """Crops of a step."""
    return crop_batch(step, phase.schedule.batch_size)


def pictures(step: int, phase: Phase, run: Path) -> Batch:
    """Whole pictures of a step."""
    return scene_batch(step, phase.schedule.batch_size)


_schedule = partial(Schedule, ema=0.997)
RECIPES = (
    Recipe(
        name="siglip_crop",
        module="siglip siglip_crop",
        phases=(
            Phase("first", _schedule(580, 64, 1.5e-3)),
            Phase("second", _schedule(580, 64, 1e-3)),
            Phase("third", _schedule(1700, 64, 7e-4)),
        ),
        model=lambda phase: Student(CROP),
        batch=crops,
        loss=loss,
        exported=lambda student: student.siglip,
        processor=lambda: processor(CROP),
        score=lambda siglip, count: score_crops(siglip, processor(CROP), count),
        cases=150,
    ),
    Recipe(
        name="siglip_scene",
        module="siglip siglip_scene",
        phases=(
            Phase("words", _schedule(750, 24, 1e-3), frozen=True),
            Phase("joint", _schedule(750, 24, 1e-3)),
        ),
        model=lambda phase: Student(SCENE, frozen=phase.frozen),
        batch=pictures,
        loss=loss,
        exported=lambda student: student.siglip,
        processor=lambda: processor(SCENE),
        score=lambda siglip, count: score_scenes(siglip, processor(SCENE), count),
        start=start_tower,
        cases=150,
    ),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    recipe.main(RECIPES, __doc__ or "", arguments)


if __name__ == "__main__":
    main()
