"""Score the SigLIP checkpoints on unseen scenes, through their processors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import SiglipModel, SiglipProcessor

from grand_pipeline.picturebook.scene import Scene
from grand_pipeline.picturebook.vocabulary import COLORS, HELD_OUT, SCENES, STUFF, THINGS
from training.recipes.picturebook.scenes import eval_scenes, jittered

Rgb = npt.NDArray[np.uint8]


def score_crops(model: SiglipModel, processor: SiglipProcessor, count: int) -> dict[str, float]:
    """Accuracy of class, of colour by two templates, and of never-seen colour and class pairs."""
    names = [f"a {n}" for n in (*THINGS, *STUFF)]
    found: dict[str, list[bool]] = {
        k: [] for k in ("class", "class_jittered", "stuff", "color", "color_of_class", "held_out")
    }
    for scene in [*eval_scenes(count), *eval_scenes(count // 2, held_out=True)]:
        rng = np.random.default_rng(scene.index)
        for obj in scene.objects:
            truth = (*THINGS, *STUFF).index(obj.name)
            exact = [_crop(scene, obj.box)]
            guess = int(_logits(model, processor, exact, names)[0].argmax())
            if obj.kind == "stuff":
                found["stuff"].append(guess == truth)
                continue
            found["class"].append(guess == truth)
            loose = [_crop(scene, jittered(obj, 0.06, rng))]
            guess = int(_logits(model, processor, loose, names)[0].argmax())
            found["class_jittered"].append(guess == truth)
            wanted = list(COLORS).index(obj.color or "")
            plain = _logits(model, processor, loose, [f"a {c} object" for c in COLORS])
            found["color"].append(int(plain[0].argmax()) == wanted)
            said = _logits(model, processor, loose, [f"a {c} {obj.name}" for c in COLORS])
            unseen = (obj.name, obj.color) in HELD_OUT
            key = "held_out" if unseen else "color_of_class"
            found[key].append(int(said[0].argmax()) == wanted)
    return {f"{k}_accuracy": float(np.mean(v)) for k, v in found.items() if v}


def score_scenes(model: SiglipModel, processor: SiglipProcessor, count: int) -> dict[str, float]:
    """Precision and recall of tags at sigmoid 0.5, mean average precision, landmark accuracy."""
    scenes = eval_scenes(count)
    names = (*THINGS, *STUFF)
    truth = np.array([[any(o.name == n for o in s.objects) for n in names] for s in scenes])
    images = [s.image for s in scenes]
    chance = _logits(model, processor, images, list(names)).sigmoid().numpy()
    said = chance > 0.5
    hits = float((said & truth).sum())
    categories = sorted({k.category for k in SCENES.values()})
    fine = sorted({k.fine_category for k in SCENES.values()})
    coarse_guess = _logits(model, processor, images, categories).argmax(1)
    fine_guess = _logits(model, processor, images, fine).argmax(1)
    pairs = list(zip(scenes, coarse_guess.tolist(), fine_guess.tolist(), strict=True))
    return {
        "tag_precision": hits / max(1, int(said.sum())),
        "tag_recall": hits / int(truth.sum()),
        "tag_map": _mean_average_precision(chance, truth),
        "category_accuracy": float(
            np.mean([SCENES[s.kind].category == categories[c] for s, c, _ in pairs])
        ),
        "fine_category_accuracy": float(
            np.mean([SCENES[s.kind].fine_category == fine[f] for s, _, f in pairs])
        ),
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
def _logits(
    model: SiglipModel, processor: SiglipProcessor, images: list[Rgb], texts: list[str]
) -> Tensor:
    inputs = processor(text=texts, images=images, padding="max_length", return_tensors="pt")
    logits: Tensor = model(**inputs).logits_per_image
    return logits


def _crop(scene: Scene, box: tuple[float, float, float, float]) -> Rgb:
    x0, y0, x1, y1 = box
    mx, my = 0.1 * (x1 - x0), 0.1 * (y1 - y0)
    return scene.image[
        max(0, round(y0 - my)) : round(y1 + my), max(0, round(x0 - mx)) : round(x1 + mx)
    ]
