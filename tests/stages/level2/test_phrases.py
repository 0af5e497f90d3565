from __future__ import annotations

from typing import Any

import pytest

from grand_pipeline import weights
from grand_pipeline.columns import CAPTIONS, PHRASES
from grand_pipeline.errors import MissingDependencyError, SettingsError
from stages.level2.phrases import Phrases
from tests.records import record_of

EMBEDDED = (weights.EMBEDDED / "spacy" / "config.cfg").is_file()


class ByHand:
    """A pipeline that tags by word lists: enough for noun phrases of "a red car in it"."""

    pipe_names = ("parser",)

    def __init__(self) -> None:
        import spacy

        self.blank = spacy.blank("en")

    def pipe(self, texts: list[str]) -> list[Any]:
        from spacy.tokens import Doc

        documents = []
        for text in texts:
            plain = self.blank.make_doc(text)
            words = [token.text for token in plain]
            pos = [_POS.get(word.lower(), "NOUN") for word in words]
            nouns = [n for n, tag in enumerate(pos) if tag in ("NOUN", "PRON")]
            # Small words between phrases hang on the noun before, the rest on the noun after.
            heads = [
                max(n for n in nouns if n <= i)
                if tag in ("ADP", "CCONJ")
                else min(n for n in nouns if n >= i)
                for i, tag in enumerate(pos)
            ]
            deps = [_DEPS.get(tag, "dep") for tag in pos]
            spaces = [bool(token.whitespace_) for token in plain]
            documents.append(Doc(self.blank.vocab, words, spaces, pos=pos, heads=heads, deps=deps))
        return documents


_POS = {"a": "DET", "the": "DET", "red": "ADJ", "in": "ADP", "and": "CCONJ", "it": "PRON"}
_DEPS = {"NOUN": "ROOT", "PRON": "ROOT", "DET": "det", "ADJ": "amod", "ADP": "prep"}


def test_phrases_are_cut_out_of_their_caption() -> None:
    captions = {"b": "A red car in the picture", "a": "it and the Dog"}
    record = record_of({CAPTIONS.of(source): text for source, text in captions.items()})
    (row,) = Phrases(model="by hand").annotate(ByHand(), [record])
    phrases = row[PHRASES]
    assert [(p.caption, p.text, p.head) for p in phrases] == [
        ("a", "the Dog", "Dog"),
        ("b", "A red car", "car"),
    ]
    assert all(captions[p.caption][p.start : p.end] == p.text for p in phrases)


def test_what_is_ignored_is_an_option() -> None:
    record = record_of({CAPTIONS.of("a"): "the picture in the Car"})
    (row,) = Phrases(model="by hand", ignore=("car",)).annotate(ByHand(), [record])
    assert [p.text for p in row[PHRASES]] == ["the picture"]


def test_no_captions_no_phrases() -> None:
    assert Phrases(model="by hand").annotate(ByHand(), [record_of({})]) == [{PHRASES: ()}]


def test_a_missing_pipeline_says_how_to_get_it() -> None:
    with pytest.raises(MissingDependencyError, match="spacy download xx_not_there"):
        Phrases(model="xx_not_there").load("cpu")


def test_a_pipeline_without_parser_is_refused(tmp_path: Any) -> None:
    import spacy

    spacy.blank("en").to_disk(tmp_path)
    with pytest.raises(SettingsError, match="has no parser"):
        Phrases(model=str(tmp_path)).load("cpu")


SENTENCES = {
    "a red car in front of a blue house": ["a red car", "a blue house"],
    "a brown dog, two cats and a ball on the grass": [
        *("a brown dog", "two cats", "a ball", "the grass"),
    ],
    "there is a small white boat floating in the water": ["a small white boat", "the water"],
    "an orange fish swimming next to a yellow boat": ["an orange fish", "a yellow boat"],
    "a black cat sitting on the floor behind a lamp": ["a black cat", "the floor", "a lamp"],
    "The picture shows a street with two buses.": ["a street", "two buses"],
    "A man in a red shirt is riding a bicycle.": ["A man", "a red shirt", "a bicycle"],
    "it is a green tree": ["a green tree"],
    "a close up of a cat laying on a bed": ["a cat", "a bed"],
    "several people are standing around a table with laptops": [
        *("several people", "a table", "laptops"),
    ],
    "a view of the ocean from a balcony": ["the ocean", "a balcony"],
    "a horse": ["a horse"],
    "": [],
}


@pytest.mark.skipif(not EMBEDDED, reason="the embedded spaCy pipeline is not trained yet")
@pytest.mark.parametrize("caption", SENTENCES)
def test_the_embedded_pipeline_on_captions(caption: str) -> None:
    stage = Phrases(model="embedded:spacy")
    phrases = stage.phrases(stage.load("cpu"), {"s": caption})
    assert [p.text for p in phrases] == SENTENCES[caption]
