"""Hand-made rows and rows of rendered scenes."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from grand_pipeline.columns import Annotation, ImageRow, NamedAttribute, PublishedObject
from grand_pipeline.geometry import rle_encode
from grand_pipeline.picturebook.render import render
from grand_pipeline.picturebook.truth import annotation
from grand_pipeline.types import Box, DenseCaption, DepthMap, Relation, Rle, Span

SIZE = (64, 64)


@lru_cache(maxsize=1)
def scenes(count: int = 4) -> tuple[tuple[Annotation, ...], dict[str, DepthMap]]:
    """True rows of rendered scenes, and their depth maps by image id."""
    rows, maps = [], {}
    for index in range(count):
        scene = render(41, index, size=128, held_out=True)
        name = f"{index:032x}"
        image = ImageRow(name, f"{index}.png", (), 128, 128, "PNG", None, None)
        rows.append(annotation(scene, image))
        maps[name] = DepthMap.of(scene.depth)
    return tuple(rows), maps


def filled(box: Box) -> Rle:
    """The mask of a whole box."""
    mask = np.zeros(SIZE, bool)
    x1, y1, x2, y2 = (round(value) for value in box)
    mask[y1:y2, x1:x2] = True
    return rle_encode(mask)


def thing(number: int, label: str, box: Box, **changes: Any) -> PublishedObject:
    """An object with a full mask and no votes; `color` becomes its attribute."""
    color = changes.pop("color", None)
    values: dict[str, Any] = {
        "status": "object",
        "kind": "thing",
        "score": 0.9,
        "votes": (),
        "attributes": (NamedAttribute("test", color),) if color else (),
        "mask": filled(box),
        "mask_source": "box",
        "mask_score": 0.9,
        "depth": 0.5,
        "layer": "Foreground",
        "group": 0,
    }
    return PublishedObject(id=number, box=box, label=label, **(values | changes))


def row(*objects: PublishedObject, name: str = "0", **changes: Any) -> Annotation:
    """An annotated image of 64 x 64 pixels."""
    values: dict[str, Any] = {
        "tags": (),
        "landmark": None,
        "phrases": (),
        "relations": (),
        "captions": (),
        "scene_graph": None,
        "dense_caption": None,
        "context": None,
        "errors": (),
    }
    return Annotation(
        name.rjust(32, "0"), f"{name}.png", 64, 64, objects=tuple(objects), **(values | changes)
    )


def related(*triples: tuple[int, str, int]) -> tuple[Relation, ...]:
    """Relations without a source."""
    return tuple(Relation(s, p, o, "test") for s, p, o in triples)


def spans(text: str, **phrases: int | tuple[int, ...]) -> tuple[Span, ...]:
    """Spans at the first place of each phrase; underscores stand for spaces."""
    found = []
    for phrase, ids in phrases.items():
        words = phrase.replace("_", " ")
        start = text.index(words)
        owners = ids if isinstance(ids, tuple) else (ids,)
        found.append(Span(start, start + len(words), owners))
    return tuple(found)


def dense(text: str, **phrases: int | tuple[int, ...]) -> DenseCaption:
    """A dense caption with spans."""
    return DenseCaption(text, spans(text, **phrases), "test", "stop", True)
