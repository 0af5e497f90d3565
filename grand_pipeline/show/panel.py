"""The texts of an annotation as a panel: captions with coloured phrases, tags, relations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath

from PIL import Image, ImageDraw

from grand_pipeline.columns import Annotation
from grand_pipeline.show.style import (
    ALARM,
    FAINT,
    INK,
    LINE,
    PAPER,
    PILL,
    Rgb,
    color_of,
    font,
    tint,
    width_of,
)
from grand_pipeline.types import Span

TEXT, SMALL = 17, 13
_LEADING = 27
_MARGIN = 24
_GAP = 16
_MOST_RELATIONS = 14


@dataclass(frozen=True)
class Word:
    """A word with the objects it speaks of; `pill` words stand on a plate of their own."""

    text: str
    object_ids: tuple[int, ...] = ()
    ink: Rgb = INK
    pill: bool = False


@dataclass(frozen=True)
class Section:
    """A headed paragraph."""

    title: str
    words: tuple[Word, ...]


def sections(annotation: Annotation) -> list[Section]:
    """What the panel says, top to bottom; empty parts are left out."""
    labels = {o.id: o.label for o in annotation.objects}
    found = [Section(_title(annotation), tuple(_headline(annotation)))]
    for caption in annotation.captions:
        words = tuple(spoken(caption.text, caption.spans))
        found.append(Section(f"caption ({caption.source})", words))
    dense = annotation.dense_caption
    if dense is not None:
        note = dense.source if dense.verified else f"{dense.source}, not verified"
        found.append(Section(f"dense caption ({note})", tuple(spoken(dense.text, dense.spans))))
    if annotation.relations:
        found.append(Section("relations", tuple(_relations(annotation, labels))))
    if annotation.tags:
        pills = tuple(Word(tag.name, pill=True) for tag in annotation.tags)
        found.append(Section("tags", pills))
    if annotation.context is not None and annotation.context.text:
        words = tuple(spoken(annotation.context.text, ()))
        found.append(Section(f"context ({annotation.context.source})", words))
    for error in annotation.errors:
        alarm = tuple(Word(word, ink=ALARM) for word in error.message.split())
        found.append(Section(f"error in {error.stage}", alarm))
    return [section for section in found if section.words]


def _title(annotation: Annotation) -> str:
    size = f"{annotation.width} x {annotation.height}" if annotation.width else "unknown size"
    return f"{PurePosixPath(annotation.uri).name}   {size}   {annotation.image_id[:8]}"


def _headline(annotation: Annotation) -> Iterator[Word]:
    landmark = annotation.landmark
    if landmark is not None:
        yield Word(landmark.category, pill=True)
        yield Word(landmark.fine_category, pill=True)
    things = sum(o.kind != "stuff" and o.status == "object" for o in annotation.objects)
    floating = sum(o.status == "floating" for o in annotation.objects)
    yield Word(f"{things} things", ink=FAINT)
    if floating:
        yield Word(f"{floating} floating", ink=FAINT)


def _relations(annotation: Annotation, labels: dict[int, str]) -> Iterator[Word]:
    shown = annotation.relations[:_MOST_RELATIONS]
    for relation in shown:
        for number in (relation.subject, relation.object):
            text = f"{labels.get(number, '?')} [{number}]"
            if number == relation.object:
                yield Word(relation.predicate, ink=FAINT)
            yield Word(text, (number,))
        yield Word("\n")
    if len(annotation.relations) > len(shown):
        yield Word(f"and {len(annotation.relations) - len(shown)} more", ink=FAINT)


def spoken(text: str, spans: Sequence[Span]) -> Iterator[Word]:
    """A text as words; those inside a span carry its objects. Later spans lie over earlier."""
    owners: list[tuple[int, ...]] = [()] * len(text)
    for span in spans:
        for place in range(max(0, span.start), min(span.end, len(text))):
            owners[place] = span.object_ids
    for match in re.finditer(r"\n|[^\s]+", text):
        word, start = match.group(), match.start()
        cuts = [
            place for place in range(start + 1, match.end()) if owners[place] != owners[place - 1]
        ]
        # A comma after a phrase belongs to the sentence: it is glued on, but not coloured.
        edges = [start, *cuts, match.end()]
        for n, (a, b) in enumerate(pairwise(edges)):
            glue = "" if n == 0 else "\u2060"
            yield Word(glue + text[a:b] if word != "\n" else word, owners[a])


def draw_panel(annotation: Annotation, width: int, least_height: int) -> Image.Image:
    """The panel at a given width, as high as its text needs, at least `least_height`."""
    parts = sections(annotation)
    height = _layout(None, parts, width)
    panel = Image.new("RGB", (width, max(least_height, height)), PAPER)
    _layout(ImageDraw.Draw(panel), parts, width)
    return panel


def _layout(pen: ImageDraw.ImageDraw | None, parts: Sequence[Section], width: int) -> int:
    """Draw (or only measure, without a pen) all sections; returns the height."""
    y = _MARGIN
    for number, part in enumerate(parts):
        if number:
            if pen:
                pen.line((_MARGIN, y, width - _MARGIN, y), fill=LINE)
            y += _GAP - 2
        if pen:
            pen.text((_MARGIN, y), part.title, fill=FAINT, font=font(SMALL))
        y = _paragraph(pen, part.words, y + SMALL + 8, width) + _GAP
    return y + _MARGIN - _GAP


def _paragraph(pen: ImageDraw.ImageDraw | None, words: Sequence[Word], y: int, width: int) -> int:
    """Set words in lines; returns the y below the last one."""
    x, right = float(_MARGIN), width - _MARGIN
    space = width_of(" ", TEXT)
    before: Word | None = None
    for word in words:
        if word.text == "\n":
            x, y, before = float(_MARGIN), y + _LEADING, None
            continue
        glued = word.text.startswith("\u2060")
        text = word.text.removeprefix("\u2060")
        plate = 9 if word.pill else 0
        extent = width_of(text, TEXT) + 2 * plate
        gap = 0.0 if glued or before is None else space + (3 if word.pill else 0)
        if x + gap + extent > right and before is not None and not glued:
            x, y, gap, before = float(_MARGIN), y + _LEADING, 0.0, None
        same = before is not None and bool(word.object_ids) and before.object_ids == word.object_ids
        if pen:
            _set_word(pen, word, text, (x + gap, y), extent, gap if same else 0.0)
        x += gap + extent
        before = word
    return y + _LEADING if before is not None else y


def _set_word(
    pen: ImageDraw.ImageDraw,
    word: Word,
    text: str,
    at: tuple[float, float],
    extent: float,
    joined: float,
) -> None:
    """One word with its plate; `joined` pixels to its left belong to the same phrase."""
    x, y = at
    top, bottom = y - 3, y + TEXT + 5
    plate = 0
    if word.pill:
        pen.rounded_rectangle((x, top, x + extent, bottom), radius=10, fill=PILL)
        plate = 9
    elif word.object_ids:
        left = x - joined if joined else x - 3
        pen.rectangle(
            (left, top, x + extent + 3, bottom), fill=tint(color_of(word.object_ids[0]), 0.2)
        )
        count = len(word.object_ids)
        for n, number in enumerate(word.object_ids):
            a = left + (x + extent + 3 - left) * n / count
            b = left + (x + extent + 3 - left) * (n + 1) / count
            pen.rectangle((a, bottom - 2, b, bottom), fill=color_of(number))
    pen.text((x + plate, y), text, fill=word.ink, font=font(TEXT))
