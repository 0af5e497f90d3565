"""Score a SAM checkpoint on unseen picture-book scenes: box prompts and automatic masks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import SamModel, SamProcessor

from grand_pipeline.picturebook.scene import Scene
from training.recipes.picturebook.scenes import eval_scenes, jittered

Masks = npt.NDArray[np.bool_]


@torch.no_grad()
def score(model: SamModel, processor: SamProcessor, count: int) -> dict[str, float]:
    """Mean IoU of things and stuff by box prompt (exact, jittered), of box and ellipse, recall."""
    found: dict[str, list[float]] = {
        k: [] for k in ("things", "things_jittered", "stuff", "ellipse", "box", "auto")
    }
    for scene in eval_scenes(count):
        rng = np.random.default_rng(scene.index)
        pixels = processor(images=scene.image, return_tensors="pt")
        embedding = model.get_image_embeddings(pixels["pixel_values"])
        truth = np.stack([scene.ids == o.id for o in scene.objects])
        exact = by_box(model, processor, scene, embedding, [o.box for o in scene.objects])
        loose_boxes = [jittered(o, 0.06, rng) for o in scene.objects]
        loose = by_box(model, processor, scene, embedding, loose_boxes)
        auto = automatic(model, processor, scene, embedding)
        for i, obj in enumerate(scene.objects):
            if obj.kind == "stuff":
                found["stuff"].append(iou(exact[i], truth[i]))
                continue
            found["things"].append(iou(exact[i], truth[i]))
            found["things_jittered"].append(iou(loose[i], truth[i]))
            found["ellipse"].append(iou(_ellipse(obj.box, truth.shape[1]), truth[i]))
            found["box"].append(iou(_filled(obj.box, truth.shape[1]), truth[i]))
            found["auto"].append(float(any(iou(m, truth[i]) >= 0.5 for m in auto)))
    names = {"auto": "auto_recall50"}
    return {names.get(k, f"{k}_miou"): float(np.mean(v)) for k, v in found.items() if v}


def by_box(
    model: SamModel,
    processor: SamProcessor,
    scene: Scene,
    embedding: Tensor,
    boxes: list[tuple[float, float, float, float]],
) -> Masks:
    """One mask (N, H, W) per box."""
    inputs = processor(
        images=scene.image, input_boxes=[[list(b) for b in boxes]], return_tensors="pt"
    )
    out = model(
        input_boxes=inputs["input_boxes"].float(),
        image_embeddings=embedding,
        multimask_output=False,
    )
    return _full(processor, inputs, out.pred_masks)[:, 0]


def automatic(
    model: SamModel,
    processor: SamProcessor,
    scene: Scene,
    embedding: Tensor,
    *,
    side: int = 10,
    sure: float = 0.6,
) -> list[Masks]:
    """Masks from a grid of single points: predicted IoU >= `sure`, then greedy NMS at 0.7."""
    size = scene.ids.shape[0]
    at = (np.arange(side) + 0.5) * size / side
    grid = [[[float(x), float(y)]] for y in at for x in at]
    inputs = processor(images=scene.image, input_points=[grid], return_tensors="pt")
    out = model(
        input_points=inputs["input_points"].float(),
        input_labels=torch.ones(1, len(grid), 1, dtype=torch.int),
        image_embeddings=embedding,
    )
    scores = out.iou_scores[0].flatten()
    masks = out.pred_masks[0].flatten(0, 1)
    order = [int(i) for i in scores.argsort(descending=True) if scores[i] >= sure]
    small = (masks > 0).numpy()
    kept: list[int] = []
    for i in order:
        if small[i].any() and all(iou(small[i], small[j]) < 0.7 for j in kept):
            kept.append(i)
    if not kept:
        return []
    full = _full(processor, inputs, masks[kept][None, :, None])[:, 0]
    return list(full)


def _full(processor: SamProcessor, inputs: dict[str, Tensor], masks: Tensor) -> Masks:
    """Masks (N, K, H, W) at the size of the picture."""
    sizes = inputs["original_sizes"], inputs["reshaped_input_sizes"]
    full: Masks = processor.post_process_masks(masks, *sizes)[0].numpy()
    return full


def iou(a: Masks, b: Masks) -> float:
    """Intersection over union of two masks of one shape."""
    union = int((a | b).sum())
    return float((a & b).sum()) / union if union else 0.0


def _filled(box: tuple[float, float, float, float], size: int) -> Masks:
    x0, y0, x1, y1 = (round(v) for v in box)
    mask = np.zeros((size, size), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def _ellipse(box: tuple[float, float, float, float], size: int) -> Masks:
    x0, y0, x1, y1 = box
    y, x = np.mgrid[:size, :size] + 0.5
    across, down = (2 * x - x0 - x1) / (x1 - x0), (2 * y - y0 - y1) / (y1 - y0)
    mask: Masks = across**2 + down**2 <= 1
    return mask
