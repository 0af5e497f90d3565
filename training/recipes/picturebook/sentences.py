"""Tagged sentences in the manner of captions, with words of everyday photographs.

Beside the captions of the rendered world they teach how captions are built, not a list of nouns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from grand_pipeline.picturebook.grammar import Draft
from grand_pipeline.picturebook.lexicon import article
from training.recipes.picturebook.everyday_words import (
    ADJECTIVES,
    COLLECTIVES,
    COMPOUNDS,
    FINITE,
    INTRANSITIVE,
    MASSES,
    NUMBERS,
    PLACES,
    PLURALS,
    PREPOSITIONS,
    SINGULARS,
    TRANSITIVE,
    split,
)

Rng = np.random.Generator


def sentence(rng: Rng) -> Draft:
    """One sentence or fragment; first letter and final stop vary."""
    draft = Draft()
    builders: Sequence[Callable[[Draft, Rng], int]] = (
        _fragment, _fragment, _acting, _acting, _listing, _being, _finite, _existing, _showing,
        _passive, _framed,
    )  # fmt: skip
    root = builders[int(rng.integers(len(builders)))](draft, rng)
    if rng.random() < 0.5:
        draft.word(".", "PUNCT", "punct", root)
    if rng.random() < 0.5:
        first = draft.tokens[0]
        draft.tokens[0] = replace(first, text=first.text[0].upper() + first.text[1:])
    return draft


def _pick(words: Sequence[str], rng: Rng) -> str:
    return words[int(rng.integers(len(words)))]


def _noun(draft: Draft, rng: Rng, dep: str, head: int | None) -> tuple[int, bool]:
    """A noun phrase; returns the position of its head noun and whether it is plural."""
    draw = rng.random()
    if draw < 0.07:
        return _collective(draft, rng, dep, head), False
    many, mass = draw < 0.29, draw > 0.88
    noun = _pick(PLURALS if many else MASSES if mass else (*SINGULARS, *PLACES), rng)
    adjectives = [_pick(ADJECTIVES, rng) for _ in range(int(rng.choice(3, p=(0.45, 0.43, 0.12))))]
    compound = [_pick(COMPOUNDS, rng)] if rng.random() < 0.08 else []
    lead = _lead([*adjectives, *compound, noun][0], rng, many, mass)
    first = len(draft.tokens)
    place = first + len(lead) + len(adjectives) + len(compound)
    for text, pos, role in lead:
        draft.word(text, pos, role, place)
    for text in adjectives:
        draft.word(text, "ADJ", "amod", place)
    for text in compound:
        draft.word(text, "NOUN", "compound", place)
    draft.word(noun, "NOUN", dep, head)
    return place, many


def _lead(following: str, rng: Rng, many: bool, mass: bool) -> list[tuple[str, str, str]]:
    """What comes before adjectives and noun: an article, a number, a possessive, or nothing."""
    draw = rng.random()
    if many and draw < 0.6:
        number = _pick(NUMBERS, rng)
        counted = number not in ("several", "many", "some")
        return [(number, "NUM", "nummod") if counted else (number, "ADJ", "amod")]
    if draw < 0.12:
        return [(_pick(("his", "her", "its", "their"), rng), "PRON", "poss")]
    if draw < 0.35 or (mass and draw < 0.8):
        return [("the", "DET", "det")]
    if many or mass:
        return []
    if draw < 0.4:
        return [(_pick(("another", "this", "each"), rng), "DET", "det")]
    return [] if draw < 0.43 else [(article(following), "DET", "det")]


def _collective(draft: Draft, rng: Rng, dep: str, head: int | None) -> int:
    """`a group of people`."""
    place = len(draft.tokens) + 1
    noun = _pick(COLLECTIVES, rng)
    draft.word(article(noun), "DET", "det", place)
    draft.word(noun, "NOUN", dep, head)
    of = draft.word("of", "ADP", "prep", place)
    draft.word(_pick(PLURALS, rng), "NOUN", "pobj", of)
    return place


def _where(draft: Draft, rng: Rng, head: int) -> None:
    """A prepositional phrase, simple or like `in front of`, `next to`."""
    draw = rng.random()
    if draw < 0.1:
        first = draft.word("in", "ADP", "prep", head)
        second = draft.word(_pick(("front", "back"), rng), "ADP", "prep", first)
        last = draft.word("of", "ADP", "prep", second)
    elif draw < 0.2:
        close = draft.word(_pick(("next", "close"), rng), "ADV", "advmod", head)
        last = draft.word("to", "ADP", "prep", close)
    elif draw < 0.27:
        first = draft.word(_pick(("on", "to"), rng), "ADP", "prep", head)
        place = len(draft.tokens) + 1
        draft.word("the", "DET", "det", place)
        draft.word(_pick(("left", "right", "side", "top", "edge"), rng), "NOUN", "pobj", first)
        last = draft.word("of", "ADP", "prep", place)
    else:
        last = draft.word(_pick(PREPOSITIONS, rng), "ADP", "prep", head)
    _noun(draft, rng, "pobj", last)


def _places(draft: Draft, rng: Rng, head: int, most: int = 2) -> None:
    for _ in range(int(rng.integers(most + 1))):
        _where(draft, rng, head)


def _action(draft: Draft, rng: Rng, dep: str, head: int | None) -> int:
    """`riding a brown horse through the snow`, `sitting on a bench`."""
    if rng.random() < 0.5:
        verb = draft.word(_pick(TRANSITIVE, rng), "VERB", dep, head)
        noun, _ = _noun(draft, rng, "dobj", verb)
        if rng.random() < 0.2:
            draft.word("and", "CCONJ", "cc", noun)
            _noun(draft, rng, "conj", noun)
    else:
        verb = draft.word(_pick(INTRANSITIVE, rng), "VERB", dep, head)
    _places(draft, rng, verb)
    return verb


def _fragment(draft: Draft, rng: Rng) -> int:
    """`an old man with a hat near the lake`."""
    root, _ = _noun(draft, rng, "ROOT", None)
    _places(draft, rng, root, 3)
    return root


def _acting(draft: Draft, rng: Rng) -> int:
    """`a young boy (with a bag) holding a kite on the beach`."""
    root, _ = _noun(draft, rng, "ROOT", None)
    if rng.random() < 0.3:
        _where(draft, rng, root)
    _action(draft, rng, "acl", root)
    return root


def _listing(draft: Draft, rng: Rng) -> int:
    """`a table, two chairs and a lamp in a room`."""
    root, _ = _noun(draft, rng, "ROOT", None)
    last = root
    for left in range(int(rng.integers(1, 4)), 0, -1):
        if left > 1:
            draft.word(",", "PUNCT", "punct", last)
        else:
            draft.word("and", "CCONJ", "cc", last)
        last, _ = _noun(draft, rng, "conj", last)
    _places(draft, rng, last)
    return root


def _being(draft: Draft, rng: Rng) -> int:
    """`two dogs are running across the field (while a man is watching)`."""
    subject, many = _subject(draft, rng)
    aux = draft.word("are" if many else "is", "AUX", "aux")
    verb = _action(draft, rng, "ROOT", None)
    draft.rehang(aux, verb)
    draft.rehang(subject, verb)
    if rng.random() < 0.2:
        mark = draft.word("while", "SCONJ", "mark")
        second, more = _subject(draft, rng)
        helper = draft.word("are" if more else "is", "AUX", "aux")
        clause = _action(draft, rng, "advcl", verb)
        for word in (mark, second, helper):
            draft.rehang(word, clause)
    return verb


def _subject(draft: Draft, rng: Rng) -> tuple[int, bool]:
    if rng.random() < 0.15:
        many = bool(rng.random() < 0.4)
        pronoun = "they" if many else _pick(("it", "he", "she"), rng)
        return draft.word(pronoun, "PRON", "nsubj"), many
    return _noun(draft, rng, "nsubj", None)


def _finite(draft: Draft, rng: Rng) -> int:
    """`a cat sits on the table and looks at a bird`."""
    subject, many = _subject(draft, rng)
    verb = draft.word(FINITE[int(rng.integers(len(FINITE)))][int(many)], "VERB", "ROOT")
    draft.rehang(subject, verb)
    _where(draft, rng, verb)
    if rng.random() < 0.3:
        draft.word("and", "CCONJ", "cc", verb)
        form = FINITE[int(rng.integers(len(FINITE)))][int(many)]
        second = draft.word(form, "VERB", "conj", verb)
        _where(draft, rng, second)
    return verb


def _existing(draft: Draft, rng: Rng) -> int:
    """`there are several people on the beach`."""
    there = draft.word("there", "PRON", "expl")
    root = draft.word("is", "VERB", "ROOT")
    draft.rehang(there, root)
    noun, many = _noun(draft, rng, "attr", root)
    if many:
        draft.tokens[root] = replace(draft.tokens[root], text="are")
    if rng.random() < 0.3:
        _action(draft, rng, "acl", noun)
    else:
        _places(draft, rng, root)
    return root


def _showing(draft: Draft, rng: Rng) -> int:
    """`the image shows a kitchen with a large window`, `this is a photo of a dog`."""
    noun = _pick(("image", "picture", "photo", "scene", "view"), rng)
    if rng.random() < 0.5:
        place = len(draft.tokens) + 1
        draft.word(_pick(("the", "this"), rng), "DET", "det", place)
        subject = draft.word(noun, "NOUN", "nsubj")
        root = draft.word("shows", "VERB", "ROOT")
        draft.rehang(subject, root)
        seen, _ = _noun(draft, rng, "dobj", root)
    else:
        subject = draft.word("this", "PRON", "nsubj")
        root = draft.word("is", "AUX", "ROOT")
        draft.rehang(subject, root)
        place = len(draft.tokens) + 1
        draft.word("a", "DET", "det", place)
        draft.word(noun, "NOUN", "attr", root)
        seen, _ = _noun(draft, rng, "pobj", draft.word("of", "ADP", "prep", place))
    _places(draft, rng, seen)
    return root


def _passive(draft: Draft, rng: Rng) -> int:
    """`a table topped with food`, `a street (that is) lined with trees`."""
    root, _ = _noun(draft, rng, "ROOT", None)
    form = _pick(split("topped filled covered lined surrounded decorated followed"), rng)
    which = None
    if rng.random() < 0.3:
        which = (draft.word("that", "PRON", "nsubjpass"), draft.word("is", "AUX", "auxpass"))
    verb = draft.word(form, "VERB", "relcl" if which else "acl", root)
    for word in which or ():
        draft.rehang(word, verb)
    _noun(draft, rng, "pobj", draft.word(_pick(("with", "by"), rng), "ADP", "prep", verb))
    return root


def _framed(draft: Draft, rng: Rng) -> int:
    """`a close up of a cat lying on a bed`, `a black and white photo of two men`."""
    place = len(draft.tokens) + 1
    if rng.random() < 0.5:
        draft.word("a", "DET", "det", place)
        # No noun: "a close" is nothing that could be pointed at.
        root = draft.word("close", "ADV", "ROOT")
        draft.word("up", "ADV", "advmod", root)
    else:
        place += 3
        draft.word("a", "DET", "det", place)
        first = draft.word("black", "ADJ", "amod", place)
        draft.word("and", "CCONJ", "cc", first)
        draft.word("white", "ADJ", "conj", first)
        root = draft.word(_pick(("photo", "picture", "image"), rng), "NOUN", "ROOT")
    seen, _ = _noun(draft, rng, "pobj", draft.word("of", "ADP", "prep", root))
    if rng.random() < 0.5:
        _action(draft, rng, "acl", seen)
    else:
        _places(draft, rng, seen)
    return root
