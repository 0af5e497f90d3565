"""Score the captioner on unseen scenes: is what it mentions there, in the colour it says, and
does it name the largest things?"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch
from transformers import BlipForConditionalGeneration, BlipProcessor

from grand_pipeline.picturebook.facts import Facts
from grand_pipeline.picturebook.scene import Scene
from grand_pipeline.picturebook.vocabulary import COLORS, STUFF, THINGS
from training.recipes.picturebook.scenes import eval_scenes

GENERATION = {"no_repeat_ngram_size": 4, "max_new_tokens": 39}
"""As the preset has it. Beams find longer captions, which name one thing twice more often."""

_LARGEST = 3  # things that a caption is expected to name
_NOUNS = (
    {n: n for n in STUFF} | {t.plural: t.name for t in THINGS.values()} | {n: n for n in THINGS}
)
_MENTION = re.compile(rf"\b(?:({'|'.join(COLORS)}) )?({'|'.join(sorted(_NOUNS, key=len)[::-1])})\b")


def score_captions(
    model: BlipForConditionalGeneration, processor: BlipProcessor, count: int
) -> dict[str, float]:
    """Scores on `count` scenes as training has them, and on as many in which half of the things
    have a colour that training never shows on them ("held_out_...")."""
    seen = _scores(model, processor, eval_scenes(count))
    unseen = _scores(model, processor, eval_scenes(count, held_out=True))
    return seen | {f"held_out_{name}": value for name, value in unseen.items()}


def _scores(
    model: BlipForConditionalGeneration, processor: BlipProcessor, scenes: Sequence[Scene]
) -> dict[str, float]:
    """Shares of classes named that are there, of true pairs of colour and class, of captions all
    of it true, of the largest things that are named, and of captions that name one thing twice."""
    classes: list[bool] = []
    pairs: list[bool] = []
    whole: list[bool] = []
    recalled: list[bool] = []
    repeating: list[bool] = []
    for scene, text in zip(scenes, write(model, processor, scenes), strict=True):
        named, colored = check(scene, text)
        classes += named
        pairs += colored
        whole.append(bool(named) and all(named) and all(colored))
        recalled += recall(scene, text)
        said = _MENTION.findall(text)
        repeating.append(len(set(said)) < len(said))
    return {
        "mention_precision": float(np.mean(classes or [False])),
        "color_pair_precision": float(np.mean(pairs or [False])),
        "captions_all_true": float(np.mean(whole)),
        "mention_recall": float(np.mean(recalled)),
        "captions_repeating": float(np.mean(repeating)),
    }


@torch.no_grad()
def write(
    model: BlipForConditionalGeneration, processor: BlipProcessor, scenes: Sequence[Scene]
) -> list[str]:
    """One caption per scene."""
    texts: list[str] = []
    for start in range(0, len(scenes), 20):
        images = [scene.image for scene in scenes[start : start + 20]]
        inputs = processor(images=images, return_tensors="pt")
        made = model.generate(pixel_values=inputs["pixel_values"], **GENERATION)
        texts += processor.batch_decode(made, skip_special_tokens=True)
    return texts


def named_in(text: str) -> dict[str, set[str]]:
    """Thing classes that a text names, with the colours it says of them."""
    found: dict[str, set[str]] = {}
    for color, noun in _MENTION.findall(text):
        if _NOUNS[noun] not in STUFF:
            found.setdefault(_NOUNS[noun], set()).update({color} - {""})
    return found


def check(scene: Scene, text: str) -> tuple[list[bool], list[bool]]:
    """For every thing class named: is it there; for every colour said of it: has one that."""
    there = {o.name for o in scene.things}
    known = {(o.name, o.color) for o in scene.things}
    named = named_in(text)
    pairs = [(name, color) in known for name, colors in named.items() for color in sorted(colors)]
    return [name in there for name in named], pairs


def recall(scene: Scene, text: str) -> list[bool]:
    """For each of the largest things: is its class named."""
    area, named = Facts(scene).area, named_in(text)
    largest = sorted(scene.things, key=lambda o: -area[o.id])[:_LARGEST]
    return [thing.name in named for thing in largest]
