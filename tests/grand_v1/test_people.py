"""Words for people: one table, or GranD's two."""

from __future__ import annotations

import pytest

from grand_pipeline.grand_v1 import people

PUBLISHED = ("D13",)


@pytest.mark.parametrize(
    ("label", "meant", "published"),
    [
        ("woman", "person", "person"),
        ("Kid", "person", "person"),
        ("boys", "person", "persons"),
        ("female", "person", "female"),
        ("guy", "person", "guy"),
        ("dog", "dog", "dog"),
    ],
)
def test_d13_the_table_of_people_has_holes(label: str, meant: str, published: str) -> None:
    assert people.as_label(label) == meant
    assert people.as_label(label, PUBLISHED) == published


def test_d13_only_four_words_are_votes_for_a_person() -> None:
    assert [people.as_vote(w, PUBLISHED) for w in ("Man", "women", "child")] == [
        "person", "person", "child",
    ]  # fmt: skip
    assert people.as_vote("child") == "person"


def test_d13_only_the_exact_word_is_a_person() -> None:
    assert people.is_person("Person") and people.is_person("man")
    assert not people.is_person("Person", PUBLISHED) and people.is_person("person", PUBLISHED)
