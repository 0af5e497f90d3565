"""Scores of a detector on unseen scenes: average precision and phrase accuracy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from grand_pipeline import geometry
from grand_pipeline.picturebook.scene import Scene
from grand_pipeline.picturebook.vocabulary import HELD_OUT, HYPERNYMS, THINGS
from training.recipes.picturebook.scenes import SIDE, eval_scenes, pixels
from training.recipes.picturebook.text import NAMES, Phrase, build_tokenizer, phrase

if TYPE_CHECKING:
    from transformers import OwlViTForObjectDetection

Detection = tuple[int, npt.NDArray[np.float32], float]
Found = list[Detection]
Truth = dict[int, npt.NDArray[np.float32]]


def hits(found: Sequence[Detection], truth: Truth, threshold: float = 0.5) -> npt.NDArray[np.bool_]:
    """Which detections of one class, best score first, find a true box of their own.

    Args:
        found: (image, box xyxy, score) of every detection.
        truth: true boxes (n, 4) by image.
        threshold: least IoU of a hit.
    """
    used = {image: np.zeros(len(boxes), bool) for image, boxes in truth.items()}
    right = np.zeros(len(found), bool)
    for place, (image, box, _) in enumerate(sorted(found, key=lambda f: -f[2])):
        boxes = truth.get(image)
        if boxes is None or not len(boxes):
            continue
        overlap = np.where(used[image], 0.0, geometry.iou(box[None], boxes)[0])
        best = int(overlap.argmax())
        if overlap[best] >= threshold:
            right[place], used[image][best] = True, True
    return right


def average_precision(found: Sequence[Detection], truth: Truth) -> float:
    """Area under the interpolated precision-recall curve of one class at IoU 0.5."""
    total = sum(len(boxes) for boxes in truth.values())
    if not total or not len(found):
        return 0.0
    found_so_far = np.cumsum(hits(found, truth))
    recall = found_so_far / total
    precision = found_so_far / np.arange(1, len(found) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * envelope))


@torch.no_grad()
def predict(
    model: OwlViTForObjectDetection, scenes: Sequence[Scene], phrases: Sequence[Phrase], size: int
) -> list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
    """Per scene: boxes (T, 4) xyxy pixels and scores (T, U) of all phrases."""
    tokens = build_tokenizer()([p.text for p in phrases], padding=True, return_tensors="pt")
    text = model.owlvit.get_text_features(**tokens).pooler_output
    results = []
    for scene in scenes:
        grid, _ = model.image_embedder(pixel_values=pixels([scene.image], size))
        image = grid.flatten(1, 2)
        logits, _ = model.class_head(image, text[None], None)
        boxes: Tensor = (model.box_head(image) + model.box_bias).sigmoid()[0] * SIDE
        corners = torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
        results.append((corners.clamp(0, SIDE).numpy(), logits[0].sigmoid().numpy()))
    return results


def detector_scores(
    model: OwlViTForObjectDetection, size: int, count: int, *, least: float = 0.03
) -> dict[str, float]:
    """AP50 of class names and of hypernyms, and accuracy of '<colour> <class>' phrases.

    Phrase accuracy: the best box of a phrase has IoU >= 0.5 with an object that it names; also
    over the held-out pairs, on scenes that hold them.
    """
    scenes, unseen = eval_scenes(count), eval_scenes(count, held_out=True)
    names = [phrase(n, None, 0) for n in (*NAMES, *HYPERNYMS)]
    found: dict[str, Found] = defaultdict(list)
    truth: dict[str, Truth] = defaultdict(dict)
    for index, (scene, (boxes, scores)) in enumerate(
        zip(scenes, predict(model, scenes, names, size), strict=True)
    ):
        for column, query in enumerate(names):
            rows = np.flatnonzero(scores[:, column] > least)
            kept = rows[geometry.nms(boxes[rows], scores[rows, column], 0.5)]
            found[query.text] += [(index, boxes[r], float(scores[r, column])) for r in kept]
            true = [o.box for o in scene.objects if query.classes[NAMES.index(o.name)]]
            truth[query.text][index] = geometry.as_boxes(true)
    threshold, f1 = _best_threshold(found, truth)
    ap = {q.text: average_precision(found[q.text], truth[q.text]) for q in names}
    return {
        "ap50": float(np.mean([ap[n] for n in NAMES])),
        "ap50_things": float(np.mean([ap[n] for n in THINGS])),
        "ap50_stuff": float(np.mean([ap[n] for n in NAMES if n not in THINGS])),
        "ap50_hypernyms": float(np.mean([ap[n] for n in HYPERNYMS])),
        "f1": f1,
        "f1_threshold": threshold,
        "phrases": _phrase_accuracy(model, scenes, size, held_out=False),
        "phrases_held_out": _phrase_accuracy(model, unseen, size, held_out=True),
    }


def _best_threshold(found: dict[str, Found], truth: dict[str, Truth]) -> tuple[float, float]:
    """The score threshold with the best F1 over all class names together, and that F1."""
    scores = np.concatenate([sorted((-f[2] for f in found[n]), reverse=False) for n in NAMES])
    right = np.concatenate([hits(found[n], truth[n]) for n in NAMES])
    total = sum(len(boxes) for n in NAMES for boxes in truth[n].values())
    if not len(scores):
        return 1.0, 0.0
    order = np.argsort(scores, kind="stable")
    f1 = 2 * np.cumsum(right[order]) / (np.arange(1, len(order) + 1) + total)
    best = int(f1.argmax())
    return float(-scores[order][best]), float(f1[best])


def _phrase_accuracy(
    model: OwlViTForObjectDetection, scenes: Sequence[Scene], size: int, *, held_out: bool
) -> float:
    pairs = sorted({(o.name, o.color) for s in scenes for o in s.things if o.color})
    pairs = [p for p in pairs if (p in HELD_OUT) == held_out]
    queries = [phrase(name, color, 0) for name, color in pairs]
    hits: list[float] = []
    for scene, (boxes, scores) in zip(scenes, predict(model, scenes, queries, size), strict=True):
        for column, pair in enumerate(pairs):
            true = [o.box for o in scene.things if (o.name, o.color) == pair]
            if true:
                best = boxes[int(scores[:, column].argmax())]
                overlap = geometry.iou(best[None], geometry.as_boxes(true))
                hits.append(float(overlap.max() >= 0.5))
    return float(np.mean(hits)) if hits else 0.0
