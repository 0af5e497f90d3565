"""Boxes for the phrases of captions, by themselves or inside their caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from grand_pipeline import geometry, inert, spans, weights
from grand_pipeline.columns import CAPTIONS, PHRASE_BOXES, PHRASES
from grand_pipeline.labels import how_many
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import FloatArray, Phrase, PhraseBox
from stages import detector, grounders, hub
from stages.grounders import Grounded, Grounder, Options, Span
from stages.mdetr import checkpoint
from stages.texts import check_template, fill


@dataclass(frozen=True)
class _Question:
    """A text and the phrases in it: their places there, and their own texts."""

    caption: str
    places: tuple[Span, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PhraseGrounding(Stage[Grounder]):
    """The best box of every distinct phrase text, and further good ones where it is plural.

    A phrase that several captions have in common gets the best of what was found for it. A caption
    that is longer than a Grounding DINO or an MDETR reads at once is cut between its sentences, or
    if one sentence alone is too long, between phrases.
    """

    level: ClassVar[int] = 2

    source: str
    """Name of the grounder in the column and in votes."""
    model: str = "google/owlv2-base-patch16-ensemble"
    """Hub id, folder or `embedded:` name of an OWL-ViT, OWLv2, Grounding DINO or MM-Grounding-DINO
    checkpoint, or the published `.pth` file of an MDETR (with roberta-base's tokenizer beside it,
    or else that of the hub). Florence-2, Kosmos-2 and the folder of an X-VLM that `grand train` has
    made too, which give boxes without scores."""
    prompt: Literal["phrase", "caption"] = "phrase"
    """"phrase": each phrase for itself (a Grounding DINO reads those of an image as a list of
    labels). "caption": as part of its caption, so that "the left one" can mean something; not for
    OWL, which sees one phrase at a time."""
    template: str = "{}"
    """Text put to the model for a phrase by itself; `{}` is the phrase."""
    token_score: Literal["max", "mean"] = "mean"
    """Grounding DINO: a phrase scores like the best of its tokens, or like all on average. MDETR
    shares one probability out among the tokens, so theirs are always added up."""
    threshold: float = 0.1
    """Least probability of a phrase's best box."""
    ratio: float = 0.5
    """A plural phrase gets the boxes with at least this share of its best box's probability."""
    nms: float = 0.5
    """A box of a phrase goes when its IoU with a better one of it exceeds this."""
    box_voting: float | None = None
    """Move a box to the mean of the boxes that overlap it by this IoU, weighed by their scores
    for the phrase."""
    max_boxes: int = 10
    """Most boxes of a plural phrase that names no number."""
    dtype: hub.Dtype = "float32"
    """Numbers the model computes in; with 16 bits boxes are off by up to a pixel in 250."""

    def __post_init__(self) -> None:
        check_template(self.template, 1)
        if self.prompt == "caption" and self.template != "{}":
            raise ValueError("a caption is read as it is: leave 'template' at \"{}\"")

    @property
    def reads(self) -> Reads:
        """Phrases, and the captions where phrases are read inside them."""
        return (CAPTIONS, PHRASES) if self.prompt == "caption" else (PHRASES,)

    @property
    def writes(self) -> Writes:
        """Boxes, phrase by phrase, best first."""
        return (PHRASE_BOXES.of(self.source),)

    @property
    def models(self) -> tuple[str, ...]:
        """The checkpoint, and the tokenizer where an MDETR needs that of the hub."""
        if checkpoint.is_checkpoint(self.model):
            reader = checkpoint.tokenizer(self.model)
            if reader == checkpoint.ROBERTA:
                return self.model, f"{weights.TOKENIZER}{reader}"
        return (self.model,)

    def load(self, device: str) -> Grounder:
        """The grounder."""
        options = Options(
            dtype=self.dtype,
            prompt=self.prompt,
            token_score=self.token_score,
            least=self.threshold,
        )
        return grounders.load(self.model, device, options)

    def annotate(self, model: Grounder, records: Sequence[Record]) -> list[Row]:
        """Boxes of every image; an image without phrases is not encoded."""
        asked = [(n, q) for n, record in enumerate(records) for q in self._questions(record)]
        found: list[dict[str, list[Grounded]]] = [{} for _ in records]
        if asked:
            answers = model.ground(
                [records[n].image for n, _ in asked],
                [records[n].size for n, _ in asked],
                [inert.unmarked(question.caption) for _, question in asked],
                [question.places for _, question in asked],
            )
            for (n, question), answer in zip(asked, answers, strict=True):
                for text, grounded in zip(question.texts, answer, strict=True):
                    found[n].setdefault(text, []).append(grounded)
        return [
            {PHRASE_BOXES.of(self.source): self._boxes(_by_text(record), one)}
            for record, one in zip(records, found, strict=True)
        ]

    def _questions(self, record: Record) -> list[_Question]:
        if self.prompt == "phrase":
            return _as_list(list(_by_text(record)), self.template)
        phrases = record[PHRASES]
        questions = [
            _in_caption(source, spans.nfc(text), phrases)
            for source, text in record.members(CAPTIONS).items()
        ]
        return [question for question in questions if question.texts]

    def _boxes(
        self, phrases: dict[str, Phrase], found: dict[str, list[Grounded]]
    ) -> tuple[PhraseBox, ...]:
        return tuple(
            box
            for text, phrase in phrases.items()
            if text in found
            for box in self._of_phrase(phrase, _together(found[text]))
        )

    def _of_phrase(self, phrase: Phrase, found: Grounded) -> list[PhraseBox]:
        sides = found.boxes[:, 2:] - found.boxes[:, :2]
        # A box that ends up outside the image has no side left after clipping.
        usable = np.flatnonzero(sides.min(axis=1) > 0)
        boxes, most = found.boxes[usable], self._most(phrase)
        if found.scores is None:
            return [PhraseBox(phrase.text, geometry.as_box(box), None) for box in boxes[:most]]
        scores = found.scores[usable]
        best = self._best(boxes, scores, most)
        chosen = boxes[best]
        if self.box_voting is not None and best:
            given = np.tile(scores, (len(best), 1))
            chosen = detector.vote(chosen, boxes, given, self.box_voting)
        return [
            PhraseBox(phrase.text, geometry.as_box(box), float(scores[i]))
            for box, i in zip(chosen, best, strict=True)
        ]

    def _most(self, phrase: Phrase) -> int:
        return min(self.max_boxes, how_many(phrase.text, phrase.head) or self.max_boxes)

    def _best(self, boxes: FloatArray, scores: FloatArray, most: int) -> list[int]:
        if not len(scores) or scores.max() < self.threshold:
            return []
        least = max(self.threshold, self.ratio * float(scores.max()))
        if most == 1:
            return [int(scores.argmax())]
        good = np.flatnonzero(scores >= least)
        kept = good[geometry.nms(boxes[good], scores[good], self.nms)]
        return [int(i) for i in kept[:most]]


def _by_text(record: Record) -> dict[str, Phrase]:
    """Distinct texts in order, each with its first phrase."""
    first: dict[str, Phrase] = {}
    for phrase in record[PHRASES]:
        first.setdefault(phrase.text, phrase)
    return first


def _as_list(texts: Sequence[str], template: str) -> list[_Question]:
    """One question that lists the texts, each closed by a full stop; none for no texts."""
    caption, places = "", list[Span]()
    for text in texts:
        words = fill(template, text)
        places.append((len(caption), len(caption) + len(words)))
        caption += f"{words}. "
    return [_Question(caption, tuple(places), tuple(texts))] if texts else []


def _in_caption(source: str, caption: str, phrases: Sequence[Phrase]) -> _Question:
    """The phrases of one caption, where they stand in it; without those that do not."""
    found = {
        (place, phrase.text): None
        for phrase in phrases
        if phrase.caption == source
        and (place := spans.locate(caption, spans.nfc(phrase.text), phrase.start))
    }
    return _Question(caption, tuple(p for p, _ in found), tuple(text for _, text in found))


def _together(found: Sequence[Grounded]) -> Grounded:
    """What was found for the mentions of one phrase. Without scores if one of them has none."""
    if len(found) == 1:
        return found[0]
    boxes = np.concatenate([one.boxes for one in found])
    scores = [one.scores for one in found if one.scores is not None]
    return Grounded(boxes, np.concatenate(scores) if len(scores) == len(found) else None)
