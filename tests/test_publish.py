from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from grand_pipeline import codec, columns
from grand_pipeline.columns import ANNOTATION_SCHEMA, ImageRow, NamedAttribute, StageError
from grand_pipeline.generation import Generation
from grand_pipeline.publish import annotation_rows, publish
from grand_pipeline.types import (
    AssignedLabel,
    Attribute,
    Box,
    Caption,
    Context,
    DenseCaption,
    Instance,
    Landmark,
    ObjectMask,
    PhraseLink,
    Placement,
    Relation,
    Rle,
    Span,
    Tag,
    Vote,
)

IMAGE = ImageRow("0" * 32, "a.png", (), 64, 48, "PNG", None, None)
MASK = Rle((48, 64), "abc")
VALUES: dict[columns.Column[Any], Any] = {
    columns.TAGS.of("b"): (Tag("dog", 0.5, "b"),),
    columns.TAGS.of("a"): (Tag("cat", 0.25, "a"),),
    columns.LANDMARK: Landmark("Outdoor scene", "Rural", "siglip"),
    columns.INSTANCES: (
        Instance(0, "object", "thing", (1, 2, 3, 4), 0.5, "dog", (Vote("x", "Dogs", 0.5),)),
        Instance(3, "floating", None, (5, 6, 7, 8), None, "cat"),
    ),
    columns.ASSIGNED: (AssignedLabel(0, "puppy", 0.75),),
    columns.MASKS: (ObjectMask(0, MASK, "box", 0.5),),
    columns.ATTRIBUTES.of("color"): (Attribute(0, "color", "red"), Attribute(9, "color", "blue")),
    columns.PLACEMENTS: (Placement(0, 0.5, "Foreground", 2),),
    columns.LINKS: (PhraseLink("a dog", (0,), "blip"),),
    columns.RELATIONS: (Relation(0, "left of", 3, "geometry"),),
    columns.GROUNDED_CAPTIONS: (Caption("blip", "a dog", (Span(0, 5, (0,)),)),),
    columns.SCENE_GRAPH: "Foreground:",
    columns.DENSE_CAPTION: DenseCaption("a dog", (Span(0, 5, (0,)),), "llm", "stop", True),
    columns.CONTEXT: Generation("prompt", " Cafe\u0301 dogs. ", "llm", "stop"),
}
PLAIN = {column.name: column.encode(value) for column, value in VALUES.items()}
DECODED = {column.name: value for column, value in VALUES.items()}


@pytest.mark.parametrize("given", [PLAIN, DECODED], ids=["plain", "decoded"])
def test_columns_are_joined_by_object(given: dict[str, Any]) -> None:
    row = publish(IMAGE, given)
    dog, cat = row.objects
    assert (dog.id, dog.label, dog.status, dog.kind) == (0, "puppy", "object", "thing")
    assert dog.attributes == (NamedAttribute("color", "red"),)
    assert (dog.mask, dog.mask_source, dog.mask_score) == (MASK, "box", 0.5)
    assert (dog.depth, dog.layer, dog.group) == (0.5, "Foreground", 2)
    assert dog.votes == (Vote("x", "Dogs", 0.5),)
    assert (cat.id, cat.label, cat.score, cat.mask, cat.layer) == (3, "cat", None, None, None)
    assert [tag.source for tag in row.tags] == ["a", "b"]
    assert row.context == Context("Caf\u00e9 dogs.", "llm", "stop")
    assert row.dense_caption == DECODED["dense_caption"]
    assert row.captions == DECODED["grounded_captions"]
    assert row.errors == ()


@pytest.mark.parametrize("box", [None, (1.0, 2.0, 4.0, 4.0)], ids=["its own", "its mask's"])
def test_an_object_has_its_own_box_or_its_mask_s(box: Box | None) -> None:
    given = DECODED | {"masks": (ObjectMask(0, MASK, "box", 0.5, box),)}
    dog, cat = publish(IMAGE, given).objects
    assert dog.box == (box or (1, 2, 3, 4))
    assert cat.box == (5, 6, 7, 8)


def test_rows_fit_the_published_schema() -> None:
    row = publish(IMAGE, PLAIN, [StageError("tags.a", "broken")])
    table = pa.Table.from_pylist([codec.encode(row)], schema=ANNOTATION_SCHEMA)
    back = table.to_pylist()[0]
    assert back["objects"][0]["mask"] == {"size": [48, 64], "counts": "abc"}
    assert back["errors"] == [{"stage": "tags.a", "message": "broken"}]


def test_missing_columns_are_null_or_empty() -> None:
    row = publish(IMAGE, {})
    assert row.objects == row.tags == row.captions == row.phrases == row.relations == ()
    assert (row.landmark, row.scene_graph, row.dense_caption, row.context) == (None,) * 4
    assert (row.width, row.height) == (64, 48)


def test_failed_columns_are_null_or_empty() -> None:
    assert publish(IMAGE, dict.fromkeys(PLAIN)) == publish(IMAGE, {})


def test_a_short_run_publishes_what_it_has() -> None:
    fused = (Instance(0, "object", None, (1, 2, 3, 4), 0.5, "dog"),)
    given = {
        "fused": columns.FUSED.encode(fused),
        "captions.blip": "cafe\u0301",
        "captions.git": None,
    }
    row = publish(IMAGE, given)
    assert [thing.label for thing in row.objects] == ["dog"]
    assert row.captions == (Caption("blip", "caf\u00e9"),)
    assert publish(IMAGE, given | {"instances": []}).objects == ()


def test_an_unreadable_image_has_its_reason_and_nothing_else() -> None:
    broken = replace(IMAGE, width=None, height=None, format=None, error="truncated file")
    row = publish(broken, PLAIN, [StageError("ingest", "old"), StageError("tags.a", "skipped")])
    assert row.errors == (StageError("ingest", "truncated file"), StageError("tags.a", "skipped"))
    assert row.objects == ()
    assert row.scene_graph is None


def test_annotation_rows_keep_the_order_of_images() -> None:
    images = [IMAGE, replace(IMAGE, image_id="1" * 32, error="zero bytes")]
    fragments = {"scene_graph": ["first", None]}
    rows = annotation_rows(images, fragments, [[StageError("depth", "no memory")], []])
    assert [row.image_id for row in rows] == ["0" * 32, "1" * 32]
    assert rows[0].scene_graph == "first"
    assert rows[0].errors == (StageError("depth", "no memory"),)
    assert rows[1].errors == (StageError("ingest", "zero bytes"),)


def test_a_list_per_image_is_needed() -> None:
    with pytest.raises(ValueError, match="zip"):
        annotation_rows([IMAGE], {}, [])
