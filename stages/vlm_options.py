"""Questions with given answers: options as a lettered list, yes or no; answers read strictly."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

import prompts
from grand_pipeline.errors import SettingsError

LETTERS = string.ascii_uppercase

_LEAD = re.compile(r"^(?:the )?(?:best |correct )?(?:answer|option)(?: is)?\s*:?\s*", re.IGNORECASE)
_LETTER = re.compile(r"^\(?([A-Za-z])\)?(?:[.):,]+|$)\s*")
_AGREED = re.compile(r"^\W*(yes|no)\b", re.IGNORECASE)
_BLANKS = re.compile(r"[\s_-]+")


def question(prompt: str, **fields: str) -> str:
    """What the prompt `prompt` asks in one turn.

    Raises SettingsError when it is more than one turn, or as `prompts.load` does.
    """
    *others, last = prompts.render(prompts.load(prompt), **fields)
    if others:
        raise SettingsError(
            f"prompt '{prompt}' has system text or examples, but a model that sees is asked in one "
            "turn: leave its system.txt and examples.toml empty"
        )
    return last["content"]


def agreed(answer: str) -> bool | None:
    """Whether an answer begins with yes or with no; None for any other."""
    found = _AGREED.match(answer)
    return None if found is None else found.group(1).lower() == "yes"


def listed(options: Sequence[str]) -> str:
    """The options, one per line: "A. Urban". Raises ValueError for more than there are letters."""
    if len(options) > len(LETTERS):
        raise ValueError(f"{len(options)} options are more than there are letters")
    return "\n".join(f"{letter}. {name}" for letter, name in zip(LETTERS, options, strict=False))


def chosen(answer: str, options: Sequence[str]) -> int | None:
    """The place of the option that an answer names, or None.

    Read are a letter ("B", "(b)", "B. Rural", "The answer is B."), the name itself, and a sentence
    with the name of one option and no other. A letter followed by other words than its option's
    name counts only if those words name no other option.
    """
    text = _LEAD.sub("", answer.strip().strip("\"'*`").strip())
    match = _LETTER.match(text)
    letter = LETTERS.index(match.group(1).upper()) if match else None
    named = _named(text[match.end() :] if match else text, options)
    if letter is None:
        return named.pop() if len(named) == 1 else None
    fits = letter < len(options) and (not named or named == {letter})
    return letter if fits else None


def _named(text: str, options: Sequence[str]) -> set[int]:
    """The options whose names stand in a text, those inside longer names left out."""
    words = _BLANKS.sub(" ", text).lower()
    names = [_BLANKS.sub(" ", name).lower() for name in options]
    found = set()
    for n in sorted(range(len(names)), key=lambda n: -len(names[n])):
        pattern = rf"\b{re.escape(names[n])}\b"
        if re.search(pattern, words):
            found.add(n)
            words = re.sub(pattern, " ", words)
    return found
