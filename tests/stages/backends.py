"""Every stage that runs a model, with every architecture behind it, on a tiny checkpoint.

The table is what `test_matrix` goes through; `test_matrix` also checks that nothing is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from grand_pipeline.columns import (
    ASSIGNED,
    CAPTIONS,
    INSTANCES,
    LANDMARK,
    PHRASES,
    SCENE_GRAPH,
    SEGMENTS,
    Column,
)
from grand_pipeline.stage import Stage
from grand_pipeline.types import Box, Landmark, Phrase, Size, Vote
from stages.chat.finish import RESAMPLED
from stages.hub import Dtype
from stages.level1.attributes import Attributes
from stages.level1.closed_detection import ClosedDetection
from stages.level1.depth import Depth
from stages.level1.grand_v1_masks import GrandV1Masks
from stages.level1.landmark import LandmarkStage
from stages.level1.masks import Masks
from stages.level1.open_detection import OpenDetection
from stages.level1.region_texts import RegionTexts
from stages.level1.segments import Segments
from stages.level1.tags import Tags
from stages.level2.captions import Captions
from stages.level2.grand_v1_labels import GrandV1Labels
from stages.level2.labels import Labels
from stages.level2.phrase_grounding import PhraseGrounding
from stages.level3.dense_caption import DenseCaption
from stages.level4.context import Context
from stages.level4.grand_v1_context import GrandV1Context
from tests.tiny import chats, checkpoints, depth, detectors, masks, ram, towers, vlms, words, xvlm
from tests.tiny import mdetr as tiny_mdetr
from tests.tiny.checkpoints import Builder, checkpoint
from tests.tiny.records import instance
from training.models.xvlm import export

Values = Mapping[Column[Any], Any]
Options = Mapping[str, Any]
Nothing = tuple[Options, Values]

CAPTION = "A dog, a cat. Two and the sky"
SPANS = ((0, 5), (7, 12), (14, 17), (22, 29))
VOCABULARY = ("cat", "dog", "red car", "tree", "sky", "grass")


@dataclass(frozen=True)
class Case:
    """A stage on a tiny checkpoint."""

    name: str
    stage: type[Stage[Any]]
    model: Callable[[], str]
    options: Options = field(default_factory=dict)
    values: Callable[[Size], Values] = lambda size: {}
    """What the stage reads beside an image of (height, width)."""
    nothing: Nothing | None = None
    """Options and values with which nothing is to be found; None where there is always something.
    """
    load: Callable[[Stage[Any], Dtype], Any] | None = None
    """How it is made live where it is not by its own `load`."""
    refuses: Mapping[str, str] = field(default_factory=dict)
    """Number formats that the architecture can not do on a CPU, with what is then said."""
    alike: bool = True
    """Whether an image whose rows are all alike gives the same numbers in any batch."""

    @property
    def key(self) -> str:
        """Stage and architecture."""
        return f"{self.stage.name()}-{self.name}"

    def described(self, dtype: Dtype = "float32", **more: Any) -> Stage[Any]:
        """The stage, its options replaced by `more`."""
        options = {"dtype": dtype, **self.options, **more}
        return self.stage(model=self.model(), **options)  # type: ignore[call-arg]  # subclasses'

    def live(self, dtype: Dtype = "float32") -> Any:
        """The loaded model of the stage."""
        stage = self.described(dtype)
        return stage.load("cpu") if self.load is None else self.load(stage, dtype)


def objects(size: Size) -> Values:
    """A thing, a smaller one at the border, and stuff; with votes to choose among."""
    height, width = size
    votes = (Vote("a", "cat", 0.5), Vote("b", "red car", 0.4))
    return {
        INSTANCES: (
            instance(0, _part(size, 0.0, 0.0, 1.0, 1.0), "cat", *votes),
            instance(3, _part(size, 0.5, 0.5, 1.0, 1.0), "dog", *votes[::-1]),
            instance(5, (0.0, 0.0, float(width), float(height)), "sky", kind="stuff"),
        )
    }


def _part(size: Size, x1: float, y1: float, x2: float, y2: float) -> Box:
    height, width = size
    left, top = min(int(x1 * width), width - 1), min(int(y1 * height), height - 1)
    right, bottom = max(left + 1, int(x2 * width)), max(top + 1, int(y2 * height))
    return float(left), float(top), float(right), float(bottom)


def phrases(size: Size) -> Values:
    """A caption and its phrases."""
    found = (Phrase("c", CAPTION[a:b], CAPTION[a:b].split()[-1], a, b) for a, b in SPANS)
    return {CAPTIONS.of("c"): CAPTION, PHRASES: tuple(found)}


def graph(size: Size) -> Values:
    """A scene graph as text, longer for higher images."""
    return {SCENE_GRAPH: "a cat and a dog. " * (1 + size[0] % 5)}


def unmasked(size: Size) -> Values:
    """Objects that no mask was made for."""
    return {**objects(size), SEGMENTS: ()}


def _context(size: Size) -> Values:
    """What GranD's own list for the context is made of."""
    return {**objects(size), ASSIGNED: (), LANDMARK: Landmark("Indoor scene", "Work space", "m")}


NO_OBJECTS: Values = {INSTANCES: (), SEGMENTS: ()}
NO_PHRASES: Values = {CAPTIONS.of("c"): CAPTION, PHRASES: ()}


def _original(stage: Stage[Any], dtype: Dtype) -> Any:
    """The package segment-anything is a stand-in, its image encoder in `dtype`."""
    return masks.segmenter("original", dtype)


def _small_mdetr(stage: Stage[Any], dtype: Dtype) -> Any:
    """As loaded, for images of 64 pixels instead of 800."""
    return replace(stage.load("cpu"), short=64, long=106)


@cache
def _xvlm() -> str:
    """Folder of an X-VLM as this project's training leaves it."""
    folder = Path(mkdtemp(prefix="tiny-xvlm-")) / "model"
    export.save(folder, export.Trained(xvlm.network(), words.bert_tokenizer(), 12))
    return str(folder)


def _of(build: Builder) -> Callable[[], str]:
    return partial(checkpoint, build)


TWO_TOWERS = (checkpoints.clip, checkpoints.siglip, towers.siglip2, towers.siglip2_naflex)
DINOS = (detectors.grounding_dino, detectors.mm_grounding_dino)
OPEN = (checkpoints.owl_vit, checkpoints.owlv2, *DINOS)
CLOSED = (detectors.detr, detectors.deformable_detr, detectors.rt_detr_v2, detectors.d_fine)
DEPTHS = (
    *(depth.dpt, depth.dpt_beit, depth.dpt_swinv2, depth.dpt_hybrid),
    *(depth.depth_anything, depth.depth_anything_metric, depth.zoedepth),
)
CHAT_VLMS = (checkpoints.llava, vlms.qwen2_5_vl, vlms.qwen3_vl)
WRITERS = (checkpoints.blip, vlms.blip2, vlms.florence2, vlms.kosmos2, *CHAT_VLMS)
POINTERS = (vlms.florence2, vlms.kosmos2)
SEGMENTERS = tuple((build.__name__, _of(build)) for build in masks.PRETRAINED.values())
FLOAT32_ALONE = dict.fromkeys(("bfloat16", "float16"), "computes in float32 alone")
NOT_FINITE = {"float16": "the depth map is not finite; try depth.dtype = bfloat16 or float32"}


def _tags() -> list[Case]:
    options = {"source": "s", "vocabulary": VOCABULARY, "threshold": 0.0, "template": "{}"}
    nothing: Nothing = ({"threshold": 1.1}, {})
    published = {**options, "vocabulary": ram.TAGS}
    return [
        *(Case(b.__name__, Tags, _of(b), options, nothing=nothing) for b in TWO_TOWERS),
        *(
            Case(kind, Tags, partial(ram.checkpoint, kind), published, nothing=nothing)
            for kind in ram.KINDS
        ),
    ]


def _detections() -> list[Case]:
    found = {"source": "s", "threshold": 0.01}
    asked = {**found, "queries": VOCABULARY}
    none: Nothing = ({"threshold": 1.1}, {})
    return [
        *(
            Case(b.__name__, OpenDetection, _of(b), asked, nothing=none, alike=b not in DINOS)
            for b in OPEN
        ),
        *(Case(b.__name__, ClosedDetection, _of(b), found, nothing=none) for b in CLOSED),
    ]


def _grounded() -> list[Case]:
    found = {"source": "s", "threshold": 0.01}
    none: Nothing = ({}, NO_PHRASES)

    def case(name: str, model: Callable[[], str], prompt: str, **more: Any) -> Case:
        options = {**found, "prompt": prompt}
        return Case(f"{name}-{prompt}", PhraseGrounding, model, options, phrases, none, **more)

    return [
        *(case(b.__name__, _of(b), "phrase", alike=b not in DINOS) for b in (*OPEN, *POINTERS)),
        *(case(b.__name__, _of(b), "caption", alike=b not in DINOS) for b in (*DINOS, *POINTERS)),
        *(
            case(f"mdetr_{k}", partial(tiny_mdetr.checkpoint, k), prompt, load=_small_mdetr)
            for k in tiny_mdetr.KINDS
            for prompt in ("phrase", "caption")
        ),
        case("xvlm", _xvlm, "phrase", refuses=FLOAT32_ALONE),
    ]


def _masks() -> list[Case]:
    free = {"points_per_side": 3, "predicted_iou": 0.0, "stability": 0.0, "min_area": 0.0}
    none: Nothing = ({"min_area": 1.1}, {})
    given: Nothing = ({}, NO_OBJECTS)
    first, model = SEGMENTERS[0]
    return [
        *(Case(name, Segments, model, free, nothing=none) for name, model in SEGMENTERS),
        *(Case(name, Masks, model, {}, unmasked, given) for name, model in SEGMENTERS),
        Case("original", Segments, model, free, nothing=none, load=_original),
        Case("original", Masks, model, {}, unmasked, given, _original),
        Case(first, GrandV1Masks, model, {}, unmasked, given),
    ]


def _objects() -> list[Case]:
    given: Nothing = ({}, NO_OBJECTS)
    colors = {"source": "s", "threshold": 0.0, "template": "{} {}"}
    words = {"source": "s", "max_new_tokens": 5, "max_pixels": 1600}
    first = TWO_TOWERS[0]
    return [
        *(Case(b.__name__, Attributes, _of(b), colors, objects, given) for b in TWO_TOWERS),
        *(Case(b.__name__, Labels, _of(b), {"template": "{}"}, objects, given) for b in TWO_TOWERS),
        Case(first.__name__, GrandV1Labels, _of(first), {}, objects, given),
        *(Case(b.__name__, RegionTexts, _of(b), words, objects, given) for b in WRITERS),
    ]


def _images() -> list[Case]:
    short = {"source": "s", "max_new_tokens": 5, "max_pixels": 1600}
    places = {"template": "{}", "fine_template": "{}"}
    asked = {"max_new_tokens": 5, "max_pixels": 1600}
    unsteady = {depth.dpt_swinv2: NOT_FINITE}
    return [
        *(Case(b.__name__, LandmarkStage, _of(b), places) for b in TWO_TOWERS),
        *(Case(b.__name__, LandmarkStage, _of(b), asked) for b in CHAT_VLMS),
        *(Case(b.__name__, Captions, _of(b), short) for b in WRITERS),
        *(Case(b.__name__, Depth, _of(b), refuses=unsteady.get(b, {})) for b in DEPTHS),
    ]


def _texts() -> list[Case]:
    options = {"max_new_tokens": 4, "attempts": 1, "accept": ("stop", "length", *sorted(RESAMPLED))}
    return [
        Case("llama", DenseCaption, _of(chats.long_llama), options, graph),
        Case("llama", Context, _of(chats.long_llama), options, graph),
        Case("llama", GrandV1Context, _of(chats.long_llama), options, _context),
    ]


@cache
def cases() -> tuple[Case, ...]:
    """Every pair of a stage and an architecture."""
    return (*_tags(), *_detections(), *_grounded(), *_masks(), *_objects(), *_images(), *_texts())


NOT_TORCH = {"phrases", "grand_v1_phrases", "grand_v1_dense_grounding"}
"""Stages whose model is a pipeline of spaCy."""
