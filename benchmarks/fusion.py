"""How many images per second one core fuses, grounds and places.

    python -m benchmarks.fusion [-n 1000] [--detectors 7] [--boxes 100] [--passes 3] [--json]

Makes synthetic images in which several detectors see the same things with jittered boxes, scores
and spellings, and runs over each what turns detections into grounded objects: merging and voting
(`fuse`), phrases of two captions (`link`), assignment of automatic masks (`match`), depth layers
and groups (`place`), and a dense caption without references, so that every phrase has to be found
(`ground`). The depth of an object inside its mask (`depth`) and decoding the detections as a worker
reads them (`decode`) are measured too, and stand beside the total.

Scenes go through each stage in batches, as the images of a shard do; fusion takes as many at a time
as its `batch_size` says. Times are CPU time of this process, which on an idle machine is wall time.
Every batch is gone over several times and the least time of each part counts, because other work
on the machine can only add to it; the figures are medians of these over the batches.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from grand_pipeline import geometry
from grand_pipeline.columns import DETECTIONS
from grand_pipeline.generation import Generation
from grand_pipeline.labels import heads
from grand_pipeline.types import (
    Box,
    DepthMap,
    Detection,
    FloatArray,
    Instance,
    ObjectMask,
    Phrase,
    PhraseBox,
    Rle,
)
from stages.level1.fusion import Fusion
from stages.level1.masks import match
from stages.level2.linking import Linking
from stages.level3.dense_grounding import DenseGrounding, Named
from stages.level3.placement import Placement

S = TypeVar("S")
T = TypeVar("T")

SIZE = (768, 1024)
GRID = (24, 32)
SEED = 3_900_002
THINGS = 60
"""Things in an image; what a detector says beyond those it sees is wrong."""
SEEN = 0.75
"""Chance that a detector sees a thing."""
JITTER = 0.06
"""Standard deviation of a box's sides, as a share of its size."""
MATCH_IOU = 0.65

WORDS = (
    *("dog", "cat", "bird", "horse", "cow", "sheep", "man", "woman"),
    *("child", "car", "bus", "truck", "bicycle", "train", "boat", "airplane"),
    *("tree", "flower", "bush", "house", "window", "door", "roof", "fence"),
    *("lamp", "clock", "chair", "table", "sofa", "bed", "cup", "bottle"),
    *("plate", "bowl", "spoon", "knife", "book", "phone", "laptop", "keyboard"),
    *("bag", "umbrella", "kite", "ball", "hat", "shoe", "shirt", "jacket"),
    *("bench", "sign", "pole", "wheel", "rock", "bridge", "tower", "statue"),
    *("balloon", "mirror", "picture", "pillow"),
)
COLORS = ("red", "green", "blue", "white", "black", "yellow", "brown", "gray")
SPELLINGS: tuple[Callable[[str], str], ...] = (
    str,
    str.title,
    lambda word: f"a {word}",
    lambda word: f"{word}s",
    lambda word: f"{word}_(object)",
    lambda word: f"small_{word}",
)

COUNTED = ("fuse", "link", "match", "place", "ground")
BESIDE = ("depth", "decode")
BATCH = 50
"""Scenes that go through each stage together, as the images of a shard do."""

Detections = dict[str, list[Detection]]


@dataclass(frozen=True)
class Stages:
    """The stages that are measured, with the options of their defaults."""

    fusion: Fusion = field(default_factory=Fusion)
    linking: Linking = field(default_factory=Linking)
    placement: Placement = field(default_factory=Placement)
    grounding: DenseGrounding = field(default_factory=DenseGrounding)


@dataclass(frozen=True)
class Scene:
    """One synthetic image: its things and what every model says of them."""

    boxes: FloatArray
    names: tuple[str, ...]
    detections: Detections
    segments: FloatArray
    depth_map: DepthMap
    captions: dict[str, str]
    phrases: tuple[Phrase, ...]
    phrase_boxes: dict[str, tuple[PhraseBox, ...]]


def scene(rng: np.random.Generator, detectors: int, boxes: int) -> Scene:
    """A scene with `detectors` models of `boxes` boxes each."""
    places, names = _things(rng)
    captions = {f"captioner{n}": _caption(rng, names) for n in range(2)}
    phrases = tuple(p for source, text in captions.items() for p in _phrases(source, text))
    found = {f"detector{n}": _detections(rng, places, names, boxes) for n in range(detectors)}
    return Scene(
        places,
        names,
        found,
        _jittered(rng, places),
        DepthMap.of(rng.random(GRID, np.float32)),
        captions,
        phrases,
        {"grounder": _phrase_boxes(rng, phrases, places, names)},
    )


def _things(rng: np.random.Generator) -> tuple[FloatArray, tuple[str, ...]]:
    sides = np.exp(rng.uniform(np.log(24), np.log(320), (THINGS, 2)))
    corners = rng.uniform(0, 1, (THINGS, 2)) * (np.array([SIZE[1], SIZE[0]]) - sides)
    places = np.concatenate([corners, corners + sides], axis=1).astype(np.float32)
    return places, tuple(rng.choice(WORDS, THINGS).tolist())


def _jittered(rng: np.random.Generator, places: FloatArray) -> FloatArray:
    sides = np.tile(places[:, 2:] - places[:, :2], 2)
    moved = places + rng.normal(0, JITTER, places.shape) * sides
    return geometry.clip(np.asarray(moved, np.float32), SIZE)


def _detections(
    rng: np.random.Generator, places: FloatArray, names: tuple[str, ...], boxes: int
) -> list[Detection]:
    seen = np.flatnonzero(rng.random(len(places)) < SEEN)[:boxes]
    wrong, labels = _things(rng)
    extra = rng.integers(0, len(wrong), boxes - len(seen))
    around = geometry.clip(
        np.concatenate([_jittered(rng, places[seen]), _jittered(rng, wrong[extra])]), SIZE
    )
    said = [*(names[i] for i in seen), *(labels[i] for i in extra)]
    scores = np.concatenate([rng.uniform(0.3, 1, len(seen)), rng.uniform(0.05, 0.6, len(extra))])
    styles = rng.integers(0, len(SPELLINGS), len(said))
    return [
        Detection(geometry.as_box(box), float(score), SPELLINGS[style](word))
        for box, score, word, style in zip(around, scores, said, styles, strict=True)
    ]


def _caption(rng: np.random.Generator, names: tuple[str, ...]) -> str:
    chosen = [str(word) for word in rng.choice(names, 4, replace=False)]
    return f"a {chosen[0]} with a {chosen[1]} near the {chosen[2]} and two {chosen[3]}s"


def _phrases(source: str, text: str) -> list[Phrase]:
    found: list[Phrase] = []
    for part in text.replace(" with ", "|").replace(" near ", "|").replace(" and ", "|").split("|"):
        start = text.index(part)
        found.append(Phrase(source, part, heads(part)[0].split()[-1], start, start + len(part)))
    return found


def _phrase_boxes(
    rng: np.random.Generator,
    phrases: tuple[Phrase, ...],
    places: FloatArray,
    names: tuple[str, ...],
) -> tuple[PhraseBox, ...]:
    found: list[PhraseBox] = []
    for phrase in phrases:
        same = [n for n, name in enumerate(names) if phrase.head.startswith(name)][:3]
        for box in _jittered(rng, places[same]):
            found.append(PhraseBox(phrase.text, geometry.as_box(box), float(rng.uniform(0.2, 0.9))))
    return tuple(found)


class Clock:
    """CPU milliseconds per image of one batch, by part."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.times: dict[str, float] = {}

    def each(self, part: str, call: Callable[[S], T], items: Iterable[S]) -> list[T]:
        """The call's value for each item; the time is added to `part`."""
        given = list(items)
        begun = time.process_time()
        values = [call(item) for item in given]
        self.times[part] = 1000 * (time.process_time() - begun) / self.batch
        return values


def annotate(clock: Clock, stages: Stages, scenes: Sequence[Scene]) -> int:
    """Everything that is measured, stage by stage as in a run; returns the number of objects."""
    size = stages.fusion.batch_size
    batches = [scenes[start : start + size] for start in range(0, len(scenes), size)]
    fused = [
        one for found in clock.each("fuse", lambda b: _fused(stages, b), batches) for one in found
    ]
    linked = clock.each(
        "link",
        lambda pair: stages.linking.link(
            pair[0], pair[1].captions, pair[1].phrases, pair[1].phrase_boxes, SIZE
        ),
        zip(fused, scenes, strict=True),
    )
    found = [one.instances for one in linked]
    clock.each(
        "match",
        lambda pair: match(_boxes(pair[0]), pair[1].segments, MATCH_IOU),
        zip(found, scenes, strict=True),
    )
    masks = [tuple(ObjectMask(i.id, _ellipse(i.box), "box", 0.5) for i in one) for one in found]
    depths = clock.each(
        "depth",
        lambda each: stages.placement.depths(each[0], each[1], each[2].depth_map, SIZE),
        zip(found, masks, scenes, strict=True),
    )
    clock.each(
        "place",
        lambda pair: stages.placement.arrange(pair[0], pair[1], SIZE),
        zip(found, depths, strict=True),
    )
    named = [[Named(i.id, i.status == "object", i.label, (_color(i),)) for i in o] for o in found]
    drafts = [_draft(given, things) for given, things in zip(scenes, named, strict=True)]
    clock.each(
        "ground",
        lambda each: stages.grounding.ground(each[0], each[1], each[2].links),
        zip(drafts, named, linked, strict=True),
    )
    plain = [
        (s, DETECTIONS.of(s).encode(tuple(d))) for g in scenes for s, d in g.detections.items()
    ]
    clock.each("decode", lambda pair: DETECTIONS.of(pair[0]).decode(pair[1]), plain)
    return sum(map(len, found))


def measure(images: int, detectors: int, boxes: int, passes: int = 3) -> dict[str, Any]:
    """What `--json` prints: images per second, milliseconds of CPU time per image and part."""
    rng = np.random.default_rng(SEED)
    stages, objects, batch = Stages(), 0, min(BATCH, images)
    annotate(Clock(1), stages, [scene(rng, detectors, boxes)])  # Imports and first look-ups.
    times: list[dict[str, float]] = []
    for _ in range(max(1, images // BATCH)):
        scenes = [scene(rng, detectors, boxes) for _ in range(batch)]
        # The collector would otherwise walk through the scenes at the cost of what is measured.
        gc.collect()
        gc.freeze()
        clocks = [Clock(batch) for _ in range(passes)]
        objects += max(annotate(clock, stages, scenes) for clock in clocks)  # All say the same.
        times.append({p: min(clock.times[p] for clock in clocks) for p in (*COUNTED, *BESIDE)})
        gc.unfreeze()
    images = batch * len(times)
    parts = {p: statistics.median(one[p] for one in times) for p in (*COUNTED, *BESIDE)}
    total = sum(parts[part] for part in COUNTED)
    return {
        "images_per_second": round(1000 / total, 1),
        "images": images,
        "detectors": detectors,
        "boxes": boxes,
        "objects_per_image": round(objects / images, 1),
        "ms_per_image": round(total, 3),
        "parts_ms": {part: round(parts[part], 3) for part in COUNTED},
        "beside_ms": {part: round(parts[part], 3) for part in BESIDE},
    }


def text(report: dict[str, Any]) -> str:
    """The report for a reader."""
    lines = [
        f"{report['images']} images of {report['detectors']} x {report['boxes']} boxes, "
        f"{report['objects_per_image']} objects each; ms of CPU time per image"
    ]
    lines += [f"  {part:<8}{ms:8.3f}" for part, ms in report["parts_ms"].items()]
    lines.append(f"  {'total':<8}{report['ms_per_image']:8.3f}")
    lines += [f"  {part:<8}{ms:8.3f}  not in the total" for part, ms in report["beside_ms"].items()]
    return "\n".join([*lines, f"{report['images_per_second']} images per second on one core"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-n", type=int, default=1000, help="images")
    parser.add_argument("--detectors", type=int, default=7)
    parser.add_argument("--boxes", type=int, default=100, help="boxes per detector")
    parser.add_argument("--passes", type=int, default=3, help="times that every batch is gone over")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    report = measure(given.n, given.detectors, given.boxes, given.passes)
    print(json.dumps(report, indent=2) if given.json else text(report))


def _ellipse(box: Box) -> Rle:
    """A mask with a round outline inside a box."""
    x1, y1, x2, y2 = box
    y, x = np.ogrid[int(y1) : int(y2) + 1, int(x1) : int(x2) + 1]
    across, down = (2 * x - x1 - x2) / (x2 - x1), (2 * y - y1 - y2) / (y2 - y1)
    mask = np.zeros((SIZE[0] + 1, SIZE[1] + 1), bool, order="F")
    mask[y, x] = across**2 + down**2 <= 1
    return geometry.rle_encode(mask[:-1, :-1])


def _fused(stages: Stages, scenes: Sequence[Scene]) -> list[tuple[Instance, ...]]:
    """The objects of the scenes of one batch, as a worker hands them to the stage."""
    return stages.fusion.fuse_all([scene.detections for scene in scenes], [SIZE] * len(scenes))


def _boxes(instances: tuple[Instance, ...]) -> FloatArray:
    return geometry.as_boxes([instance.box for instance in instances])


def _color(instance: Instance) -> str:
    return COLORS[instance.id % len(COLORS)]


def _draft(given: Scene, named: Sequence[Named]) -> Generation:
    """A description of the first things without references, and the captions."""
    things = ", ".join(f"the {thing.attributes[0]} {thing.label}" for thing in named[:15])
    answer = f"In this picture we see {things}. {' '.join(given.captions.values())}."
    return Generation("", answer, "llm", "stop")


if __name__ == "__main__":
    main()
