"""What holds for any input, with and without the published faults."""

from __future__ import annotations

import random
import typing
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from grand_pipeline.grand_v1 import dense
from grand_pipeline.types import Box, Detection, Phrase, PhraseBox
from stages.level1.grand_v1_fusion import GrandV1Fusion
from stages.level2.grand_v1_linking import GrandV1Linking
from tests.grand_v1.parsing import lemmas, parse

SIZE = (60, 80)
WORDS = [
    "dog",
    "Dog",
    "person",
    "man",
    "a red car",
    "",
    "\u05db\u05dc\u05d1",
    "\U0001f436",
    "dog\u200b",
]
CAPTION = "a dog and a red car, a dog \u05db\u05dc\u05d1 caf\u00e9 it's"


def every_fault(stage: type[Any]) -> tuple[str, ...]:
    hint = typing.get_type_hints(stage)["defects"]
    return typing.get_args(typing.get_args(hint)[0])


@st.composite
def boxes(draw: Any) -> Box:
    x, y = draw(st.integers(-5, 79)), draw(st.integers(-5, 59))
    return (
        float(x),
        float(y),
        x + float(draw(st.integers(0, 80))),
        y + float(draw(st.integers(0, 60))),
    )


detections = st.lists(
    st.builds(Detection, boxes(), st.floats(0, 1), st.sampled_from(WORDS)), max_size=8
)
found = st.dictionaries(
    st.sampled_from(["eva-02-01", "co_detr", "owl_vit", "grit", "other"]), detections, max_size=4
)
faults = st.booleans()


@given(found, faults, st.randoms())
def test_order_of_input_changes_nothing_and_ids_count_objects_first(
    given_ones: dict[str, list[Detection]], faulty: bool, shuffled: random.Random
) -> None:
    stage = GrandV1Fusion(defects=every_fault(GrandV1Fusion) if faulty else ())
    fused = stage.fuse({s: tuple(d) for s, d in given_ones.items()}, SIZE)
    assert [i.id for i in fused] == list(range(len(fused)))
    assert sorted((i.status for i in fused), reverse=True) == [i.status for i in fused]
    for instance in fused:
        x1, y1, x2, y2 = instance.box
        assert 0 <= x1 < x2 <= SIZE[1] and 0 <= y1 < y2 <= SIZE[0] and instance.votes
    names = list(given_ones)
    shuffled.shuffle(names)
    mixed = {
        name: tuple(shuffled.sample(given_ones[name], len(given_ones[name]))) for name in names
    }
    assert stage.fuse(mixed, SIZE) == fused


@settings(max_examples=60)
@given(found, st.lists(st.tuples(boxes(), st.floats(0, 1) | st.none()), max_size=3), faults)
def test_every_reference_resolves_and_ids_stay(
    given_ones: dict[str, list[Detection]], placed: list[tuple[Box, float | None]], faulty: bool
) -> None:
    fused = GrandV1Fusion().fuse({s: tuple(d) for s, d in given_ones.items()}, SIZE)
    phrases = (
        Phrase("a", "a dog", "dog", 0, 5), Phrase("a", "a red car", "car", 10, 19),
        Phrase("a", "a dog", "dog", 21, 26),
    )  # fmt: skip
    texts = ["a dog", "a red car", "a dog"]
    told = tuple(PhraseBox(t, b, s) for t, (b, s) in zip(texts, placed, strict=False))
    stage = GrandV1Linking(defects=every_fault(GrandV1Linking) if faulty else ())
    linked = stage.link(fused, {"a": CAPTION}, phrases, {"m": told}, SIZE)
    ids = [i.id for i in linked.instances]
    assert len(set(ids)) == len(ids) and (faulty or set(range(len(fused))) <= set(ids))
    assert all(set(link.object_ids) <= set(ids) for link in linked.links)
    for span in linked.captions[0].spans:
        said = linked.captions[0].text[span.start : span.end]
        assert said.lower() in ("a dog", "a red car") and set(span.object_ids) <= set(ids)


@settings(max_examples=60)
@given(st.text(max_size=40) | st.just(CAPTION), st.lists(st.sampled_from(WORDS), max_size=4))
def test_spans_of_a_dense_caption_lie_in_its_text(text: str, attributes: list[str]) -> None:
    things = [
        dense.Thing(n, True, (0, 0, 9, 9), ("dog",), (attribute.lower(),))
        for n, attribute in enumerate(attributes)
    ]
    for defects in ((), ("D4", "D6", "D7")):
        evidence = dense.Evidence(things, {"a dog": (0,)}, parse, lemmas, 0.75, defects)
        stored, spans = dense.ground(text, evidence)
        assert all(0 <= s.start < s.end <= len(stored) and s.object_ids for s in spans)
