from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grand_pipeline import inert
from tests.attacks import ATTACKS, SPECIAL


@pytest.mark.parametrize("attack", ATTACKS)
def test_marks_become_blanks_and_places_stay(attack: str) -> None:
    text = ATTACKS[attack]
    read = inert.unmarked(text)
    assert len(read) == len(text)
    assert not any(token in read for token in SPECIAL)


@pytest.mark.parametrize("attack", ATTACKS)
def test_words_are_one_short_line_and_stay_it(attack: str) -> None:
    once = inert.words(ATTACKS[attack], 200, "_();")
    assert once and len(once) <= 200 and once.splitlines() == [once]
    assert all(mark.isprintable() or mark in inert.JOINERS for mark in once)
    assert not set("<>[]_();") & set(unicodedata.normalize("NFKD", once))
    assert inert.words(once, 200, "_();") == once


@pytest.mark.parametrize(
    "text",
    ["traffic light", "a man's 2nd-hand car, 50% off", "d\u00f6ner & \u732b", "{} {x} 7 # 1 `a`"],
)
def test_plain_words_stay_as_they_are(text: str) -> None:
    assert inert.words(text) == inert.unmarked(text) == inert.draft(text) == text


def test_every_form_of_a_bracket_is_known() -> None:
    every = map(chr, range(0x20000))
    forms = [c for c in every if set("<>[]") & set(unicodedata.normalize("NFKD", c))]
    assert len(forms) > 4 and inert.unmarked("".join(forms)) == " " * len(forms)


@pytest.mark.parametrize(
    "text",
    [
        "<p>a dog</p>[0] and <p>cats</p>[1, 2][3].",
        '{"caption": "a", "mentions": [{"objects": []}]}',
    ],
)
def test_a_draft_keeps_what_it_refers_by(text: str) -> None:
    assert inert.draft(text) == text


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_draft_is_one_line_without_other_marks(attack: str) -> None:
    read = inert.draft(ATTACKS[attack])
    assert not any(token in read for token in SPECIAL)
    assert read.splitlines() == [read] and inert.draft(read) == read


def test_every_text_can_be_stored() -> None:
    assert inert.encodable("a \ud83d\ude00 \udc00 b") == "a \N{GRINNING FACE} \ufffd b"
    assert inert.encodable("caf\u00e9") == "caf\u00e9"


PIECES = (
    *("<", ">", "[", "]", "|", "/", "#", "##", "`", "``", ":", " ", "\n", "(", ")", "_", ";", '"'),
    *("user", "ASSISTANT", "im_start", "INST", "/INST", "SYS", "s", "p", "/p", "SEP", "loc_1", "0"),
    *(
        "\u200b",
        "\u200d",
        "\uff1c",
        "\uff3d",
        "\uff1a",
        "\u0301",
        "\x1b",
        "\u2028",
        "\ufeff",
        "dog",
    ),
)
ROLE = re.compile(r"(?i)\b(?:user|assistant)\s*[:\uff1a]")


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join) | st.text())
def test_no_pieces_make_a_mark(text: str) -> None:
    for read in (inert.words(text, 300), inert.words(text, 300, "_();"), inert.draft(text)):
        assert not any(token in read for token in SPECIAL)
        assert not ROLE.search(read) and len(read.splitlines()) <= 1
        assert "###" not in read and "```" not in read
    assert len(inert.unmarked(text)) == len(text)
    once, draft = inert.words(text, 300), inert.draft(text)
    assert inert.words(once, 300) == once and inert.draft(draft) == draft
