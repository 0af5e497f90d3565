"""Claims are found in texts and compared with the objects."""

from __future__ import annotations

import pytest

from grand_pipeline.claims import Checker, Claim, Known, Thing, checker
from grand_pipeline.labels import Lexicon

THINGS = (
    Thing(0, "car", ("red",), (0, 60, 30, 90), 0.9, False),
    Thing(1, "dog", ("brown", "a brown and white dog"), (40, 60, 50, 70), 0.5, False),
    Thing(2, "dog", ("black",), (70, 60, 80, 70), 0.3, False),
    Thing(3, "man", ("in a green coat",), (30, 30, 40, 80), 0.4, False),
    Thing(4, "bird", (), (35, 0, 45, 8), None, False),
    Thing(5, "grass", (), (0, 50, 100, 100), 0.2, True),
    Thing(6, "road", (), (0, 80, 100, 100), 0.8, True),
)
KNOWN = Known(
    THINGS,
    frozenset({(0, "on", 6), (1, "on", 5), (0, "left of", 1), (3, "riding", 1)}),
    (100, 100),
    ("a man with a kite in a park",),
)


def live() -> Checker:
    return checker(
        frozenset({"car", "dog", "man", "bird"}), frozenset({"grass", "road"}), Lexicon()
    )


def verdicts(text: str, kind: str) -> list[bool | None]:
    return [c.holds for c in live().claims(text, KNOWN) if c.kind == kind]


@pytest.mark.parametrize(
    ("text", "kind", "wanted"),
    [
        ("a dog and a lamp", "class", [True, False]),
        ("a puppy, an animal, people and vehicles", "class", [True, True, True, True]),
        ("furniture", "class", [False]),
        ("the grass under the sky", "class", [True, None]),
        ("a kite", "class", [None]),  # a caption speaks of it
        ("no lamp, without a chair, not a table", "class", []),
        ("a table lamp", "class", [False]),
        ("a toy car", "class", [True]),
        ("a hot dog", "class", [False]),
        ("an orange car", "class", [True]),
        ("a red car, a blue car", "color", [True, False]),
        ("a brown dog, a white dog, a black dog, a pink dog", "color", [True, True, True, False]),
        ("the car is blue", "color", [False]),
        ("an orange car", "color", [False]),
        ("a yellow bird", "color", [None]),
        ("a purple man", "color", [False]),
        ("two dogs", "count", [True]),
        ("three dogs", "count", [False]),
        ("two black dogs", "count", [False]),
        ("two animals", "count", [None]),
        ("there are two animals", "count", [False]),
        ("several dogs, dogs", "count", []),
        ("a car left of a dog", "relation", [True]),
        ("a car right of a dog", "relation", [False]),
        ("a black dog behind a brown dog", "relation", [True]),
        ("a black dog in front of a brown dog", "relation", [False]),
        ("a bird in front of the car", "relation", [None]),
        ("a bird above the man", "relation", [True]),
        ("a bird below the man", "relation", [False]),
        ("a car on the road", "relation", [True]),
        ("a car on the grass", "relation", [False]),
        ("a bird on the grass", "relation", [None]),
        ("a man in a car", "relation", [None]),
        ("a bird in a car", "relation", [False]),
        ("a car on a brown dog", "relation", [False]),
        ("a car next to a man", "relation", [True]),
        ("a car next to a black dog", "relation", [False]),
        ("a car left of a lamp", "relation", []),
        ("a dog. On the road", "relation", []),
    ],
)
def test_plain_text(text: str, kind: str, wanted: list[bool | None]) -> None:
    assert verdicts(text, kind) == wanted


@pytest.mark.parametrize(
    ("text", "kind", "wanted"),
    [
        ("<p>a red car</p>[0]", "reference", [True]),
        ("<p>a car</p>[1]", "reference", [False]),
        ("<p>a car</p>[9]", "reference", [False]),
        ("<p>It</p>[9]", "reference", []),
        ("<p>a dog and a car</p>[0][1]", "reference", [True, True]),
        ("<p>a dog and a car</p>[1][9]", "reference", [True, False]),
        ("<p>a man in a green coat</p>[3]", "reference", [True]),
        ("<p>a black dog</p>[1]", "color", [False]),
        ("<p>two brown dogs</p>[1][2]", "color", [False]),
        ("<p>a yellow bird</p>[4]", "color", [None]),
        ("<p>two dogs</p>[1][2]", "count", [True]),
        ("<p>two dogs</p>[1]", "count", [False]),
        ("<p>a dog</p>[2] left of <p>a car</p>[0]", "relation", [False]),
        ("<p>a dog</p>[1] left of <p>a dog</p>[2]", "relation", [True]),
        ("<p>a dog</p>[2] left of <p>a dog</p>[1]", "relation", [False]),
    ],
)
def test_references_say_which_object_is_meant(
    text: str, kind: str, wanted: list[bool | None]
) -> None:
    assert verdicts(text, kind) == wanted


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a lamp", '"a lamp": there is no lamp among the objects'),
        ("a blue car", '"a blue car": [0] car is red'),
        ("three dogs", '"three dogs": the objects are [1] dog, [2] dog'),
        ("a car right of a dog", '"a car right of a dog": [0] car is left of [1] dog'),
        ("a car on the grass", '"a car on the grass": [0] car is on [6] road'),
        ("<p>a car</p>[1]", '"a car[1]": [1] dog is no car'),
        ("<p>a car</p>[9]", '"a car[9]": there is no object [9]'),
        ("<p>two dogs</p>[1]", '"two dogs": the phrase names 1 objects'),
        (
            "a bird below the man",
            '"a bird below the man": it is the other way round for [4] bird and [3] man',
        ),
        ("a car next to a black dog", '"a car next to a black dog": [0] car and [2] dog are apart'),
    ],
)
def test_faults_say_what_is_known_instead(text: str, fault: str) -> None:
    (failed,) = [claim for claim in live().claims(text, KNOWN) if claim.holds is False]
    assert failed.fault() == fault


def test_answers_as_json_are_read_too() -> None:
    text = '{"caption": "a car", "mentions": [{"phrase": "a car", "objects": [1]}]}'
    assert Claim("reference", "a car[1]", False, "[1] dog is no car") in live().claims(text, KNOWN)


def test_further_labels_extend_the_vocabulary() -> None:
    text = "a red gizmo and a doohickey"
    assert live().claims(text, KNOWN) == ()
    wide = checker(frozenset({"gizmo"}), frozenset(), Lexicon(synonyms=(("doohickey", "gizmo"),)))
    things = (Thing(0, "gizmo", ("red",), (0, 0, 9, 9), None, False),)
    found = wide.claims(text, Known(things, frozenset(), (9, 9)))
    assert [(c.kind, c.holds) for c in found] == [("class", True), ("color", True), ("class", True)]
