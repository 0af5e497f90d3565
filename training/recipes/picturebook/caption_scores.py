"""Score the captioner on unseen scenes: is what it mentions there, in the colour it says?"""

from __future__ import annotations

import re

import numpy as np
import torch
from transformers import BlipForConditionalGeneration, BlipProcessor

from grand_pipeline.picturebook.scene import Scene
from grand_pipeline.picturebook.vocabulary import COLORS, STUFF, THINGS
from training.recipes.picturebook.scenes import eval_scenes

_NOUNS = (
    {n: n for n in STUFF} | {t.plural: t.name for t in THINGS.values()} | {n: n for n in THINGS}
)
_MENTION = re.compile(rf"\b(?:({'|'.join(COLORS)}) )?({'|'.join(sorted(_NOUNS, key=len)[::-1])})\b")


@torch.no_grad()
def score_captions(
    model: BlipForConditionalGeneration, processor: BlipProcessor, count: int
) -> dict[str, float]:
    """Shares of true mentions, of true colour and class pairs, and of captions all of it true."""
    things: list[bool] = []
    pairs: list[bool] = []
    whole: list[bool] = []
    texts: set[str] = set()
    repeating = 0
    for start in range(0, count, 20):
        scenes = eval_scenes(count)[start : start + 20]
        inputs = processor(images=[s.image for s in scenes], return_tensors="pt")
        # As the pipeline does: greedy search likes to name the nearest thing twice.
        made = model.generate(
            pixel_values=inputs["pixel_values"],
            max_new_tokens=30,
            num_beams=3,
            no_repeat_ngram_size=4,
        )
        said = processor.batch_decode(made, skip_special_tokens=True)
        for scene, text in zip(scenes, said, strict=True):
            names, colored = check(scene, text)
            things += names
            pairs += colored
            whole.append(bool(names) and all(names) and all(colored))
            texts.add(text)
            said_nouns = [m for m in _MENTION.findall(text) if _NOUNS[m[1]] not in STUFF]
            repeating += len(set(said_nouns)) < len(said_nouns)
    return {
        "mention_precision": float(np.mean(things or [False])),
        "color_pair_precision": float(np.mean(pairs or [False])),
        "captions_all_true": float(np.mean(whole)),
        "mentions_per_caption": len(things) / count,
        "captions_repeating": repeating / count,
        "distinct_captions": len(texts) / count,
    }


def check(scene: Scene, text: str) -> tuple[list[bool], list[bool]]:
    """For every class mentioned: is it there; for every coloured one: in that colour."""
    names, pairs = [], []
    for color, noun in _MENTION.findall(text):
        name = _NOUNS[noun]
        names.append(any(o.name == name for o in scene.objects))
        if color:
            pairs.append(any((o.name, o.color) == (name, color) for o in scene.objects))
    return names, pairs
