"""One declaration gives type, encoder and decoder: what goes into Arrow comes out equal."""

from __future__ import annotations

import datetime
import json
import typing
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grand_pipeline import codec, types
from grand_pipeline.columns import ANNOTATION_SCHEMA, COLUMNS, Annotation, Column, Family, ImageRow
from grand_pipeline.generation import Generation

repeatable = settings(derandomize=True, deadline=None, max_examples=30)
column = pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)

single = st.floats(-1e4, 1e4, width=32)
# Arrow text is UTF-8, which has no lone surrogates.
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
scalars: dict[Any, st.SearchStrategy[Any]] = {
    str: text,
    int: st.integers(-(2**31), 2**31 - 1),
    float: single,
    bool: st.booleans(),
    bytes: st.binary(max_size=4),
}


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Random values of an annotation, built from the annotation alone."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint in scalars:
        return scalars[hint]
    if hasattr(hint, "__supertype__"):
        return values(hint.__supertype__)
    if origin is typing.Literal:
        return st.sampled_from(args)
    if type(None) in args:
        return st.none() | values(args[0])
    if origin is tuple and args[-1] is Ellipsis:
        return st.lists(values(args[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*(values(arg) for arg in args))
    hints = typing.get_type_hints(hint)
    return st.builds(hint, **{name: values(field) for name, field in hints.items()})


def through_arrow(hint: Any, value: Any) -> Any:
    array = pa.array([codec.encode(value), None], type=codec.arrow_type(hint))
    array.validate(full=True)
    plain, null = array.to_pylist()
    assert null is None
    return codec.decode(hint, plain)


@column
@repeatable
@given(data=st.data())
def test_every_column_survives_arrow(
    column: Column[Any] | Family[Any], data: st.DataObject
) -> None:
    value = data.draw(values(column.hint))
    assert through_arrow(column.hint, value) == value


@pytest.mark.parametrize("row", [Annotation, ImageRow])
@repeatable
@given(data=st.data())
def test_rows_survive_arrow(row: Any, data: st.DataObject) -> None:
    value = data.draw(values(row))
    assert through_arrow(row, value) == value


@column
def test_every_column_is_documented_and_named_once(column: Column[Any] | Family[Any]) -> None:
    assert column.doc.endswith(".")
    assert [other.name for other in COLUMNS].count(column.name) == 1
    assert "." not in column.name


def test_published_schema_is_the_contract() -> None:
    def list_of(**fields: pa.DataType) -> pa.DataType:
        return pa.list_(pa.struct(list(fields.items())))

    text, whole, real = pa.string(), pa.int32(), pa.float32()
    ids = pa.list_(whole)
    spans = list_of(start=whole, end=whole, object_ids=ids)
    objects = list_of(
        id=whole,
        status=text,
        kind=text,
        box=pa.list_(real, 4),
        score=real,
        label=text,
        votes=list_of(source=text, label=text, score=real),
        attributes=list_of(source=text, text=text),
        mask=pa.struct([("size", pa.list_(whole, 2)), ("counts", text)]),
        mask_source=text,
        mask_score=real,
        depth=real,
        layer=text,
        group=whole,
    )
    dense = [("text", text), ("spans", spans), ("source", text), ("finish_reason", text)]
    expected = pa.schema(
        [
            ("image_id", text),
            ("uri", text),
            ("width", whole),
            ("height", whole),
            ("tags", list_of(name=text, score=real, source=text)),
            ("landmark", pa.struct({k: text for k in ("category", "fine_category", "source")})),
            ("objects", objects),
            ("phrases", list_of(text=text, object_ids=ids, source=text)),
            ("relations", list_of(subject=whole, predicate=text, object=whole, source=text)),
            ("captions", list_of(source=text, text=text, spans=spans)),
            ("scene_graph", text),
            ("dense_caption", pa.struct([*dense, ("verified", pa.bool_())])),
            ("context", pa.struct({k: text for k in ("text", "source", "finish_reason")})),
            ("errors", list_of(stage=text, message=text)),
        ]
    )
    assert expected.equals(ANNOTATION_SCHEMA)


def test_lists_decode_to_tuples_all_the_way_down() -> None:
    relation = types.Relation(0, "on", 1, "geometry")
    (found,) = through_arrow(tuple[types.Relation, ...], (relation,))
    assert found == relation
    assert through_arrow(tuple[tuple[int, int], ...], ((1, 2),)) == ((1, 2),)


@pytest.mark.parametrize("hint", [dict[str, int], int | str, object])
def test_what_has_no_arrow_type_is_refused(hint: Any) -> None:
    with pytest.raises(TypeError):
        codec.arrow_type(hint)


@repeatable
@given(st.integers(1, 5), st.integers(1, 5), st.data())
def test_depth_map_keeps_half_precision(height: int, width: int, data: st.DataObject) -> None:
    drawn = data.draw(st.lists(single, min_size=height * width, max_size=height * width))
    array = np.array(drawn, np.float32).reshape(height, width)
    stored = types.DepthMap.of(array)
    assert stored.grid == (height, width)
    np.testing.assert_array_equal(stored.array(), array.astype(np.float16))
    turned = types.DepthMap.of(array.T)
    np.testing.assert_array_equal(turned.array(), array.T.astype(np.float16))


def test_family_members() -> None:
    family: Family[int] = Family("tags", int, "Numbers.")
    assert family.of("clip").name == "tags.clip"
    assert family.owns("tags.clip")
    assert not family.owns("tags")
    assert not family.owns("tagsy.clip")
    assert family.source("tags.clip.b") == "clip.b"


def test_fields_added_since_a_file_was_written_have_their_defaults() -> None:
    old = {"prompt": "p", "answer": "a", "source": "m", "finish_reason": "stop"}
    assert codec.decode(Generation, old) == Generation("p", "a", "m", "stop")


def test_json_holds_what_any_program_reads() -> None:
    plain = {"a": [1.5, float("nan"), float("-inf")], "b": {"c": "\N{GRINNING FACE}", "d": None}}
    text = codec.json_text(plain)
    assert json.loads(text) == {"a": [1.5, None, None], "b": {"c": "\N{GRINNING FACE}", "d": None}}
    assert "\N{GRINNING FACE}" in text
    assert json.loads(codec.json_text(datetime.date(2026, 1, 2))) == "2026-01-02"
