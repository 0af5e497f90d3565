"""Batches of the SigLIP recipes: crops or pictures, prompts, and which of them agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from grand_pipeline.picturebook.scene import Scene, SceneObject
from grand_pipeline.picturebook.vocabulary import (
    COLORS,
    HELD_OUT,
    HYPERNYMS,
    SCENES,
    SYNONYMS,
    THINGS,
)
from training.recipes.picturebook.scenes import (
    TRAIN_SEED,
    draw_scenes,
    jittered,
    pixels,
)
from training.recipes.picturebook.text import (
    COLOR_NAMES,
    NAMES,
    Phrase,
    build_tokenizer,
    matches,
    phrase,
)

CATEGORIES = (
    "Outdoor scene",
    "Indoor scene",
    "Transportation scene",
    "Sports and recreation scene",
)
# Some of these never occur: they are there to be told apart from the ones that do.
FINE = (
    *("Living space", "Work space", "Public space", "Industrial space", "Urban", "Rural"),
    *("Natural landscape", "Road", "Airport", "Train station", "Port and harbor"),
    *("Sporting venue", "Recreational area", "Gym and fitness center"),
)
_FRAMES = ("{}", "{}", "{}", "a photo of {}", "a picture of {}")


@dataclass(frozen=True)
class Shape:
    """Sizes of a model: picture side, patch, width, vision layers."""

    size: int
    patch: int
    width: int
    layers: int


CROP = Shape(64, 8, 128, 4)
SCENE = Shape(192, 16, 160, 4)


@dataclass(frozen=True)
class Batch:
    """Pixels (N, 3, S, S), prompts (U, 16), truth (N, U), groups of prompts that exclude each
    other (slices into U) and, for whole pictures, the class under every patch (N, G * G)."""

    pixels: Tensor
    prompts: Tensor
    mask: Tensor | None
    truth: Tensor
    groups: tuple[slice, ...]
    patches: Tensor | None = None


def crop_batch(step: int, size: int) -> Batch:
    """Crops of objects (a tenth of them stuff) and prompts of classes, colours and both."""
    rng = np.random.default_rng([TRAIN_SEED, 21, step])
    scenes = draw_scenes(size // 4, step, rng, 0.3)
    pairs = [(scene, obj) for scene in scenes for obj in _some_objects(scene, rng)]
    crops = [crop(s, jittered(o, float(rng.uniform(0, 0.08)), rng), rng) for s, o in pairs]
    objects = [o for _, o in pairs]
    words, groups = _crop_phrases(objects, rng)
    classes = np.array([NAMES.index(o.name) for o in objects])
    colors = np.array([COLOR_NAMES.index(o.color) if o.color else -1 for o in objects])
    truth = matches(words, classes, colors)
    images = pixels(crops, CROP.size, resample=Image.Resampling.BICUBIC)
    return Batch(images, *_tokens(words_of(words, rng), step), torch.from_numpy(truth), groups)


def _some_objects(scene: Scene, rng: np.random.Generator) -> list[SceneObject]:
    things = list(scene.things)
    picked = [things[int(i)] for i in rng.permutation(len(things))[:4]]
    if rng.random() < 0.4 or not picked:
        stuff = [o for o in scene.objects if o.kind == "stuff"]
        picked = [*picked[:3], stuff[int(rng.integers(len(stuff)))]]
    return picked


def crop(
    scene: Scene, box: tuple[float, float, float, float], rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """The box with a margin of about a tenth of its sides."""
    x0, y0, x1, y1 = box
    margin = float(rng.uniform(0.0, 0.2))
    mx, my = margin * (x1 - x0), margin * (y1 - y0)
    left, top = max(0, round(x0 - mx)), max(0, round(y0 - my))
    return scene.image[top : max(top + 2, round(y1 + my)), left : max(left + 2, round(x1 + mx))]


def _crop_phrases(
    objects: list[SceneObject], rng: np.random.Generator
) -> tuple[list[Phrase], tuple[slice, ...]]:
    """All classes, all colours, hypernyms, and all colours of a few classes that are there."""
    words = [_class_phrase(name, rng) for name in NAMES]
    groups = [slice(0, len(words))]
    groups.append(slice(len(words), len(words) + len(COLORS)))
    words += [_color_phrase(color, rng) for color in COLORS]
    words += [phrase(h, None, int(rng.integers(4))) for h in HYPERNYMS]
    things = sorted({o.name for o in objects if o.kind == "thing"})
    for name in rng.permutation(things)[:5]:
        form = int(rng.integers(4))
        noun = _other_name(str(name), rng)
        colors = [c for c in COLORS if (str(name), c) not in HELD_OUT]
        groups.append(slice(len(words), len(words) + len(colors)))
        words += [phrase(noun, c, form) for c in colors]
    return words, tuple(groups)


def _other_name(name: str, rng: np.random.Generator) -> str:
    """The class name, or in a fifth of the cases a synonym or its hypernym-free kin."""
    others = [s for s, n in SYNONYMS.items() if n == name]
    return others[int(rng.integers(len(others)))] if others and rng.random() < 0.2 else name


def _class_phrase(name: str, rng: np.random.Generator) -> Phrase:
    countable = name in THINGS
    return phrase(_other_name(name, rng), None, int(rng.integers(4)) if countable else 0)


def _color_phrase(color: str, rng: np.random.Generator) -> Phrase:
    """A colour as a word of its own, or said of an object."""
    wide = phrase(("object", "thing", "item")[int(rng.integers(3))], color, int(rng.integers(3)))
    text = (color, f"{color} color", f"it is {color}", wide.text, wide.text)[int(rng.integers(5))]
    return Phrase(text, wide.classes, wide.color)


def words_of(words: list[Phrase], rng: np.random.Generator) -> list[str]:
    """The texts, a third of them framed as "a photo of ..."."""
    return [_FRAMES[int(rng.integers(len(_FRAMES)))].format(w.text) for w in words]


def scene_batch(step: int, size: int) -> Batch:
    """Whole pictures and prompts of classes, stuff, kinds of scene and landmarks."""
    rng = np.random.default_rng([TRAIN_SEED, 22, step])
    scenes = draw_scenes(size, step, rng, 0.6)
    words = [_class_phrase(name, rng) for name in NAMES]
    words += [phrase(h, None, int(rng.integers(4))) for h in HYPERNYMS]
    width = max(len(s.objects) for s in scenes)
    classes = np.full((len(scenes), width), -1)
    for row, scene in zip(classes, scenes, strict=True):
        row[: len(scene.objects)] = [NAMES.index(o.name) for o in scene.objects]
    truth = matches(words, classes, np.full_like(classes, -1)).any(axis=1)
    texts = words_of(words, rng)
    groups: list[slice] = []
    for labels, answer in _landmarks():
        groups.append(slice(len(texts), len(texts) + len(labels)))
        frame = ("{}", "a {}", "{}", "a photo of a {}", "an image of {}")[int(rng.integers(5))]
        texts += [
            frame.format(x.lower()).replace("a outd", "an outd").replace("a ind", "an ind")
            for x in labels
        ]
        hits = np.array([[answer(s.kind) == x for x in labels] for s in scenes])
        truth = np.concatenate([truth, hits], axis=1)
    middle = ((np.arange(SCENE.size // SCENE.patch) + 0.5) * 256 * SCENE.patch / SCENE.size).astype(
        int
    )
    patches = np.stack([_classes_at(s, middle) for s in scenes])
    images = pixels([s.image for s in scenes], SCENE.size, resample=Image.Resampling.BICUBIC)
    prompts = _tokens(texts, step)
    return Batch(
        images, *prompts, torch.from_numpy(truth), tuple(groups), torch.from_numpy(patches)
    )


def _landmarks() -> tuple[tuple[tuple[str, ...], Callable[[str], str]], ...]:
    """Groups of texts of which one is true, with the true one of a kind of scene."""
    return (
        (CATEGORIES, lambda kind: SCENES[kind].category),
        (FINE, lambda kind: SCENES[kind].fine_category),
        (tuple(SCENES), lambda kind: kind),
    )


def _classes_at(scene: Scene, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    names = np.array([NAMES.index(o.name) for o in scene.objects])
    found: npt.NDArray[np.int64] = names[scene.ids[np.ix_(places, places)]].ravel()
    return found


def _tokens(texts: list[str], step: int) -> tuple[Tensor, Tensor | None]:
    """Ids (U, 16); every other step with the padding mask, so both ways of calling work."""
    made = build_tokenizer()(texts, padding="max_length", truncation=True, return_tensors="pt")
    return made["input_ids"], made["attention_mask"] if step % 2 else None
