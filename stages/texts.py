"""Words and how they are put to models that take text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from grand_pipeline import inert

_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiouAEIOU])")


def plain(label: str) -> str:
    """A label as a model should read it: `traffic_light` becomes `traffic light`, and marks of
    tokenizers become blanks."""
    return inert.words(label, inert.TEXT, "_")


def fill(template: str, *words: str) -> str:
    """`template` with `{}` replaced by `words` in turn; "a" becomes "an" before a vowel."""
    text = " ".join(template.format(*(plain(word) for word in words)).split())
    return _ARTICLE.sub(r"\1n ", text)


def check_template(template: str, places: int) -> None:
    """Raise ValueError unless `template` has `places` times `{}`."""
    if template.count("{}") != places or len(re.findall(r"[{}]", template)) != 2 * places:
        raise ValueError(f"template {template!r} must hold {{}} {places} time(s)")


def distinct(words: Iterable[str]) -> tuple[str, ...]:
    """The words without those that read the same as an earlier one."""
    first: dict[str, str] = {}
    for word in words:
        key = plain(word).lower()
        if key:
            first.setdefault(key, word)
    return tuple(first.values())


def tidy(text: str) -> str:
    """NFC, outer blanks removed and inner ones collapsed."""
    return " ".join(unicodedata.normalize("NFC", text).split())
