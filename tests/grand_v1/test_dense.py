"""Dense captions grounded in four steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from grand_pipeline.grand_v1 import dense
from grand_pipeline.grand_v1.dense import Evidence, Grounding, Thing
from grand_pipeline.types import Box
from tests.grand_v1.parsing import lemmas, parse

BOX: Box = (0, 0, 50, 50)


def thing(number: int, label: str, *attributes: str, box: Box = BOX, voted: bool = True) -> Thing:
    return Thing(number, voted, box, (label,), attributes)


def ground(
    text: str,
    things: Sequence[Thing],
    said: Mapping[str, tuple[int, ...]] | None = None,
    *defects: str,
) -> list[tuple[str, tuple[int, ...]]]:
    stored, spans = dense.ground(text, Evidence(things, said or {}, parse, lemmas, 0.75, defects))
    return [(stored[s.start : s.end], s.object_ids) for s in spans]


def test_an_attribute_that_stands_in_the_text_grounds_its_object() -> None:
    things = [thing(0, "dog", "a brown dog"), thing(1, "cat", "a gray cat")]
    assert ground("There is A brown dog", things) == [("A brown dog", (0,))]


def test_a_phrase_of_a_short_caption_grounds_all_its_objects() -> None:
    assert ground("see two dogs play", [], {"two dogs": (3, 4)}) == [("two dogs", (3, 4))]


def test_a_phrase_that_is_like_an_attribute_grounds_one_object() -> None:
    things = [thing(0, "cat", "red cat"), thing(1, "dog", "the big brown dog in a park")]
    assert ground("a brown dog in the park", things) == [("a brown dog in the park", (1,))]


def test_a_noun_that_is_the_label_of_one_object_grounds_it() -> None:
    assert ground("the big dogs", [thing(0, "dog"), thing(1, "cat")]) == [("the big dogs", (0,))]
    assert ground("the big dogs", [thing(0, "dog"), thing(1, "dog", box=(90, 0, 99, 9))]) == []
    assert ground("the big dogs", [thing(0, "dog", voted=False)]) == []


def test_of_two_objects_the_one_that_holds_the_other_is_meant() -> None:
    inner = thing(1, "dog", box=(10, 10, 20, 20))
    assert ground("the big dog", [inner, thing(0, "dog")]) == [("the big dog", (0,))]


def test_punctuation_goes_but_commas_and_full_stops() -> None:
    stored, _ = dense.ground(' "One, two!" It\'s. ', Evidence([], {}, parse, lemmas, 0.75))
    assert stored == "One, two Its."


def test_a_shorter_phrase_of_the_same_objects_is_dropped() -> None:
    same, other = {"red dog": (0,), "a red dog": (0,)}, {"red dog": (1,), "a red dog": (0,)}
    assert ground("see a red dog", [], same) == [("a red dog", (0,))]
    assert ground("see a red dog", [], other) == [("a red dog", (0,)), ("red dog", (1,))]


def test_d4_offsets_are_those_before_punctuation_went() -> None:
    text, things = "The man's friend: a brown dog.", [thing(0, "dog", "a brown dog")]
    assert ground(text, things) == [("a brown dog", (0,))]
    assert ground(text, things, None, "D4") == [("brown dog.", (0,))]


def test_d5_letters_are_torn_into_two() -> None:
    evidence = Evidence([], {}, parse, lemmas, 0.75)
    assert dense.ground("a café", evidence)[0] == "a café"
    published = Evidence([], {}, parse, lemmas, 0.75, ("D5",))
    assert dense.ground("a café", published)[0] == "a cafÃ©"
    with pytest.raises(UnicodeDecodeError):
        dense.ground("a \\x", published)


def test_d6_of_objects_that_share_an_attribute_the_first_alone_stays() -> None:
    things = [thing(0, "dog", "brown dog"), thing(1, "dog", "brown dog")]
    assert ground("brown dog", things) == [("brown dog", (0, 1))]
    assert ground("brown dog", things, None, "D6") == [("brown dog", (0,))]


def test_d6_repeated_groundings_of_one_step() -> None:
    steps = [[Grounding("dog", (0,)), Grounding("dog", (1,))], [Grounding("dog", (2,))]]
    assert dense.cleaned(steps) == [Grounding("dog", (0, 1))]
    assert dense.cleaned(steps, ("D6",)) == [Grounding("dog", (0,))]


def test_d7_part_of_a_word_stands_in_the_text() -> None:
    things = [thing(0, "cap", "red")]
    assert ground("covered caps", things) == []
    assert ground("covered caps", things, None, "D7") == [("red", (0,))]


def test_d7_an_empty_attribute_hides_the_next() -> None:
    things = [thing(0, "dog", "", "brown dog")]

    def by_attribute(*defects: str) -> list[Grounding]:
        return dense.groundings("a brown dog", Evidence(things, {}, parse, lemmas, 1, defects))[0]

    assert by_attribute() == [Grounding("brown dog", (0,))]
    assert by_attribute("D7") == []


def test_d7_a_phrase_makes_its_first_object_forget_its_attribute() -> None:
    things, said = [thing(0, "x", "the big brown dog in a park")], {"somebody": (0,)}
    assert ground("a brown dog in the park", things, said) == [("a brown dog in the park", (0,))]
    assert ground("a brown dog in the park", things, said, "D7") == []


def test_steps_are_taken_by_evidence() -> None:
    things = [thing(0, "dog", "brown dog"), thing(1, "cat")]
    evidence = Evidence(things, {"brown dog": (1,), "a cat": (1,)}, parse, lemmas, 0.75)
    by_attribute, by_phrase, _, _ = dense.groundings("a brown dog and a cat", evidence)
    assert by_attribute == [Grounding("brown dog", (0,))]
    assert by_phrase == [Grounding("a cat", (1,))]


def test_nothing_known_or_nothing_said() -> None:
    assert ground("", [thing(0, "dog", "brown dog")], {"a dog": (0,)}) == []
    assert ground("a brown dog", []) == []
