"""The texts of an annotation as a panel: captions with coloured phrases, tags, relations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
    brief,
    color_of,
    drawable,
    font,
    tint,
    width_of,
)
from grand_pipeline.types import Span

TEXT, SMALL = 17, 13
_LEADING = 27
MARGIN = 24
_GAP = 16
_MOST_RELATIONS = 20
_MOST_SECTIONS = 60
_MOST_WORDS = 800
_PLATE = 3  # pixels that the plate of a phrase stands out on either side
_PILL_PAD = 9


@dataclass(frozen=True)
class Word:
    """A word with the objects it speaks of; `pill` words stand on a plate of their own.

    `glued`: no space before it. `room`: pixels that must be left in the line, so that what
    belongs together is not broken.
    """

    text: str
    object_ids: tuple[int, ...] = ()
    ink: Rgb = INK
    pill: bool = False
    glued: bool = False
    room: float = 0.0


@dataclass(frozen=True)
class Section:
    """A headed paragraph."""

    title: str
    words: tuple[Word, ...]


def sections(annotation: Annotation) -> list[Section]:
    """What the panel says, top to bottom; empty parts are left out, and so is what is beyond any
    measure."""
    found = [section for section in _sections(annotation) if section.words]
    left = len(found) - _MOST_SECTIONS
    more = [Section("more", (Word(f"and {left} more", ink=FAINT),))] if left > 0 else []
    return [*(_cut(section) for section in found[:_MOST_SECTIONS]), *more]


def _cut(section: Section) -> Section:
    words = tuple(
        replace(word, text=brief(word.text)) if word.text != "\n" else word
        for word in section.words[:_MOST_WORDS]
    )
    end = (Word("...", ink=FAINT),) if len(section.words) > _MOST_WORDS else ()
    return Section(brief(section.title), (*words, *end))


def _sections(annotation: Annotation) -> list[Section]:
    labels = {o.id: brief(o.label) for o in annotation.objects}
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
    return found


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
    for number, relation in enumerate(shown):
        subject, other = (
            f"{labels.get(i, '?')} [{i}]" for i in (relation.subject, relation.object)
        )
        end = ";" if number + 1 < len(annotation.relations) else ""
        said = brief(relation.predicate)
        room = width_of(f"{subject} {said} {other}{end}", TEXT) + 4 * _PLATE
        yield Word(subject, (relation.subject,), room=room)
        yield Word(said, ink=FAINT)
        yield Word(other, (relation.object,))
        yield Word(end, glued=True, ink=FAINT)
    if len(annotation.relations) > len(shown):
        yield Word(f"and {len(annotation.relations) - len(shown)} more", ink=FAINT)


def spoken(text: str, spans: Sequence[Span]) -> Iterator[Word]:
    """A text as words; those inside a span carry its objects. Later spans lie over earlier."""
    owners: list[tuple[int, ...]] = [()] * len(text)
    for span in spans:
        for place in range(max(0, span.start), min(span.end, len(text))):
            owners[place] = span.object_ids
    for match in re.finditer(r"\n|[^\s]+", text):
        start, end = match.span()
        # The comma after a phrase belongs to the sentence: glued on, but not coloured.
        cuts = [i for i in range(start + 1, end) if owners[i] != owners[i - 1]]
        for a, b in pairwise([start, *cuts, end]):
            yield Word(text[a:b], owners[a], glued=a > start)


def measure(part: Section, width: int) -> int:
    """Height of a section in a panel of this width."""
    return _layout(None, [part], width) - 2 * MARGIN + _GAP


def draw_panel(parts: Sequence[Section], width: int, least_height: int) -> Image.Image:
    """The sections at a given width, as high as they need, at least `least_height`."""
    height = _layout(None, parts, width)
    panel = Image.new("RGB", (width, max(least_height, height)), PAPER)
    _layout(ImageDraw.Draw(panel), parts, width)
    return panel


def _layout(pen: ImageDraw.ImageDraw | None, parts: Sequence[Section], width: int) -> int:
    """Draw (or only measure, without a pen) all sections; returns the height."""
    y = MARGIN
    for number, part in enumerate(parts):
        if number:
            if pen:
                pen.line((MARGIN, y, width - MARGIN, y), fill=LINE)
            y += _GAP - 2
        if pen:
            pen.text((MARGIN, y), drawable(part.title), fill=FAINT, font=font(SMALL))
        y = _paragraph(pen, part.words, y + SMALL + 8, width) + _GAP
    return y + MARGIN - _GAP


def _paragraph(pen: ImageDraw.ImageDraw | None, words: Sequence[Word], y: int, width: int) -> int:
    """Set words in lines; returns the y below the last one."""
    x, right = float(MARGIN), width - MARGIN
    before: Word | None = None
    for word in words:
        if word.text == "\n":
            x, y, before = float(MARGIN), y + _LEADING, None
            continue
        extent = width_of(word.text, TEXT) + (2 * _PILL_PAD if word.pill else 0)
        gap = _gap(before, word)
        if before is not None and not word.glued and x + gap + max(extent, word.room) > right:
            x, y, gap, before = float(MARGIN), y + _LEADING, 0.0, None
        same = before is not None and bool(word.object_ids) and before.object_ids == word.object_ids
        if pen:
            _set_word(pen, word, (x + gap, y), extent, gap if same else 0.0)
        x += gap + extent
        before = word
    return y + _LEADING if before is not None else y


def _gap(before: Word | None, word: Word) -> float:
    """Space before a word: none at the start of a line, more where plates begin or end."""
    if before is None:
        return 0.0
    plates = 0 if before.object_ids == word.object_ids else _PLATE
    if word.glued:
        return plates if before.object_ids or word.object_ids else 0.0
    return width_of(" ", TEXT) + plates + (4 if word.pill or before.pill else 0)


def _set_word(
    pen: ImageDraw.ImageDraw, word: Word, at: tuple[float, float], extent: float, joined: float
) -> None:
    """One word with its plate; `joined` pixels to its left belong to the same phrase."""
    x, y = at
    top, bottom = y - 3, y + TEXT + 5
    if word.pill:
        pen.rounded_rectangle((x, top, x + extent, bottom), radius=10, fill=PILL)
        x += _PILL_PAD
    elif word.object_ids:
        left, right = x - (joined or _PLATE), x + extent + _PLATE
        pen.rectangle((left, top, right, bottom), fill=tint(color_of(word.object_ids[0]), 0.18))
        step = (right - left) / len(word.object_ids)
        for n, number in enumerate(word.object_ids):
            stripe = (left + step * n, bottom - 2, left + step * (n + 1), bottom)
            pen.rectangle(stripe, fill=color_of(number))
    pen.text((x, y), drawable(word.text), fill=word.ink, font=font(TEXT))
