"""Short captions with spans for the phrases that were tied to objects."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from grand_pipeline import spans
from grand_pipeline.types import Caption, Phrase, PhraseLink, Span


def links(
    phrases: Collection[Phrase], ids: Mapping[str, tuple[int, ...]], keys: Mapping[str, str]
) -> tuple[PhraseLink, ...]:
    """One link per caption and phrase as it stands there; `keys` fold a phrase's text."""
    found = {
        (phrase.caption, phrase.text): ids[keys[phrase.text]]
        for phrase in phrases
        if ids.get(keys[phrase.text])
    }
    return tuple(PhraseLink(text, known, caption) for (caption, text), known in found.items())


def ground(
    source: str, text: str, links: Collection[PhraseLink], defects: Collection[str] = ()
) -> Caption:
    """A caption with every occurrence of every linked phrase, whatever its case.

    Spans may overlap. D8: only the first occurrence in exactly the lower case that GranD gives to
    phrases, with the least of the object ids.
    """
    found: list[Span] = []
    for link in links:
        if "D8" in defects:
            phrase = " ".join(link.text.lower().split())
            start = text.find(phrase)
            if start >= 0:
                found.append(Span(start, start + len(phrase), (min(link.object_ids),)))
        else:
            places = spans.find_all(text, link.text)
            found += [Span(start, end, link.object_ids) for start, end in places]
    return Caption(source, text, tuple(sorted(set(found), key=lambda s: (s.start, -s.end))))
