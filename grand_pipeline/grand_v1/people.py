"""Words for people: one table as meant, GranD's two where its faults are repeated (D13)."""

from __future__ import annotations

from collections.abc import Collection

from grand_pipeline.labels import PERSON, Lexicon

_LEXICON = Lexicon()

_VOTED = frozenset({"man", "woman", "men", "women"})
_ONE = frozenset(
    {"woman", "man", "child", "boy", "girl", "teenager", "adult", "senior", "male", "infant"}
    | {"toddler", "youth", "adolescent", "baby", "elderly", "teen", "kid", "gentleman", "lady"}
)
_SEVERAL = frozenset(
    {"women", "men", "children", "boys", "girls", "teenagers", "adults", "seniors", "females"}
    | {"infants", "toddlers", "elders", "adolescents", "babies", "kids", "gentlemen", "ladies"}
)


def is_person(label: str, defects: Collection[str] = ()) -> bool:
    """Whether a detector's label is a word for a person. D13: only exactly "person"."""
    return label == PERSON if "D13" in defects else _LEXICON.key(label) == PERSON


def as_vote(label: str, defects: Collection[str] = ()) -> str:
    """A voted label with words for people made "person". D13: four words only."""
    if "D13" in defects:
        return PERSON if label.lower() in _VOTED else label
    return PERSON if is_person(label) else label


def as_label(label: str, defects: Collection[str] = ()) -> str:
    """The label of an object, after the choice. D13: a table with holes and a "persons"."""
    if "D13" not in defects:
        return PERSON if is_person(label) else label
    if label.lower() in _SEVERAL:
        return "persons"
    return PERSON if label.lower() in _ONE else label
