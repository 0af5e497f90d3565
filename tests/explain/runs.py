"""A run with two images, its fragments written by hand: what stages would have left behind."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from grand_pipeline import columns as c
from grand_pipeline import geometry
from grand_pipeline.columns import Column, ImageRow
from grand_pipeline.generation import Generation
from grand_pipeline.store import ERROR, SKIPPED, Run
from grand_pipeline.types import (
    AssignedLabel,
    Attribute,
    Box,
    Caption,
    DenseCaption,
    DepthMap,
    Detection,
    Instance,
    Landmark,
    ObjectMask,
    PhraseBox,
    PhraseLink,
    Placement,
    Relation,
    Rle,
    Segment,
    Span,
    Tag,
    Vote,
)

SIZE = (100, 100)
DOG: Box = (10, 10, 40, 40)
DOG_B: Box = (12, 10, 42, 40)  # IoU 0.875 with DOG
CAT: Box = (16, 10, 46, 40)  # IoU 0.667 with DOG
KITE: Box = (60, 60, 80, 80)
SKY: Box = (0, 0, 100, 9)
BALL: Box = (50, 10, 60, 20)

FUSION = {
    "min_votes": 2,
    "threshold": 0.1,
    "thresholds": [],
    "nms_iou": 0.6,
    "agreeing_iou": 0.5,
    "group_iou": 0.7,
    "conflict_iou": 0.85,
    "single_vote_score": None,
    "stuff": ["sky"],
    "max_floating": 100,
    "lexicon": {"synonyms": [["puppy", "dog"]], "hypernyms": []},
}
TABLES: dict[str, dict[str, Any]] = {
    "tags.t": {},
    "landmark": {},
    "depth": {},
    "open_detection.a": {"threshold": 0.05},
    "open_detection.b": {},
    "segments": {},
    "fusion": {"min_votes": 2},
    "linking": {},
    "masks": {},
    "attributes.x": {},
    "labels": {},
    "placement": {},
    "relations": {},
    "scene_graph": {},
    "dense_caption": {},
    "dense_grounding": {},
    "context": {},
}


def solid(box: Box) -> Rle:
    mask = np.zeros(SIZE, bool)
    x1, y1, x2, y2 = (int(side) for side in box)
    mask[y1:y2, x1:x2] = True
    return geometry.rle_encode(mask)


DETECTED_A = (
    Detection(DOG, 0.75, "dog"),
    Detection((11, 10, 41, 40), 0.5, "Puppy"),  # suppressed by the dog
    Detection(KITE, 0.5, "kite"),
    Detection((0, 0, 5, 5), 0.0625, "bird"),  # below the threshold
    Detection(SKY, 0.5, "sky"),
    Detection((0, 30, 100, 39), 0.25, "sky"),  # another region
)
DETECTED_B = (
    Detection(DOG_B, 0.5, "Dogs"),
    Detection(CAT, 0.25, "cat"),
    Detection((5, 5, 5, 9), 0.5, "dog"),  # no box
)
FUSED = (
    Instance(
        0, "object", "thing", DOG, 0.875, "dog", (Vote("a", "dog", 0.75), Vote("b", "Dogs", 0.5))
    ),
    Instance(1, "floating", "thing", KITE, 0.5, "kite", (Vote("a", "kite", 0.5),)),
    Instance(2, "floating", "stuff", SKY, 0.5, "sky", (Vote("a", "sky", 0.5),)),
    Instance(3, "floating", "thing", CAT, 0.25, "cat", (Vote("b", "cat", 0.25),)),
)
FINAL = (
    FUSED[0],
    Instance(1, "object", "thing", KITE, 0.5, "kite", (*FUSED[1].votes, Vote("g", "kite", 0.625))),
    *FUSED[2:],
    Instance(4, "floating", "thing", BALL, None, "ball", (Vote("g", "ball", 0.5),)),
)
CAPTION = "a dog with a kite and a ball"
DENSE = "A dog is here. The dog is red."

VALUES: dict[str, dict[Column[Any], Any]] = {
    "tags.t": {c.TAGS.of("t"): (Tag("park", 0.75, "t"),)},
    "landmark": {c.LANDMARK: Landmark("Park scene", "Meadow", "m")},
    "depth": {c.DEPTH_MAP: DepthMap.of(np.zeros((2, 2), np.float32))},
    "open_detection.a": {c.DETECTIONS.of("a"): DETECTED_A},
    "open_detection.b": {c.DETECTIONS.of("b"): DETECTED_B},
    "segments": {c.SEGMENTS: (Segment(DOG, solid(DOG), 0.75, 0.5),)},
    "fusion": {c.FUSED: FUSED},
    "captions.s": {c.CAPTIONS.of("s"): CAPTION},
    "phrase_grounding.g": {
        c.PHRASE_BOXES.of("g"): (
            PhraseBox("A kite", KITE, 0.625),
            PhraseBox("a ball", BALL, 0.5),
        )
    },
    "linking": {
        c.INSTANCES: FINAL,
        c.LINKS: (PhraseLink("a dog", (0,), "s"), PhraseLink("a kite", (1,), "s")),
        c.GROUNDED_CAPTIONS: (Caption("s", CAPTION, (Span(0, 5, (0,)), Span(11, 17, (1,)))),),
    },
    "masks": {
        c.MASKS: (
            ObjectMask(0, solid(DOG), "auto", 0.75),
            *(ObjectMask(i, solid(KITE), "box", 0.5) for i in range(1, 5)),
        )
    },
    "attributes.x": {c.ATTRIBUTES.of("x"): (Attribute(0, "x", "red"),)},
    "labels": {c.ASSIGNED: (AssignedLabel(0, "puppy", 0.75), AssignedLabel(1, "kite", 1.0))},
    "placement": {
        c.PLACEMENTS: (
            Placement(0, 0.75, "Immediate Foreground", 0),
            Placement(1, 0.25, "Background", 1),
            Placement(3, 0.5, "Foreground", 0),
        )
    },
    "relations": {c.RELATIONS: (Relation(0, "left of", 1, "geometry"),)},
    "scene_graph": {c.SCENE_GRAPH: "Foreground:\n- group 0: [0] dog (red); [2][5] sky"},
    "dense_caption": {
        c.DENSE_DRAFT: Generation("p", "<p>A dog</p>[0] is here. The dog is red.", "llm", "stop")
    },
    "dense_grounding": {
        c.DENSE_CAPTION: DenseCaption(
            DENSE, (Span(0, 5, (0,)), Span(15, 22, (0,))), "llm", "stop", True
        )
    },
    "context": {c.CONTEXT: Generation("p", "Dogs bark.", "llm", "stop")},
}
PARENTS = {"fusion": ("open_detection.a", "open_detection.b"), "linking": ("fusion",)}
OPTIONS: dict[str, dict[str, Any]] = {
    "fusion": FUSION,
    "masks": {"prefer": "auto", "match_iou": 0.65, "model": "m/sam"},
    "labels": {"vote_weight": 2.0},
    "placement": {"cuts": [0.1, 0.6, 0.85], "group_distance": 0.2},
    "scene_graph": {"min_score": 0.75},
    "dense_grounding": {"match": "always"},
    "open_detection.a": {"threshold": 0.05},
}


def build(root: Path, stages: Sequence[str] = tuple(VALUES), until: str | None = None) -> Run:
    """The run, with the fragments of `stages`; the second image failed in fusion."""
    run = Run.create(
        root / "run", {"name": "t", "description": "", "stages": TABLES, "until": until}
    )
    rows = [
        ImageRow(
            "ab" * 16, "/pictures/one/dog.png", ("/pictures/copy.png",), 100, 100, "PNG", None, None
        ),
        ImageRow("ac" * 16, "/pictures/two/dog.png", (), 100, 100, "PNG", None, None),
        ImageRow(
            "ff" * 16, "/pictures/two/broken.png", (), None, None, None, "not a picture", None
        ),
    ]
    shard = run.add_shard(rows)
    for key in stages:
        commit(run, shard, key, VALUES[key], OPTIONS.get(key, {}))
    return run


def identity(key: str, options: Mapping[str, Any]) -> str:
    """What the footer of a hand-made fragment says."""
    weights = {f"m/{key.partition('.')[0]}": "sha256:0"} if key not in ("fusion", "linking") else {}
    parents = {parent: mark(parent) for parent in PARENTS.get(key, ())}
    return json.dumps({"options": dict(options), "weights": weights, "parents": parents})


def mark(key: str) -> str:
    return hashlib.sha256(identity(key, OPTIONS.get(key, {})).encode()).hexdigest()[:32]


def commit(
    run: Run, shard: str, key: str, values: Mapping[Column[Any], Any], options: Mapping[str, Any]
) -> None:
    """Publish a fragment: values for the first image; fusion failed on the second."""
    failed = key == "fusion"
    table = {
        "image_id": pa.array([row.image_id for row in run.shard_images(shard)]),
        **{
            column.name: pa.array([column.encode(value), None, None], column.type)
            for column, value in values.items()
        },
        ERROR: pa.array([None, "ValueError: boom" if failed else None, None], pa.string()),
        SKIPPED: pa.array([None, None if failed else "fusion", "ingest"], pa.string()),
    }
    text = identity(key, options)
    footer = {
        "fingerprint": hashlib.sha256(text.encode()).hexdigest()[:32],
        "identity": text,
        "digest": run.shard_digest(shard),
    }
    run.discard(key, shard)
    run.commit(key, shard, pa.table(table), footer)
