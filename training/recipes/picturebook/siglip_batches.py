"""Batches of the SigLIP recipes: crops or pictures, prompts, and which of them agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
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
    CLIP_MEAN,
    CLIP_STD,
    HALF,
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
    """Sizes of a model, its activation, and mean and spread of its pixels."""

    size: int
    patch: int
    width: int
    layers: int
    heads: int
    inner: int
    act: str
    mean: tuple[float, ...] = HALF
    std: tuple[float, ...] = HALF


CROP = Shape(64, 8, 128, 3, 4, 384, "gelu_pytorch_tanh")
# As the first layers of the embedded detector's vision tower, so that it can start from them.
SCENE = Shape(224, 16, 192, 3, 3, 768, "gelu", CLIP_MEAN, CLIP_STD)


@dataclass(frozen=True)
class Batch:
    """What one step compares.

    Pixels (N, 3, S, S), prompts (U, 16), truth (N, U) as 0, 1 or NaN where it is not asked, groups
    of prompts that exclude each other (slices into U), the class under every patch (N, G * G) and,
    for crops, class and colour of the object (N, 2), -1 where there is none; for pictures the
    scene numbers.
    """

    pixels: Tensor
    prompts: Tensor
    mask: Tensor | None
    truth: Tensor
    groups: tuple[slice, ...]
    patches: Tensor
    labels: Tensor | None = None
    indices: tuple[int, ...] = ()


def crop_batch(step: int, size: int) -> Batch:
    """Crops of objects (a tenth of them stuff) with prompts of classes, colours and both; and
    half of their scenes as a whole, seen small, with prompts of places."""
    rng = np.random.default_rng([TRAIN_SEED, 21, step])
    scenes = draw_scenes(size // 4, step, rng, 0.3)
    pairs = [(scene, obj) for scene in scenes for obj in _some_objects(scene, rng)]
    windows = [crop(jittered(o, float(rng.uniform(0, 0.08)), rng), rng) for _, o in pairs]
    objects = [o for _, o in pairs]
    words, groups = _crop_phrases(objects, rng)
    classes = np.array([NAMES.index(o.name) for o in objects])
    colors = np.array([COLOR_NAMES.index(o.color) if o.color else -1 for o in objects])
    wholes = scenes[: len(scenes) // 2]
    places = _places(wholes, rng, len(words))
    parts = list(zip([s for s, _ in pairs], windows, strict=True)) + [(s, WHOLE) for s in wholes]
    prompts, mask = _tokens(words_of(words, rng) + places.texts, step)
    labels = np.pad(
        np.stack([classes, colors], axis=1), ((0, len(wholes)), (0, 0)), constant_values=-1
    )
    return Batch(
        pixels=pixels([s.image[w] for s, w in parts], CROP.size, mean=CROP.mean, std=CROP.std),
        prompts=prompts,
        mask=mask,
        truth=_apart(matches(words, classes, colors), places.truth),
        groups=(*groups, *places.groups),
        patches=torch.from_numpy(np.stack([_classes_at(s, w, CROP) for s, w in parts])),
        labels=torch.from_numpy(labels),
    )


def _apart(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> Tensor:
    """One table of truth for two kinds of pictures, each asked its own prompts only."""
    (rows, columns), (more, texts) = first.shape, second.shape
    truth = np.full((rows + more, columns + texts), np.nan, np.float32)
    truth[:rows, :columns], truth[rows:, columns:] = first, second
    return torch.from_numpy(truth)


def _some_objects(scene: Scene, rng: np.random.Generator) -> list[SceneObject]:
    things = list(scene.things)
    picked = [things[int(i)] for i in rng.permutation(len(things))[:4]]
    if rng.random() < 0.4 or not picked:
        stuff = [o for o in scene.objects if o.kind == "stuff"]
        picked = [*picked[:3], stuff[int(rng.integers(len(stuff)))]]
    return picked


Window = tuple[slice, slice]
WHOLE: Window = (slice(0, 256), slice(0, 256))


def crop(box: tuple[float, float, float, float], rng: np.random.Generator) -> Window:
    """Rows and columns of the box with a margin of about a tenth of its sides."""
    x0, y0, x1, y1 = box
    margin = float(rng.uniform(0.0, 0.2))
    mx, my = margin * (x1 - x0), margin * (y1 - y0)
    left, top = max(0, round(x0 - mx)), max(0, round(y0 - my))
    bottom, right = min(256, max(top + 2, round(y1 + my))), min(256, max(left + 2, round(x1 + mx)))
    return slice(top, bottom), slice(left, right)


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
    """Whole pictures and prompts of classes, stuff and hypernyms."""
    rng = np.random.default_rng([TRAIN_SEED, 22, step])
    scenes = draw_scenes(size, step, rng, 0.25)
    words = [_class_phrase(name, rng) for name in NAMES]
    words += [phrase(h, None, int(rng.integers(4))) for h in HYPERNYMS]
    width = max(len(s.objects) for s in scenes)
    classes = np.full((len(scenes), width), -1)
    for row, scene in zip(classes, scenes, strict=True):
        row[: len(scene.objects)] = [NAMES.index(o.name) for o in scene.objects]
    truth = matches(words, classes, np.full_like(classes, -1)).any(axis=1)
    prompts, mask = _tokens(words_of(words, rng), step)
    return Batch(
        pixels=pixels([s.image for s in scenes], SCENE.size, mean=SCENE.mean, std=SCENE.std),
        prompts=prompts,
        mask=mask,
        truth=torch.from_numpy(truth.astype(np.float32)),
        groups=(),
        patches=torch.from_numpy(np.stack([_classes_at(s, WHOLE, SCENE) for s in scenes])),
        indices=tuple(s.index for s in scenes),
    )


@dataclass(frozen=True)
class Places:
    """Prompts about the kind of place: truth (N, U), and where each group stands in a batch."""

    texts: list[str]
    truth: npt.NDArray[np.bool_]
    groups: tuple[slice, ...]


def _places(scenes: Sequence[Scene], rng: np.random.Generator, start: int) -> Places:
    """Categories, finer categories and kinds of scene; the first prompt has the number `start`."""
    texts: list[str] = []
    hits, groups = [], []
    for labels, answer in (
        (CATEGORIES, lambda kind: SCENES[kind].category),
        (FINE, lambda kind: SCENES[kind].fine_category),
        (tuple(SCENES), lambda kind: kind),
    ):
        groups.append(slice(start + len(texts), start + len(texts) + len(labels)))
        frame = ("{}", "a {}", "{}", "a photo of a {}", "an image of {}")[int(rng.integers(5))]
        texts += [
            frame.format(x.lower()).replace("a outd", "an outd").replace("a ind", "an ind")
            for x in labels
        ]
        hits.append([[answer(s.kind) == x for x in labels] for s in scenes])
    return Places(texts, np.concatenate(hits, axis=1), tuple(groups))


def _classes_at(scene: Scene, window: Window, shape: Shape) -> npt.NDArray[np.int64]:
    """Index into NAMES of what lies under the middle of every patch of a window."""
    names = np.array([NAMES.index(o.name) for o in scene.objects])
    ids = scene.ids[window]
    middles = (np.arange(shape.size // shape.patch) + 0.5) * shape.patch / shape.size
    rows, columns = ((middles * side).astype(int) for side in ids.shape)
    found: npt.NDArray[np.int64] = names[ids[np.ix_(rows, columns)]].ravel()
    return found


def _tokens(texts: list[str], step: int) -> tuple[Tensor, Tensor | None]:
    """Ids (U, 16); every other step with the padding mask, so both ways of calling work."""
    made = build_tokenizer()(texts, padding="max_length", truncation=True, return_tensors="pt")
    return made["input_ids"], made["attention_mask"] if step % 2 else None
