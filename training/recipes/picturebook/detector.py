"""Recipe: the embedded open-vocabulary detectors (OWL-ViT in miniature).

Every patch token answers every query of the batch. A token belongs to the object that it shows
best; its target score is high in the middle of the object, and only such tokens learn the box.
An auxiliary linear head (class and colour of each patch), thrown away at export, speeds up the
first epochs. The second detector takes over the words of the first, and sees on its own.

    python -m training.recipes.picturebook.detector owl_vit --out RUN --export DIR
    python -m training.recipes.picturebook.detector owl_vit_small --trunk OWL_VIT --out ...
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.recipes.picturebook import recipe
from training.recipes.picturebook.batches import Batch, View, make_batch
from training.recipes.picturebook.pool import SLOTS, Pool, order
from training.recipes.picturebook.recipe import Phase, Recipe
from training.recipes.picturebook.scores import detector_scores
from training.recipes.picturebook.state import Schedule
from training.recipes.picturebook.text import COLOR_NAMES, MAX_LENGTH, NAMES, build_tokenizer
from training.recipes.picturebook.trunk import load_text

if TYPE_CHECKING:
    from transformers import OwlViTForObjectDetection, OwlViTProcessor


@dataclass(frozen=True)
class Variant:
    """A detector: what it sees, width and depth of its towers."""

    view: View
    width: int = 192
    layers: int = 6
    heads: int = 3
    text_width: int = 128
    text_layers: int = 2


LARGE = Variant(View(224, jitter=0.1, zoom=0.3))
SMALL = Variant(View(192, jitter=0.25, zoom=0.5), layers=4)
SCENES = 16_000  # of the pool that is read in epochs


class Detector(nn.Module):
    """OWL-ViT and the auxiliary patch classifier of the training."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.owl = build_owl(variant)
        self.auxiliary = nn.Linear(variant.width, len(NAMES) + len(COLOR_NAMES) + 1)

    def forward(self, pixels: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (B, T, U), box logits cxcywh (B, T, 4), auxiliary logits (B, T, classes)."""
        mask = (tokens != 0).long()
        text = self.owl.owlvit.get_text_features(input_ids=tokens, attention_mask=mask)
        grid, _ = self.owl.image_embedder(pixel_values=pixels)
        auxiliary = self.auxiliary(grid.flatten(1, 2))
        with torch.autocast(pixels.device.type, enabled=False):  # heads need the precision
            image = grid.flatten(1, 2).float()
            query = text.pooler_output.float().expand(len(image), -1, -1)
            logits, _ = self.owl.class_head(image, query, None)
            boxes = self.owl.box_head(image) + self.owl.box_bias
        return logits, boxes, auxiliary


def build_owl(variant: Variant) -> OwlViTForObjectDetection:
    """A freshly initialised model whose heads start in their linear range."""
    from transformers import OwlViTConfig, OwlViTForObjectDetection

    tokenizer = build_tokenizer()
    config = OwlViTConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": variant.text_width,
            "intermediate_size": 4 * variant.text_width,
            "num_hidden_layers": variant.text_layers,
            "num_attention_heads": max(1, variant.text_width // 32),
            "max_position_embeddings": MAX_LENGTH,
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        },
        vision_config={
            "hidden_size": variant.width,
            "intermediate_size": 4 * variant.width,
            "num_hidden_layers": variant.layers,
            "num_attention_heads": variant.heads,
            "image_size": variant.view.size,
            "patch_size": variant.view.patch,
            "hidden_act": "gelu",
        },
        projection_dim=variant.text_width,
    )
    # Plain attention trains faster than the fused CPU kernel at 256 tokens; loading is free to
    # choose another.
    config._attn_implementation = "eager"
    model = OwlViTForObjectDetection(config)
    _start_heads(model)
    return model


def _start_heads(model: OwlViTForObjectDetection) -> None:
    for head in (model.class_head, model.box_head):
        for layer in head.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
                nn.init.zeros_(layer.bias)
    nn.init.normal_(model.box_head.dense2.weight, std=0.01)
    for layer in (model.class_head.logit_scale, model.class_head.logit_shift):
        nn.init.normal_(layer.weight, std=0.001)
    nn.init.constant_(model.class_head.logit_scale.bias, 9.0)
    nn.init.constant_(model.class_head.logit_shift.bias, -0.5)


def detector_loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Quality focal loss of the scores, L1 and GIoU of the boxes, patch cross-entropies."""
    logits, raw, auxiliary = model(batch.pixels, batch.tokens)
    with torch.autocast(batch.pixels.device.type, enabled=False):
        answers = batch.matched.gather(
            1, batch.owner[..., None].expand(-1, -1, batch.matched.shape[-1])
        )
        target = batch.weight[..., None] * answers
        error = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        focus = (target - logits.sigmoid()).detach() ** 2
        scores = (error * focus).sum() / target.sum().clamp(min=1)
        wanted = batch.boxes.gather(1, batch.owner[..., None].expand(-1, -1, 4))
        weight = _balanced(batch.weight, batch.owner)
        total = weight.sum().clamp(min=1)
        boxes = raw.sigmoid()
        distance = ((boxes - wanted).abs().sum(-1) * weight).sum() / total
        # The box bias saturates at the right and lower edge; in logits it still has a gradient.
        far = (raw - torch.logit(wanted, 0.01)).abs().sum(-1)
        logit_distance = (far * weight).sum() / total
        overlap = ((1 - generalised_iou(boxes, wanted)) * weight).sum() / total
        patches = _patch_loss(auxiliary.float(), batch)
    loss = scores + 5 * distance + 2 * overlap + 0.1 * logit_distance + 0.5 * patches
    return {
        "loss": loss,
        "scores": scores,
        "l1": distance,
        "giou": overlap,
        "patches": patches,
    }


def _balanced(weight: Tensor, owner: Tensor) -> Tensor:
    """Token weights (B, T) scaled so that every object has the same total; weak claims are 0."""
    weight = torch.where(weight > 0.1, weight, 0.0)
    sums = weight.new_zeros(len(weight), SLOTS).scatter_add(1, owner, weight)
    return weight / sums.gather(1, owner).clamp(min=1e-3)


def _patch_loss(auxiliary: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy of the class and of the colour of each token's object."""
    classes = batch.classes.gather(1, batch.owner)
    colors = batch.colors.gather(1, batch.owner)
    names = len(NAMES)
    sums = F.cross_entropy(auxiliary[..., :names].flatten(0, 1), classes.flatten(), ignore_index=-1)
    colors = torch.where(colors < 0, len(COLOR_NAMES), colors)
    return sums + F.cross_entropy(auxiliary[..., names:].flatten(0, 1), colors.flatten())


def generalised_iou(a: Tensor, b: Tensor) -> Tensor:
    """GIoU (...) of boxes (..., 4) given as cxcywh."""
    a0, a1 = a[..., :2] - a[..., 2:] / 2, a[..., :2] + a[..., 2:] / 2
    b0, b1 = b[..., :2] - b[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2
    inter = (torch.minimum(a1, b1) - torch.maximum(a0, b0)).clamp(min=0).prod(-1)
    union = a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - inter
    hull = (torch.maximum(a1, b1) - torch.minimum(a0, b0)).clamp(min=0).prod(-1)
    union, hull = union.clamp(min=1e-6), hull.clamp(min=1e-6)
    return inter / union - (hull - union) / hull


def processor_of(variant: Variant) -> OwlViTProcessor:
    """Image processor (plain resize) and tokenizer as the model was trained."""
    from transformers import OwlViTImageProcessorPil, OwlViTProcessor

    side = variant.view.size
    images = OwlViTImageProcessorPil(size={"height": side, "width": side})
    return OwlViTProcessor(image_processor=images, tokenizer=build_tokenizer())


@cache
def _pool(run: Path) -> Pool:
    return Pool(run / "scenes", SCENES)


def batch(step: int, phase: Phase, run: Path, variant: Variant) -> Batch:
    """The scenes of a step, augmented, with queries and the truth of every token."""
    seed = phase.schedule.seed
    rows = order(step, phase.schedule.batch_size, SCENES, seed)
    rng = np.random.default_rng([seed, step])
    return make_batch(_pool(run).take(rows.tolist()), variant.view, rng)


def start_words(model: Detector, folder: Path) -> None:
    """Start from the text tower of an exported detector of the same text size."""
    model.owl.load_state_dict(load_text(folder), strict=False)


def make_recipe(
    name: str, variant: Variant, phases: tuple[Phase, ...], *, words: bool = False
) -> Recipe:
    """The recipe of one detector; with `words` its text tower starts from another's."""
    return Recipe(
        name=name,
        module=f"detector {name}",
        phases=phases,
        model=lambda phase: Detector(variant),
        batch=partial(batch, variant=variant),
        loss=detector_loss,
        exported=lambda model: model.owl,
        processor=lambda: processor_of(variant),
        score=lambda owl, count: detector_scores(owl, variant.view.size, count),
        start=start_words if words else None,
        eval_every=1000,
    )


RECIPES = (
    make_recipe(
        "owl_vit",
        LARGE,
        (
            Phase("first", Schedule(2400, 24, 1e-3, seed=1)),
            Phase("second", Schedule(2100, 24, 4e-4, seed=1)),
        ),
    ),
    make_recipe(
        "owl_vit_small",
        SMALL,
        (
            Phase("first", Schedule(3000, 24, 1.5e-3, seed=2)),
            Phase("second", Schedule(1300, 24, 5e-4, seed=2)),
        ),
        words=True,
    ),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    recipe.main(RECIPES, __doc__ or "", arguments)


if __name__ == "__main__":
    main()
