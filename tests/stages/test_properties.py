"""What holds for every input of the stages between detections and grounded texts.

The stages run one after the other, as in a plan: fusion, linking, mask matching, placement,
relations, scene graph, grounding of the dense caption.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grand_pipeline import columns as c
from grand_pipeline import geometry
from grand_pipeline.columns import Column
from grand_pipeline.generation import Generation
from grand_pipeline.record import Record
from grand_pipeline.stage import Failed, Stage
from grand_pipeline.types import (
    AssignedLabel,
    Attribute,
    Box,
    DepthMap,
    Detection,
    Instance,
    Landmark,
    ObjectMask,
    Phrase,
    PhraseBox,
    Span,
)
from stages.level1.fusion import Fusion
from stages.level1.masks import match
from stages.level2.linking import Linking
from stages.level2.relations import Relations
from stages.level3.dense_grounding import DenseGrounding
from stages.level3.placement import Placement
from stages.level3.scene_graph import SceneGraphStage
from tests.records import record_of

SIZE = (100, 120)
STUFF = ("sky", "grass")
SETTINGS = settings(max_examples=25)
Values = dict[Column[Any], Any]

WORDS = [
    *("dog", "Dogs", "a dog", "animal", "cat", "man", "woman", "sky", "Grass", "red_car"),
    *("", " ", "\u200b", "\ufeff\u00ad", "()", "the", "_", "\u0301", "dog\u200b", "\u202edog"),
    *("\N{DOG FACE}", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u05db\u05dc\u05d1", "\x00"),
    *("\u0643\u0644\u0628 \u0628\u0646\u064a", "cafe\u0301", "\ufb01sh", "\u0130stanbul"),
    *("stra\u00dfe", "[0]", "<p>dog</p>[1]", "\u200d", "\u202e[1]\u202c"),
]  # fmt: skip
LABEL = st.sampled_from(WORDS) | st.text(max_size=6)
SIDE = st.integers(-20, 140) | st.sampled_from([math.nan, math.inf, -math.inf, 1e30, 0.25, 99.999])
BOX: st.SearchStrategy[Box] = st.tuples(SIDE, SIDE, SIDE, SIDE).map(lambda b: tuple(map(float, b)))
GOOD_BOX: st.SearchStrategy[Box] = st.tuples(
    st.integers(0, 100), st.integers(0, 80), st.integers(1, 20), st.integers(1, 20)
).map(lambda b: (float(b[0]), float(b[1]), float(b[0] + b[2]), float(b[1] + b[3])))
SCORE = st.integers(0, 20).map(lambda n: n / 20) | st.sampled_from([math.nan, math.inf, -1.0, 7.0])
DETECTION = st.builds(Detection, GOOD_BOX | BOX, SCORE, LABEL)
DETECTIONS = st.dictionaries(st.sampled_from("abc"), st.lists(DETECTION, max_size=7), min_size=1)
CAPTION = st.lists(LABEL, max_size=6).map(" ".join)


@st.composite
def images(draw: st.DrawFn) -> Values:
    """What models say of one image, however strange."""
    values: Values = {c.DETECTIONS.of("z"): ()}
    for source, found in draw(DETECTIONS).items():
        values[c.DETECTIONS.of(source)] = tuple(found)
    captions = {source: draw(CAPTION) for source in ("p", "q")}
    values |= {c.CAPTIONS.of(source): text for source, text in captions.items()}
    phrases = tuple(p for s, text in captions.items() for p in draw(_phrases(s, text)))
    values[c.PHRASES] = phrases
    texts = [p.text for p in phrases] or ["a dog"]
    grounded = st.builds(PhraseBox, st.sampled_from(texts), GOOD_BOX | BOX, SCORE | st.none())
    values[c.PHRASE_BOXES.of("g")] = tuple(draw(st.lists(grounded, max_size=6)))
    values[c.LANDMARK] = Landmark("Park scene", "Meadow", "m")
    depths = draw(st.lists(st.floats(-2, 2, width=16), min_size=6, max_size=6))
    values[c.DEPTH_MAP] = DepthMap.of(np.array(depths, np.float32).reshape(2, 3))
    parts = st.sampled_from(["<p>", "</p>", "[0]", "[1][4]", "[99]", " ", *WORDS])
    values[c.DENSE_DRAFT] = Generation(
        "p", "".join(draw(st.lists(parts, max_size=12))), "l", "stop"
    )
    return values


@st.composite
def _phrases(draw: st.DrawFn, source: str, text: str) -> tuple[Phrase, ...]:
    """Pieces of a caption with offsets that mostly hold."""
    found: list[Phrase] = []
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, len(text)))
        shift = draw(st.sampled_from([0, 0, -1, 2]))
        head = draw(st.sampled_from([text[start:end], "dog", ""]))
        found.append(Phrase(source, text[start:end], head, start + shift, end + shift))
    return tuple(found)


def chain(values: Values) -> Values:
    """All columns of an image after every stage."""
    known = dict(values)
    known |= row(Fusion(stuff=STUFF, single_vote_score=0.9), known)
    known |= row(Linking(stuff=STUFF), known)
    found: tuple[Instance, ...] = known[c.INSTANCES]
    known[c.MASKS] = tuple(ObjectMask(i.id, solid(i.box), "box", 0.5) for i in found)
    known |= row(Placement(), known)
    known[c.ASSIGNED] = tuple(AssignedLabel(i.id, i.label, 1.0) for i in found)
    known[c.ATTRIBUTES.of("x")] = tuple(Attribute(i.id, "x", "red") for i in found[::2])
    known |= row(Relations(captions=True, floating=True), known)
    known |= row(SceneGraphStage(), known)
    known |= row(DenseGrounding(match="always"), known)
    return known


def row(stage: Stage[None], values: Values) -> Values:
    (found,) = stage.annotate(None, [record(values)])
    assert not isinstance(found, Failed)
    return dict(found)


def record(values: Values) -> Record:
    return record_of(values, SIZE)


def solid(box: Box) -> Any:
    mask = np.zeros(SIZE, bool)
    x1, y1, x2, y2 = (round(side) for side in box)
    mask[y1:y2, x1:x2] = True
    return geometry.rle_encode(mask)


def shuffled(values: Values, seed: int) -> Values:
    """The same image with rows and sources in another order."""
    rng = np.random.default_rng(seed)
    names = list(values)
    turned: Values = {}
    for index in rng.permutation(len(names)):
        column, value = names[index], values[names[index]]
        loose = column.name.startswith(("detections.", "phrase_boxes.")) or column == c.PHRASES
        turned[column] = tuple(value[i] for i in rng.permutation(len(value))) if loose else value
    return turned


@SETTINGS
@given(images(), st.integers(0, 99))
def test_order_of_rows_and_sources_changes_nothing(values: Values, seed: int) -> None:
    first, second = chain(values), chain(shuffled(values, seed))
    for column in (c.FUSED, c.INSTANCES, c.LINKS, c.PLACEMENTS, c.RELATIONS, c.DENSE_CAPTION):
        assert first[column] == second[column], column.name


@SETTINGS
@given(st.lists(images(), min_size=2, max_size=4), st.integers(0, 99))
def test_images_do_not_influence_each_other(many: list[Values], seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(many))
    for stage in (Fusion(stuff=STUFF), Linking()):
        known = [dict(one) | row(Fusion(stuff=STUFF), one) for one in many]
        together = stage.annotate(None, [record(known[i]) for i in order])
        assert len(together) == len(many)
        for index, found in zip(order, together, strict=True):
            assert found == row(stage, known[index])


@SETTINGS
@given(images())
def test_every_reference_resolves_and_every_number_is_sound(values: Values) -> None:
    found = chain(values)
    instances: tuple[Instance, ...] = found[c.INSTANCES]
    ids = {instance.id for instance in instances}
    assert len(ids) == len(instances)
    for instance in instances:
        x1, y1, x2, y2 = instance.box
        assert 0 <= x1 < x2 <= SIZE[1] and 0 <= y1 < y2 <= SIZE[0]
        assert instance.score is None or 0 <= instance.score <= 1
        assert visible(instance.label)
        assert instance.votes
    assert [p.object_id for p in found[c.PLACEMENTS]] == [i.id for i in instances]
    assert all(math.isfinite(p.depth) for p in found[c.PLACEMENTS])
    for relation in found[c.RELATIONS]:
        assert {relation.subject, relation.object} <= ids
        assert relation.subject != relation.object
    for link in found[c.LINKS]:
        assert link.object_ids and set(link.object_ids) <= ids
    shown = {int(i) for i in re.findall(r"^- group \d+: \[(\d+)\]", found[c.SCENE_GRAPH], re.M)}
    assert shown <= ids


@SETTINGS
@given(images())
def test_spans_cut_out_of_stored_text_what_they_promise(values: Values) -> None:
    found = chain(values)
    ids = {instance.id for instance in found[c.INSTANCES]}
    links = {link.text for link in found[c.LINKS]}
    for caption in found[c.GROUNDED_CAPTIONS]:
        check_spans(caption.text, caption.spans, ids)
        assert {caption.text[s.start : s.end] for s in caption.spans} <= links
    check_spans(found[c.DENSE_CAPTION].text, found[c.DENSE_CAPTION].spans, ids)


def check_spans(text: str, spans: Sequence[Span], ids: set[int]) -> None:
    assert unicodedata.is_normalized("NFC", text)
    assert all(first.end <= second.start for first, second in pairwise(spans))
    for span in spans:
        assert 0 <= span.start < span.end <= len(text)
        assert span.object_ids and set(span.object_ids) <= ids


def visible(label: str) -> bool:
    """Whether a label has anything that a reader sees."""
    return any(unicodedata.category(mark)[0] not in "CZ" for mark in label)


@SETTINGS
@given(DETECTIONS, st.sampled_from("abcd"), st.sampled_from(["dog", "cat", "sky", "\N{DOG FACE}"]))
def test_a_lone_detection_takes_nothing_away(
    detections: dict[str, list[Detection]], source: str, label: str
) -> None:
    stage = Fusion(stuff=STUFF)
    alone = Detection((500.0, 500.0, 520.0, 520.0), 0.3, label)
    more = {**detections, source: [*detections.get(source, ()), alone]}
    wide = (600, 600)
    before, after = stage.fuse(clear(detections), wide), stage.fuse(clear(more, alone), wide)
    assert [i for i in before if i.status == "object"] == [i for i in after if i.status == "object"]
    kept = {(i.box, i.label, i.votes) for i in after}
    assert {(i.box, i.label, i.votes) for i in before if i.kind != "stuff"} <= kept


def clear(
    detections: Mapping[str, Sequence[Detection]], alone: Detection | None = None
) -> dict[str, list[Detection]]:
    """Without what would overlap the lone detection."""
    return {
        source: [d for d in found if d is alone or all(abs(side) < 400 for side in d.box)]
        for source, found in detections.items()
    }


BOXES = st.lists(GOOD_BOX, max_size=8)


@SETTINGS
@given(BOXES, BOXES, st.integers(0, 99))
def test_masks_are_matched_one_to_one_whatever_the_order(
    boxes: list[Box], candidates: list[Box], seed: int
) -> None:
    one, two = geometry.as_boxes(boxes), geometry.as_boxes(candidates)
    overlap = geometry.iou(one, two)
    found = match(one, two, 0.5)
    assert len(set(found.values())) == len(found)
    assert all(overlap[row, column] >= 0.5 for row, column in found.items())
    total = sum(float(overlap[pair]) for pair in found.items())
    rows = np.random.default_rng(seed).permutation(len(one))
    columns = np.random.default_rng(seed + 1).permutation(len(two))
    turned = match(one[rows], two[columns], 0.5)
    assert len(turned) == len(found)
    again = sum(float(overlap[rows[i], columns[j]]) for i, j in turned.items())
    assert again == pytest.approx(total)


def crowd(kind: str) -> dict[str, list[Detection]]:
    rng = np.random.default_rng(7)
    if kind == "empty":
        return {"a": [], "b": []}
    if kind == "single":
        return {"a": [Detection((1, 1, 9, 9), 0.5, "dog")]}
    if kind == "identical":
        return {s: [Detection((1, 1, 9, 9), 0.5, "dog")] * 2500 for s in "ab"}
    if kind == "identical boxes":
        return {s: [Detection((1, 1, 9, 9), 0.5, f"{s}{n}x") for n in range(1700)] for s in "abc"}
    corners = rng.uniform(0, 80, (5000, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(2, 20, (5000, 2))], axis=1)
    words = rng.choice(["dog", "cats", "man", "tree", "sky", "animal"], 5000).tolist()
    scores = rng.uniform(0, 1, 5000).tolist()
    found = [
        Detection(geometry.as_box(b), s, w) for b, s, w in zip(boxes, scores, words, strict=True)
    ]
    return {f"s{n}": found[n::7] for n in range(7)}


@pytest.mark.parametrize(
    ("kind", "least", "most"),
    [
        ("empty", 0, 0),
        ("single", 1, 1),
        ("identical", 1, 1),
        ("identical boxes", 1, 1),
        ("many", 100, 5000),
    ],
)
def test_sizes(kind: str, least: int, most: int) -> None:
    found = Fusion(max_floating=5000).fuse(crowd(kind), SIZE)
    assert least <= len(found) <= most
    places = Placement().place(found, (), DepthMap.of(np.ones((2, 2))), SIZE)
    assert len(places) == len(found)
    assert match(geometry.as_boxes([i.box for i in found]), geometry.as_boxes([]), 0.5) == {}
