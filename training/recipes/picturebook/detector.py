"""Recipe: the embedded open-vocabulary detectors (OWL-ViT in miniature).

Every patch token answers every query of the batch. A token belongs to the object that it shows
best; its target score is high in the middle of the object, and only such tokens learn the box.
An auxiliary linear head (class and colour of each patch), thrown away at export, speeds up the
first epochs. Run `python -m training.recipes.picturebook.detector --help`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.recipes.picturebook import common
from training.recipes.picturebook.batches import Batch, View, make_batch
from training.recipes.picturebook.common import Pool
from training.recipes.picturebook.fit import Schedule, fit, restore, saved_schedule
from training.recipes.picturebook.scores import detector_scores
from training.recipes.picturebook.text import COLOR_NAMES, MAX_LENGTH, NAMES, build_tokenizer

if TYPE_CHECKING:
    from transformers import OwlViTForObjectDetection, OwlViTProcessor


@dataclass(frozen=True)
class Variant:
    """A detector: input side in pixels, width and depth of its towers, and how it is trained."""

    view: View
    width: int = 192
    layers: int = 6
    heads: int = 3
    text_width: int = 128
    text_layers: int = 2
    folder: str = "owl_vit"
    seed: int = 1


VARIANTS = {
    "a": Variant(View(224, jitter=0.1, zoom=0.3)),
    "b": Variant(View(192, jitter=0.25, zoom=0.5), layers=4, folder="owl_vit_small", seed=2),
    "tiny": Variant(View(64), width=32, layers=1, heads=1, text_width=32, text_layers=1),
}


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
    sums = weight.new_zeros(len(weight), common.SLOTS).scatter_add(1, owner, weight)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", choices=sorted(VARIANTS), default="a")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument(
        "--cache", type=Path, help="folder of rendered scenes (default: OUT/scenes)"
    )
    parser.add_argument("--pool", type=int, default=16_000, help="number of training scenes")
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--batch-size", type=int, default=24)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--eval-every", type=int, default=1000)
    parser.add_argument("--init", type=Path, help="run of a detector that gives the text tower")
    parser.add_argument("--to", type=Path, help="folder of the checkpoint")
    parser.add_argument("--export-now", action="store_true", help="export the last saved state")
    parser.add_argument("--score-scenes", type=int, default=200, help="unseen scenes of the scores")
    return parser


def main(arguments: list[str] | None = None) -> None:
    """Train, or go on training, and export."""
    given = _parser().parse_args(arguments)
    common.one_thread()
    variant = VARIANTS[given.variant]
    schedule = Schedule(
        given.steps, given.batch_size, given.lr, seed=variant.seed, minutes=given.minutes
    )
    torch.manual_seed(variant.seed)
    model = Detector(variant)
    to = given.to or common.CHECKPOINTS / variant.folder
    if not given.export_now:
        if given.init:
            common.load_text_tower(model, given.init)
        pool = Pool(given.cache or given.out / "scenes", given.pool)

        def batch(step: int) -> Batch:
            rows = common.order(step, given.batch_size, given.pool, variant.seed)
            rng = np.random.default_rng([variant.seed, step])
            return make_batch(pool.take(rows.tolist()), variant.view, rng)

        def evaluate(trained: nn.Module) -> dict[str, float]:
            assert isinstance(trained, Detector)
            return detector_scores(trained.owl, variant.view.size, count=60)

        scoring = {"evaluate": evaluate, "eval_every": given.eval_every, "save_every": 250}
        fit(model, batch, detector_loss, schedule, given.out, **scoring)
    progress = restore(model, given.out)
    model.eval()
    command = f"detector --variant {given.variant}" + (" --init DETECTOR_RUN" if given.init else "")
    scores = detector_scores(model.owl, variant.view.size, count=given.score_scenes)
    card = common.record(command, saved_schedule(given.out), progress, scores)
    common.export_model(model.owl, processor_of(variant), to, card)
    print(f"exported to {to.name}: {scores}", flush=True)


if __name__ == "__main__":
    main()
