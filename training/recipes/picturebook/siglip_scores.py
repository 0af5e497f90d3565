"""Score the SigLIP checkpoints on unseen scenes, through their processors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import SiglipModel, SiglipProcessor

from grand_pipeline.picturebook.scene import Scene
from grand_pipeline.picturebook.vocabulary import COLORS, HELD_OUT, SCENES, STUFF, THINGS
from training.recipes.picturebook.scenes import eval_scenes, jittered
from training.recipes.picturebook.siglip_batches import CATEGORIES, FINE

Rgb = npt.NDArray[np.uint8]


def score_crops(model: SiglipModel, processor: SiglipProcessor, count: int) -> dict[str, float]:
    """Accuracy of class, of colour by two templates, of never-seen colour and class pairs; and of
    the kind of place, from whole pictures."""
    names, colors = (*THINGS, *STUFF), tuple(COLORS)
    texts = [f"a {n}" for n in names] + [f"a {c} object" for c in colors]
    texts += [f"a {c} {n}" for n in THINGS for c in colors]
    words = _text_features(model, processor, texts)
    found: dict[str, list[bool]] = {
        k: [] for k in ("class", "class_jittered", "stuff", "color", "color_of_class", "held_out")
    }
    for scene in [*eval_scenes(count), *eval_scenes(count // 2, held_out=True)]:
        rng = np.random.default_rng(scene.index)
        exact = _compare(model, processor, [_crop(scene, o.box) for o in scene.objects], words)
        boxes = [jittered(o, 0.06, rng) for o in scene.objects]
        loose = _compare(model, processor, [_crop(scene, b) for b in boxes], words)
        for i, obj in enumerate(scene.objects):
            wanted = names.index(obj.name)
            right = int(exact[i, : len(names)].argmax()) == wanted
            if obj.kind == "stuff":
                found["stuff"].append(right)
                continue
            found["class"].append(right)
            found["class_jittered"].append(int(loose[i, : len(names)].argmax()) == wanted)
            hue, start = colors.index(obj.color or ""), len(names)
            plain = loose[i, start : start + len(colors)].argmax()
            found["color"].append(int(plain) == hue)
            start += len(colors) * (1 + wanted)
            said = loose[i, start : start + len(colors)].argmax()
            key = "held_out" if (obj.name, obj.color) in HELD_OUT else "color_of_class"
            found[key].append(int(said) == hue)
    found |= _places(model, processor, eval_scenes(count))
    return {f"{k}_accuracy": float(np.mean(v)) for k, v in found.items() if v}


def _places(
    model: SiglipModel, processor: SiglipProcessor, scenes: Sequence[Scene]
) -> dict[str, list[bool]]:
    """Whether category and finer category of each scene are told."""
    images = [s.image for s in scenes]
    wanted = {
        "category": [SCENES[s.kind].category for s in scenes],
        "fine_category": [SCENES[s.kind].fine_category for s in scenes],
    }
    found = {}
    for key, texts in (("category", CATEGORIES), ("fine_category", FINE)):
        best = _logits(model, processor, images, [t.lower() for t in texts]).argmax(1).tolist()
        found[key] = [texts[i] == w for i, w in zip(best, wanted[key], strict=True)]
    return found


def score_scenes(model: SiglipModel, processor: SiglipProcessor, count: int) -> dict[str, float]:
    """Precision and recall of tags at sigmoid 0.5, mean average precision."""
    scenes = eval_scenes(count)
    names = (*THINGS, *STUFF)
    truth = np.array([[any(o.name == n for o in s.objects) for n in names] for s in scenes])
    images = [s.image for s in scenes]
    chance = _logits(model, processor, images, list(names)).sigmoid().numpy()
    said = chance > 0.5
    hits = float((said & truth).sum())
    return {
        "tag_precision": hits / max(1, int(said.sum())),
        "tag_recall": hits / int(truth.sum()),
        "tag_map": _mean_average_precision(chance, truth),
    }


def _mean_average_precision(chance: npt.NDArray[np.float32], truth: npt.NDArray[np.bool_]) -> float:
    values = []
    for scores, hits in zip(chance.T, truth.T, strict=True):
        if not hits.any():
            continue
        ranked = hits[np.argsort(-scores)]
        precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
        values.append(float(precision[ranked].mean()))
    return float(np.mean(values))


@torch.no_grad()
def _text_features(model: SiglipModel, processor: SiglipProcessor, texts: list[str]) -> Tensor:
    inputs = processor(text=texts, padding="max_length", return_tensors="pt")
    return F.normalize(model.get_text_features(**inputs).pooler_output, dim=-1)


@torch.no_grad()
def _compare(
    model: SiglipModel, processor: SiglipProcessor, images: list[Rgb], words: Tensor
) -> Tensor:
    """Logits (images, words), as the model's own forward gives them."""
    inputs = processor(images=images, return_tensors="pt")
    seen = F.normalize(model.get_image_features(**inputs).pooler_output, dim=-1)
    logits: Tensor = seen @ words.T * model.logit_scale.exp() + model.logit_bias
    return logits


def _logits(
    model: SiglipModel, processor: SiglipProcessor, images: list[Rgb], texts: list[str]
) -> Tensor:
    return _compare(model, processor, images, _text_features(model, processor, texts))


def _crop(scene: Scene, box: tuple[float, float, float, float]) -> Rgb:
    x0, y0, x1, y1 = box
    mx, my = 0.1 * (x1 - x0), 0.1 * (y1 - y0)
    return scene.image[
        max(0, round(y0 - my)) : round(y1 + my), max(0, round(x0 - mx)) : round(x1 + mx)
    ]
