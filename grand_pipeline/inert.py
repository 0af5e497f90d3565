"""Texts from data inside prompts: words, and nothing that a prompt or a tokenizer would obey.

Labels, captions and answers come from models and from files of others. Inside a prompt they may
say what they like, but they stay one value in their place: no line of their own, no mark that a
chat template, a tokenizer (`<|im_start|>`, `</s>`, `[INST]`, `<loc_1>`) or our own prompts (`[3]`,
`<p>`) give a meaning to, no role ("USER:"), and only so long. What words mean to a model is not
changed: "ignore what was said before" is still read, as the name of a thing.
"""

from __future__ import annotations

import re

NAME, TEXT, CAPTION = 120, 600, 4000
"""Longest label or predicate, attribute or phrase, and caption in a prompt, in characters."""

JOINERS = "\u200c\u200d"
"""They join the parts of an emoji and shape letters; every other invisible mark says nothing."""

# Compatibility forms too, which tokenizers that normalise text take for the plain ones.
_ANGLES = "<>\u226e\u226f\ufe64\ufe65\uff1c\uff1e"
_BRACKETS = r"\[\]\ufe47\ufe48\uff3b\uff3d"
_FENCES = "`{3,}|#{2,}"
_MARKS = re.compile(f"[{_ANGLES}{_BRACKETS}]|{_FENCES}")
_ANGLES_AND_FENCES = re.compile(f"[{_ANGLES}]|{_FENCES}")
_OPENED = re.compile(r"(\[[\[\s]*+)(/?[^\W\d])?")
_ROLE = re.compile(
    r"\b(system|user|assistant|human|ai|bot|model|instructions?|input|response|output)"
    "((?:\\s*[:\ufe55\uff1a])+)",
    re.IGNORECASE,
)
_REFERENCE = re.compile(r"(</?p>|\[\s*\d+(?:\s*,\s*\d+)*\s*\])", re.IGNORECASE)
_SPARE = 8


def unmarked(text: str) -> str:
    """The text with blanks for brackets, fences and colons of roles; as long as before."""
    return _roleless(_MARKS.sub(lambda found: " " * len(found[0]), text))


def words(text: str, most: int = NAME, marks: str = "") -> str:
    """At most `most` characters of a text on one line, unmarked, without control characters.

    `marks` are further characters that mean something where the text will stand. The words of
    words are the same.
    """
    seen = visible(text[: _SPARE * most])
    for mark in marks:
        seen = seen.replace(mark, " ")
    return " ".join(unmarked(seen).split())[:most].rstrip()


def quoted(text: str) -> str:
    """A text that will stand between double quotes."""
    return text.replace('"', "'")


def draft(text: str) -> str:
    """A model's own answer on one line, to be shown to a model again: its references and its JSON
    stay, other marks do not."""
    kept = _REFERENCE.split(visible(text))
    kept[::2] = (
        _OPENED.sub(_without_word, _ANGLES_AND_FENCES.sub(" ", part)) for part in kept[::2]
    )
    return " ".join(_roleless("".join(kept)).split())


def visible(text: str) -> str:
    """The text without control, format and other marks that no reader sees; blanks stay blanks."""
    if text.isprintable():
        return text
    seen = (
        mark if mark.isprintable() or mark in JOINERS else " " * mark.isspace() for mark in text
    )
    return "".join(seen)


def encodable(text: str) -> str:
    """The text with U+FFFD for lone surrogates, which no file and no request can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _without_word(found: re.Match[str]) -> str:
    """Brackets of JSON; a blank for those before a word."""
    return f" {found[2]}" if found[2] else found[1]


def _roleless(text: str) -> str:
    return _ROLE.sub(lambda found: found[1] + " " * len(found[2]), text)
