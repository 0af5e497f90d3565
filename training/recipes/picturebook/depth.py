"""Recipe: the embedded depth model (DPT in miniature), relative inverse depth, larger = nearer.

Its trunk starts from the embedded detector. Judged by the order of object pairs against the mean
depth map, and by delta1; a Pearson correlation would flatter any model that knows only that the
ground is nearer at the bottom.

    python -m training.recipes.picturebook.depth --trunk OWL_VIT --out RUN --export DIR
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from grand_pipeline.picturebook.render import render
from training.recipes.picturebook import recipe
from training.recipes.picturebook.depth_scores import depth_scores
from training.recipes.picturebook.pool import SLOTS, Pool, order
from training.recipes.picturebook.recipe import Phase, Recipe
from training.recipes.picturebook.scenes import CLIP_MEAN, CLIP_STD, HALF, TRAIN_SEED, pixels
from training.recipes.picturebook.state import Schedule
from training.recipes.picturebook.trunk import load_tower

if TYPE_CHECKING:
    from transformers import DPTForDepthEstimation, DPTImageProcessorPil

FARTHEST = 0.02  # added before logarithms: below it, all is "far away"


@dataclass(frozen=True)
class Variant:
    """Size of the model: input side, trunk width, layers and heads, width of the fusion."""

    size: int = 224
    width: int = 192
    layers: int = 4
    heads: int = 3
    fusion: int = 32


SHIPPED = Variant()
SCENES = 8_000  # of the pool that is read in epochs


@dataclass(frozen=True)
class Batch:
    """Pixels (B, 3, S, S), true depth and weight of every pixel (B, 256, 256)."""

    pixels: Tensor
    depth: Tensor
    weight: Tensor


def build(variant: Variant) -> DPTForDepthEstimation:
    """A freshly initialised model whose last ReLU starts open."""
    from transformers import DPTConfig, DPTForDepthEstimation

    last = variant.layers - 1
    config = DPTConfig(
        hidden_size=variant.width,
        num_hidden_layers=variant.layers,
        num_attention_heads=variant.heads,
        intermediate_size=4 * variant.width,
        image_size=variant.size,
        patch_size=16,
        backbone_out_indices=[max(0, last - 3), max(0, last - 2), max(0, last - 1), last],
        neck_hidden_sizes=[
            variant.fusion // 2,
            variant.fusion,
            2 * variant.fusion,
            2 * variant.fusion,
        ],
        fusion_hidden_size=variant.fusion,
        # Half of the usual factors: a map of about half the input side, at a third of the cost.
        reassemble_factors=[2, 1, 0.5, 0.25],
        readout_type="ignore",
        use_auxiliary_head=False,
        layer_norm_eps=1e-5,
    )
    config._attn_implementation = "eager"
    model = DPTForDepthEstimation(config)
    final = model.head.head[4]
    nn.init.normal_(final.weight, std=0.02)
    nn.init.constant_(final.bias, 0.4)
    nn.init.normal_(model.dpt.embeddings.position_embeddings, std=0.02)
    return model


_LAYER = {
    "self_attn.q_proj": "attention.attention.query",
    "self_attn.k_proj": "attention.attention.key",
    "self_attn.v_proj": "attention.attention.value",
    "self_attn.out_proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
    "layer_norm1": "layernorm_before",
    "layer_norm2": "layernorm_after",
}


def start_from_detector(model: DPTForDepthEstimation, folder: Path) -> None:
    """Copy the vision tower of an exported detector into the trunk.

    OWL-ViT normalises after the embedding and DPT does not, so the norm's gain and the mean
    spread of the embedding are folded into patch weights and positions: close, not equal.
    """
    own = model.state_dict()
    tower = load_tower(folder)
    for layer in range(model.config.num_hidden_layers):
        for theirs, ours in _LAYER.items():
            for part in ("weight", "bias"):
                source = tower[f"encoder.layers.{layer}.{theirs}.{part}"]
                own[f"dpt.encoder.layer.{layer}.{ours}.{part}"].copy_(source)
    gain, shift = tower["pre_layernorm.weight"], tower["pre_layernorm.bias"]
    patches = tower["embeddings.patch_embedding.weight"]
    positions = tower["embeddings.position_embedding.weight"]
    # The spread that an embedded picture has on average: patches of unit-variance noise are a
    # poor picture, so take it from real scenes.
    seen = pixels([render(TRAIN_SEED, i).image for i in range(8)], model.config.image_size)
    embedded = F.conv2d(seen, patches, stride=16).flatten(2).mT + positions[1:]
    spread = gain / embedded.std(-1).mean()
    # Same bytes, other constants: x = (p - m) / s becomes (p - 0.5) / 0.5.
    mean, std = torch.tensor(CLIP_MEAN), torch.tensor(CLIP_STD)
    scaled = patches * (0.5 / std)[None, :, None, None]
    offset = (patches.sum((2, 3)) * ((0.5 - mean) / std)).sum(1)
    target = own["dpt.embeddings.patch_embeddings.projection.weight"]
    target.copy_(scaled * spread[:, None, None, None])
    own["dpt.embeddings.patch_embeddings.projection.bias"].copy_(
        (offset - embedded.mean()) * spread + shift
    )
    token = tower["embeddings.class_embedding"]
    own["dpt.embeddings.position_embeddings"].copy_((positions * spread)[None])
    own["dpt.embeddings.cls_token"].copy_((token * spread + shift)[None, None])
    model.load_state_dict(own)


def make_batch(
    pool: Pool, rows: Sequence[int], variant: Variant, rng: np.random.Generator
) -> Batch:
    """Scenes of the pool, half of them mirrored; things weigh more than their surroundings."""
    data = pool.take(rows)
    seen = pixels(data.images, variant.size, mean=HALF, std=HALF)
    depth = torch.from_numpy(data.depth.astype(np.float32))
    slots = np.minimum(data.ids, SLOTS - 1)
    things = data.colors[np.arange(len(rows))[:, None, None], slots] >= 0
    weight = 1.0 + 2.0 * torch.from_numpy(things).float()
    flip = torch.from_numpy(rng.random(len(rows)) < 0.5)
    turned = [
        torch.where(flip.view(-1, *[1] * (x.ndim - 1)), x.flip(-1), x)
        for x in (seen, depth, weight)
    ]
    return Batch(*turned)


def _signed(model: nn.Module, pixels: Tensor) -> Tensor:
    """The prediction without its last ReLU, which has no gradient where the sky went below 0."""
    before: list[Tensor] = []
    layer = model.get_submodule("head.head.4")
    hook = layer.register_forward_hook(lambda _module, _inputs, output: before.append(output))
    try:
        model(pixel_values=pixels)
    finally:
        hook.remove()
    return before[0][:, 0].float()


def depth_loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Weighted L1 of the depth and of its logarithm, and L1 of its gradients."""
    found = _signed(model, batch.pixels)
    truth, weight = (
        F.interpolate(x[:, None], found.shape[-2:], mode="nearest")[:, 0]
        for x in (batch.depth, batch.weight)
    )
    error = found - truth
    weight = weight / weight.mean()
    plain = (error.abs() * weight).mean()
    ratio = torch.log(found.clamp(min=1e-3) + FARTHEST) - torch.log(truth + FARTHEST)
    log = (ratio.abs() * weight).mean()
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return {"loss": plain + 0.1 * log + 0.5 * edges, "l1": plain, "log": log, "edges": edges}


def processor_of(variant: Variant) -> DPTImageProcessorPil:
    """Resize to the square and normalise, as in training."""
    from transformers import DPTImageProcessorPil

    return DPTImageProcessorPil(
        size={"height": variant.size, "width": variant.size},
        keep_aspect_ratio=False,
        ensure_multiple_of=1,
        image_mean=list(HALF),
        image_std=list(HALF),
        resample=3,
    )


@cache
def _pool(run: Path) -> Pool:
    return Pool(run / "scenes", SCENES)


def make_recipe(variant: Variant, phases: tuple[Phase, ...]) -> Recipe:
    """The recipe of the depth model."""

    def model(phase: Phase) -> DPTForDepthEstimation:
        made: DPTForDepthEstimation = build(variant)
        return made.to(memory_format=torch.channels_last)  # twice as fast on a CPU

    def batch(step: int, phase: Phase, run: Path) -> Batch:
        seed = phase.schedule.seed
        rows = order(step, phase.schedule.batch_size, SCENES, seed)
        return make_batch(_pool(run), rows.tolist(), variant, np.random.default_rng([seed, step]))

    return Recipe(
        name="depth",
        module="depth",
        phases=phases,
        model=model,
        batch=batch,
        loss=depth_loss,
        exported=lambda trained: trained,
        processor=lambda: processor_of(variant),
        score=depth_scores,
        start=start_from_detector,
        eval_every=500,
    )


RECIPE = make_recipe(SHIPPED, (Phase("all", Schedule(3700, 12, 1e-3, seed=3)),))


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    recipe.main((RECIPE,), __doc__ or "", arguments)


if __name__ == "__main__":
    main()
