"""The words of the world's sentences, as data."""

from __future__ import annotations

from dataclasses import dataclass

from grand_pipeline.picturebook.vocabulary import COLORS, SCENES, STUFF, THINGS


@dataclass(frozen=True)
class Verb:
    """A verb in the three forms that occur: plural, singular, participle."""

    plural: str
    singular: str
    participle: str


STAND = Verb("stand", "stands", "standing")
SIT = Verb("sit", "sits", "sitting")
FLY = Verb("fly", "flies", "flying")
SWIM = Verb("swim", "swims", "swimming")
FLOAT = Verb("float", "floats", "floating")
LIE = Verb("lie", "lies", "lying")
GROW = Verb("grow", "grows", "growing")
HANG = Verb("hang", "hangs", "hanging")
WAIT = Verb("wait", "waits", "waiting")
BE = Verb("are", "is", "being")
SHOW = Verb("show", "shows", "showing")

VERBS: tuple[Verb, ...] = (STAND, SIT, FLY, SWIM, FLOAT, LIE, GROW, HANG, WAIT, BE, SHOW)

_VERBS_OF: dict[str, tuple[Verb, ...]] = {
    "dog": (STAND, WAIT),
    "cat": (SIT,),
    "bird": (FLY,),
    "fish": (SWIM,),
    "rabbit": (SIT,),
    "butterfly": (FLY,),
    "boat": (FLOAT,),
    "airplane": (FLY,),
    "balloon": (FLOAT, FLY),
    "kite": (FLY,),
    "tree": (GROW, STAND),
    "flower": (GROW, STAND),
    "mushroom": (GROW,),
    "ball": (LIE,),
    "clock": (HANG,),
    "car": (STAND, WAIT),
    "bus": (STAND, WAIT),
    "robot": (STAND, WAIT),
}

NOUNS: tuple[str, ...] = (
    *THINGS,
    *STUFF,
    *SCENES,
    *dict.fromkeys(thing.hypernym for thing in THINGS.values()),
    "picture",
    "scene",
    "foreground",
    "middle",
    "background",
)
PLURALS: dict[str, str] = {thing.plural: thing.name for thing in THINGS.values()}
ADJECTIVES: tuple[str, ...] = (*COLORS, "big", "small")
PREPOSITIONS: tuple[str, ...] = ("on", "in", "with", "of", "to", "above", "over", "below", "under",
                                 "behind", "beside")  # fmt: skip
NUMBERS: dict[int, str] = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}

# A relation phrase is a chain of words (text, part of speech, dependency), each hanging on the
# one before; the noun phrase that follows hangs on the last.
Chain = tuple[tuple[str, str, str], ...]


def _preposition(word: str) -> Chain:
    return ((word, "ADP", "prep"),)


_FRONT: Chain = (("in", "ADP", "prep"), ("front", "ADP", "prep"), ("of", "ADP", "prep"))
_NEXT: Chain = (("next", "ADV", "advmod"), ("to", "ADP", "prep"))
_LEFT: Chain = (("left", "ADV", "advmod"), ("of", "ADP", "prep"))
_RIGHT: Chain = (("right", "ADV", "advmod"), ("of", "ADP", "prep"))

RELATION_PHRASES: dict[str, tuple[Chain, ...]] = {
    "left of": (_LEFT, _NEXT, _preposition("beside")),
    "in front of": (_FRONT,),
    "above": (_preposition("above"), _preposition("over")),
    "on": (_preposition("on"),),
    "in": (_preposition("in"),),
}
INVERSE_PHRASES: dict[str, tuple[Chain, ...]] = {
    "left of": (_RIGHT, _NEXT, _preposition("beside")),
    "in front of": (_preposition("behind"),),
    "above": (_preposition("below"), _preposition("under")),
}


def verbs_of(name: str) -> tuple[Verb, ...]:
    """What things of a class do in a picture."""
    return _VERBS_OF.get(name, (STAND,))


def article(word: str) -> str:
    """The indefinite article before a word."""
    return "an" if word[0] in "aeiou" else "a"
