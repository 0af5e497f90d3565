"""A published row as GranD's JSON: its keys, and what comes back when it is imported."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grand_pipeline.columns import Annotation, ImageRow, NamedAttribute, PublishedObject
from grand_pipeline.exporters.grand_annotation import Beside, annotation_of
from grand_pipeline.geometry import rle_encode
from grand_pipeline.importers import annotation
from grand_pipeline.importers.notes import Notes
from grand_pipeline.publish import publish
from grand_pipeline.types import (
    Affordance,
    Caption,
    Context,
    DenseCaption,
    Landmark,
    PhraseLink,
    RegionText,
    Relation,
    Rle,
    Span,
    Vote,
)
from tests.exporters.held import held

SIZE = (60, 80)
IMAGE = ImageRow("ab" * 16, "/pictures/a.jpg", (), 80, 60, "JPEG", None, None)
EMPTY = publish(IMAGE, {})


def solid(width: int) -> Rle:
    mask = np.zeros(SIZE, bool)
    mask[5:9, :width] = True
    return rle_encode(mask)


def thing(number: int, **more: Any) -> PublishedObject:
    values: dict[str, Any] = {
        "status": "object",
        "kind": "thing",
        "box": (1.0, 2.0, 30.0, 40.5),
        "score": float(np.float32(0.9)),
        "label": "dog",
        "votes": (Vote("a", "Dogs", 0.5), Vote("b", "dog", 0.4), Vote("c", "dog", 0.3)),
        "attributes": (),
        "mask": None,
        "mask_source": None,
        "mask_score": None,
        "depth": None,
        "layer": None,
        "group": None,
    }
    return PublishedObject(id=number, **{**values, **more})


TEXT = "A dog on grass. The dog is brown."
ROW = Annotation(
    IMAGE.image_id,
    IMAGE.uri,
    80,
    60,
    tags=(),
    landmark=Landmark("Outdoor scene", "Rural", "m"),
    objects=(
        thing(3, status="floating", label="kite", votes=(Vote("g", "kite", None),), score=None),
        thing(
            5,
            attributes=(NamedAttribute("x", "brown"), NamedAttribute("y", "a brown dog")),
            mask=solid(7),
            mask_source="auto",
            mask_score=0.5,
            depth=0.25,
            layer="Foreground",
            group=1,
        ),
        thing(6, label="person", votes=(), mask=solid(9), mask_source="given"),
    ),
    phrases=(PhraseLink("a dog", (5,), "b"), PhraseLink("a dog", (3, 5), "l")),
    relations=(Relation(5, "on", 6, "geometry"),),
    captions=(Caption("b", "a dog", (Span(0, 5, (5, 3)),)),),
    scene_graph="[5] dog",
    dense_caption=DenseCaption(TEXT, (Span(0, 5, (5,)), Span(16, 32, (5, 6))), "llm", "stop", True),
    context=Context("Dogs bark.", "llm", "stop"),
    errors=(),
)
BESIDE = Beside(
    (Affordance("pet", None, (5, 77), ("dog",)), Affordance("gone", "x", (77,), ("cat",))),
    (RegionText((0.0, 0.0, 5.0, 5.0), "a blue sky", 0.5),),
)


def back(said: Any) -> tuple[Annotation, Any]:
    """The row that an import of the annotation publishes, and all its columns."""
    read = annotation.row_of(json.loads(json.dumps(said, allow_nan=False)), SIZE, Notes())
    return publish(IMAGE, {column.name: value for column, value in read.items()}), read


def test_the_keys_are_those_of_a_finished_annotation() -> None:
    said = annotation_of(ROW, BESIDE)
    assert list(said) == [
        *("objects", "floating_objects", "floating_attributes", "landmark", "affordances"),
        *("id_counter", "relationships", "short_captions", "dense_caption", "additional_context"),
    ]
    dog, person = said["objects"]
    assert dog == {
        "bbox": [1.0, 2.0, 30.0, 40.5],
        "labels": ["Dogs", "dog"],
        "attributes": ["brown", "a brown dog"],
        "id": 5,
        "score": 0.9,
        "depth": 0.25,
        "label": "dog",
        "segmentation": {"size": [60, 80], "counts": solid(7).counts},
        "segmentation_source": "SAM",
    }
    assert (person["labels"], person["attributes"]) == (["person"], None)
    assert "segmentation" in person and "segmentation_source" not in person
    (kite,) = said["floating_objects"]
    assert kite["id"] == 3 and "score" not in kite
    assert said["floating_attributes"] == [
        {"bbox": [0.0, 0.0, 5.0, 5.0], "labels": [], "score": 0.5, "attributes": ["a blue sky"]}
    ]
    assert said["affordances"] == {"pet": {"description": "", "object_ids": [5], "labels": ["dog"]}}
    assert said["id_counter"] == 7
    assert said["relationships"] == {
        "object_ids": [5],
        "floating_object_ids": [3],
        "grounding": [{"phrase": "a dog", "object_ids": [5, 3]}],
    }
    (caption,) = said["short_captions"]
    assert caption["details"] == [
        {
            "phrase": "a dog",
            "tokens_positive": [0, 5],
            "ids": [5, 3],
            "id": 5,
            "bbox": [1.0, 2.0, 30.0, 40.5],
        }
    ]
    longer, shorter = said["dense_caption"]["details"]
    assert (longer["phrase"], longer["ids"]) == ("The dog is brown", [5, 6])
    assert len(longer["bbox"]) == 2 and shorter["phrase"] == "A dog"


def test_an_image_of_which_nothing_is_known() -> None:
    said = annotation_of(EMPTY)
    assert said["objects"] == [] and said["landmark"] == "" and said["id_counter"] == 0
    assert "dense_caption" not in said and "additional_context" not in said
    assert back(said)[0] == EMPTY


def test_a_row_comes_back_by_import() -> None:
    row, columns = back(annotation_of(ROW, BESIDE))
    assert held(row) == held(ROW)
    named = {column.name: value for column, value in columns.items()}
    assert named["affordances"] == (Affordance("pet", None, (5,), ("dog",)),)
    assert named["descriptions.grand"] == BESIDE.regions


def test_numbers_that_are_not_finite_are_left_out() -> None:
    odd = thing(0, score=float("nan"), depth=float("inf"))
    (said,) = annotation_of(publish_with(odd))["objects"]
    assert "score" not in said and "depth" not in said


def publish_with(*objects: PublishedObject) -> Annotation:
    return Annotation(**{**vars(EMPTY), "objects": objects})


LABELS = st.sampled_from(["dog", "tennis racket", "person", "\u05db\u05dc\u05d1"])
RAW = st.sampled_from(["Dogs", "tennis_racket", "car_(automobile)", "dog", "\U0001f436"])
WORDS = st.lists(
    st.sampled_from(["a", "Dog", "caf\u00e9", "\u05db\u05dc\u05d1", "\U0001f436", "on", "x,y"]),
    min_size=1,
    max_size=8,
)
HALF = st.floats(0, 1, width=32)
WIDE = st.floats(-1e5, 1e5, width=32)


@st.composite
def boxes(draw: st.DrawFn) -> tuple[float, float, float, float]:
    x1, y1 = draw(st.floats(0, 79, width=32)), draw(st.floats(0, 59, width=32))
    x2 = draw(st.floats(min_value=x1, max_value=80, exclude_min=True, width=32))
    y2 = draw(st.floats(min_value=y1, max_value=60, exclude_min=True, width=32))
    return x1, y1, x2, y2


@st.composite
def texts(draw: st.DrawFn, ids: list[int]) -> tuple[str, tuple[Span, ...]]:
    """A text, and spans on some of its words that do not overlap."""
    words = draw(WORDS)
    text, spans, place = " ".join(words), [], 0
    for word in words:
        some = draw(st.lists(st.sampled_from(ids), max_size=3, unique=True)) if ids else []
        if some:
            spans.append(Span(place, place + len(word), tuple(some)))
        place += len(word) + 1
    return text, tuple(spans)


@st.composite
def rows(draw: st.DrawFn) -> Annotation:
    """Rows with everything that the format can hold, and what it can not."""
    ids = draw(st.lists(st.integers(0, 200), max_size=4, unique=True))
    objects = [
        thing(
            number,
            status=draw(st.sampled_from(["object", "floating"])),
            box=draw(boxes()),
            score=draw(st.none() | HALF),
            label=draw(LABELS),
            votes=tuple(Vote("m", label, 0.5) for label in draw(st.lists(RAW, max_size=3))),
            attributes=tuple(
                NamedAttribute("s", text) for text in draw(st.lists(LABELS, max_size=2))
            ),
            depth=draw(st.none() | WIDE),
            **draw(st.sampled_from([{}, *({"mask": solid(3), "mask_source": s} for s in SOURCES)])),
        )
        for number in ids
    ]
    links = st.tuples(LABELS, st.lists(st.sampled_from(ids or [0]), min_size=1, unique=True))
    told = draw(st.lists(links, max_size=3)) if ids else []
    said = draw(st.lists(texts(ids), max_size=3))
    dense = draw(st.none() | texts(ids))
    return Annotation(
        **{
            **vars(EMPTY),
            "objects": tuple(objects),
            "landmark": draw(st.none() | st.just(Landmark("Indoor scene", "", "m"))),
            "phrases": tuple(PhraseLink(text, tuple(of), "b") for text, of in told),
            "captions": tuple(Caption("b", text, spans) for text, spans in said),
            "dense_caption": dense and DenseCaption(*dense, "llm", "length", True),
            "context": draw(st.none() | st.just(Context("Dogs bark.", "llm", "length"))),
        }
    )


SOURCES = ("auto", "box", "detector", "given")


@given(rows())
def test_every_row_comes_back(row: Annotation) -> None:
    said = annotation_of(row)
    again, _ = back(said)
    assert held(again) == held(row)
    assert annotation_of(again) == said, "the second export is the first"


@pytest.mark.parametrize("source", SOURCES)
def test_every_kind_of_mask_comes_back(source: str) -> None:
    row = publish_with(thing(0, mask=solid(3), mask_source=source))
    assert back(annotation_of(row))[0].objects[0].mask_source == source
