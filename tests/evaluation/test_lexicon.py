"""Class names, colours and numbers are found in texts."""

from __future__ import annotations

import pytest

from grand_pipeline.evaluation.lexicon import picturebook_lexicon, plural_of

LEXICON = picturebook_lexicon()


@pytest.mark.parametrize(
    ("text", "name", "kind", "color", "number", "plural"),
    [
        ("a red dog", "dog", "thing", "red", None, False),
        ("Two small grey puppies", "dog", "thing", "gray", 2, True),
        ("the lighthouse", "lighthouse", "thing", None, None, False),
        ("three butterflies", "butterfly", "thing", None, 3, True),
        ("an animal", "animal", "hypernym", None, None, False),
        ("the blue vehicles", "vehicle", "hypernym", "blue", None, True),
        ("the sea", "water", "stuff", None, None, False),
        ("a hot-air balloon", "balloon", "thing", None, None, False),
        ("a wall clock", "clock", "thing", None, None, False),
        ("The cat is orange.", "cat", "thing", "orange", None, False),
    ],
)
def test_mention(
    text: str, name: str, kind: str, color: str | None, number: int | None, plural: bool
) -> None:
    (found,) = LEXICON.mentions(text)
    wanted = (name, kind, color, number, plural)
    assert (found.name, found.kind, found.color, found.number, found.plural) == wanted


def test_a_mention_covers_its_modifiers() -> None:
    text = "there is a big red car here"
    (found,) = LEXICON.mentions(text)
    assert text[found.start : found.end] == "a big red car"


def test_words_inside_other_words_are_no_mentions() -> None:
    assert LEXICON.mentions("a ballroom, a carpet, cattails and catty businesses") == ()


def test_a_color_belongs_to_its_own_noun() -> None:
    dog, car = LEXICON.mentions("a dog and a red car")
    assert (dog.color, car.color) == (None, "red")
    dog, car = LEXICON.mentions("the dog is red and a car waits")
    assert (dog.color, car.color) == ("red", None)


def test_kinds_of_scene_are_no_stuff() -> None:
    assert LEXICON.mentions("a street and a meadow") == ()


@pytest.mark.parametrize(
    ("phrase", "name"),
    [
        ("the red roof of the house", None),
        ("a dog on the grass", "dog"),
        ("the dog house", "house"),
        ("a sunny day", None),
    ],
)
def test_head(phrase: str, name: str | None) -> None:
    head = LEXICON.head(phrase)
    assert (head.name if head else None) == name


def test_canonical_labels() -> None:
    labels = (" Puppy ", "hot-air balloon", "lawn", "Buses", "spaceship", "a red car on a road")
    wanted = ["dog", "balloon", "grass", "bus", "spaceship", "car"]
    assert [LEXICON.canonical(label) for label in labels] == wanted


def test_plain_drops_what_does_not_matter() -> None:
    assert LEXICON.plain("Two red puppies") == "red dog"
    assert LEXICON.plain("the Big automobile") == "big car"


@pytest.mark.parametrize(
    ("word", "plural"), [("bus", "buses"), ("pony", "ponies"), ("toy", "toys"), ("car", "cars")]
)
def test_plurals(word: str, plural: str) -> None:
    assert plural_of(word) == plural
