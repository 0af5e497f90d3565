from __future__ import annotations

import re
from typing import Any

from grand_pipeline.columns import CAPTIONS, PHRASES
from stages import parsing
from stages.level2.grand_v1_phrases import GrandV1Phrases
from tests.grand_v1.parsing import lemmas, parse
from tests.records import record_of


class ByHand:
    """A pipeline whose documents are made by the parser of the rule tests."""

    def __init__(self) -> None:
        import spacy

        self.blank = spacy.blank("en")

    def __call__(self, text: str) -> Any:
        from spacy.tokens import Doc

        words = parse(text)
        spaces = [bool(re.match(r"\s", text[word.end : word.end + 1])) for word in words]
        heads, pos = [word.head for word in words], [word.pos for word in words]
        deps = ["ROOT" if head == n else "dep" for n, head in enumerate(heads)]
        texts = [word.text for word in words]
        return Doc(self.blank.vocab, texts, spaces, pos=pos, heads=heads, deps=deps)


def test_phrases_are_nouns_with_all_that_hangs_on_them() -> None:
    captions = {"llava": "A red Car in the park stands", "blip2": "it runs"}
    record = record_of({CAPTIONS.of(source): text for source, text in captions.items()})
    (row,) = GrandV1Phrases().annotate(ByHand(), [record])
    assert [(p.caption, p.text, p.head) for p in row[PHRASES]] == [
        ("llava", "A red Car in the park", "car"),
    ]
    assert all(captions[p.caption][p.start : p.end] == p.text for p in row[PHRASES])


def test_the_second_rule_helps_where_the_first_finds_nothing() -> None:
    record = record_of({CAPTIONS.of("blip2"): "a dog runs"})
    (row,) = GrandV1Phrases().annotate(ByHand(), [record])
    assert [p.text for p in row[PHRASES]] == ["a dog"]


def test_text_is_read_in_lower_case_with_offsets_of_the_stored_one() -> None:
    words = parsing.words(ByHand(), "A RED Dog")
    assert [(w.text, w.start) for w in words] == [("A", 0), ("RED", 2), ("Dog", 6)]
    # A letter that becomes two in capitals must not shift the offsets behind it.
    assert [w.text for w in parsing.words(ByHand(), "\ufb01sh of it")] == ["\ufb01sh", "of", "it"]


def test_lemmas_leave_stop_words_out() -> None:
    assert parsing.lemmas(ByHand(), "a Red dog of it") == lemmas("a Red dog of it")
