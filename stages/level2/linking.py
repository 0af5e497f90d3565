"""Caption phrases meet objects: links, grounded captions, and objects that only captions know.

A phrase belongs to the object under its box whose label its head noun agrees with. Without one, a
phrase that the grounder is unsure of belongs to the only object with that label; any other to the
object of whatever label under nearly the same box, or it becomes a floating object of its own.
Ids of fused objects never change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from grand_pipeline import geometry, matching, spans
from grand_pipeline.columns import (
    CAPTIONS,
    FUSED,
    GROUNDED_CAPTIONS,
    INSTANCES,
    LINKS,
    PHRASE_BOXES,
    PHRASES,
)
from grand_pipeline.labels import Lexicon, heads, how_many, normalize
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import (
    BoolArray,
    Caption,
    Instance,
    Kind,
    Phrase,
    PhraseBox,
    PhraseLink,
    Size,
    Span,
    Status,
    Vote,
)
from stages.mentions import Candidate, Linked, Pool, Query, by_confidence, fold, located, shared

Boxes = Mapping[str, tuple[PhraseBox, ...]]
"""Grounder -> its boxes."""


@dataclass(frozen=True, kw_only=True)
class Linking(Stage[None]):
    """Tie phrases to objects, promote floating objects that a caption confirms, add new ones."""

    level: ClassVar[int] = 2

    agreeing_iou: float = 0.3
    """A phrase box belongs to an object with an agreeing label from this IoU on."""

    any_iou: float = 0.75
    """A phrase box belongs to an object of whatever label from this IoU on."""

    min_score: float = 0.1
    """Phrase boxes below this score are ignored."""

    relative_score: float = 0.5
    """Of the boxes of one phrase, those below this fraction of the best are ignored."""

    new_score: float = 0.3
    """A phrase box without object becomes a floating object from this score on."""

    by_label: bool = True
    """Whether a phrase without any box of `new_score` is tied to the only object of its label."""

    min_votes: int = 2
    """Different sources that make a floating object an object."""

    stuff: tuple[str, ...] = ()
    """Labels of uncountable regions, as for fusion."""

    lexicon: Lexicon = field(default_factory=Lexicon)
    """Synonyms and hypernyms beside the built-in ones."""

    @property
    def reads(self) -> Reads:
        return (FUSED, CAPTIONS, PHRASES, PHRASE_BOXES)

    @property
    def writes(self) -> Writes:
        return (INSTANCES, LINKS, GROUNDED_CAPTIONS)

    @property
    def needs_image(self) -> bool:
        return False

    def load(self, device: str) -> None:
        """Nothing to load."""

    def annotate(self, model: None, records: Sequence[Record]) -> list[Row]:
        rows: list[Row] = []
        for record in records:
            captions, boxes = record.members(CAPTIONS), record.members(PHRASE_BOXES)
            linked = self.link(record[FUSED], captions, record[PHRASES], boxes, record.size)
            rows.append(linked.row())
        return rows

    def link(
        self,
        fused: tuple[Instance, ...],
        captions: Mapping[str, str],
        phrases: tuple[Phrase, ...],
        boxes: Boxes,
        size: Size,
    ) -> Linked:
        """Resolve every phrase of an image of `size` (height, width)."""
        texts = {source: spans.nfc(captions[source]) for source in sorted(captions)}
        mentions = located(texts, phrases)
        queries = self._queries(mentions, boxes, size)
        places = [c.box for query in queries.values() for c in query.candidates]
        pool = Pool(fused, self.lexicon, places)
        found = {key: self._resolve(queries[key], pool) for key in by_confidence(queries)}
        links: dict[tuple[str, str], tuple[int, ...]] = {}
        placed: dict[str, list[Span]] = {source: [] for source in texts}
        for mention, chosen in zip(mentions, shared(mentions, found), strict=True):
            if chosen:
                known = links.get((mention.caption, mention.text), ())
                links[mention.caption, mention.text] = tuple(dict.fromkeys((*known, *chosen)))
                placed[mention.caption].append(Span(mention.start, mention.end, chosen))
        return Linked(
            tuple(pool.instances),
            tuple(PhraseLink(text, known, source) for (source, text), known in links.items()),
            tuple(
                Caption(source, text, spans.without_overlaps(spans.longest_first(placed[source])))
                for source, text in texts.items()
            ),
        )

    def _queries(self, mentions: Sequence[Phrase], boxes: Boxes, size: Size) -> dict[str, Query]:
        """Folded phrase text -> what is asked for and where the grounders see it."""
        candidates = self._candidates(boxes, size)
        times: dict[str, Counter[str]] = {}
        for mention in mentions:
            times.setdefault(fold(mention.text), Counter())[mention.caption] += 1
        queries: dict[str, Query] = {}
        row = 0
        for mention in mentions:
            key = fold(mention.text)
            if key not in queries:
                number = how_many(mention.text, mention.head)
                wanted = None if number is None else number * max(times[key].values())
                head = mention.head or next(iter(heads(mention.text)), mention.text)
                mine = tuple(candidates.get(key, ()))
                queries[key] = Query(head, wanted, mine, slice(row, row + len(mine)))
                row += len(mine)
        return queries

    def _candidates(self, boxes: Boxes, size: Size) -> dict[str, list[Candidate]]:
        """Folded phrase text -> usable boxes, best first."""
        found: dict[str, list[Candidate]] = {}
        for source in sorted(boxes):
            clipped = geometry.clip(geometry.as_boxes([b.box for b in boxes[source]]), size)
            whole = np.all(clipped[:, 2:] > clipped[:, :2], axis=1).tolist()
            places = geometry.box_tuples(clipped)
            for given, box, fits in zip(boxes[source], places, whole, strict=True):
                score = 1.0 if given.score is None else given.score
                if fits and score >= self.min_score:
                    candidate = Candidate(source, box, score, given.score)
                    found.setdefault(fold(given.text), []).append(candidate)
        for key, candidates in found.items():
            candidates.sort(key=lambda c: (-c.score, c.source, c.box))
            floor = candidates[0].score * self.relative_score
            found[key] = [c for c in candidates if c.score >= floor]
        return found

    def _resolve(self, query: Query, pool: Pool) -> tuple[int, ...]:
        """Ids of the objects that a phrase speaks of; `pool` gains votes and new objects."""
        sure = bool(query.candidates) and query.candidates[0].score >= self.new_score
        agrees = pool.agreeing(query.head)
        by_agreeing_box = self._by_box(query, pool, agrees, 2.0)
        if by_agreeing_box:
            return by_agreeing_box
        # A grounder that is sure of a place knows more than a label that happens to be unique.
        found = () if sure else self._by_label(query, pool, agrees)
        return found or self._by_box(query, pool, agrees, self.any_iou) or self._new(query, pool)

    def _by_box(
        self, query: Query, pool: Pool, agrees: BoolArray, any_iou: float
    ) -> tuple[int, ...]:
        """Objects under the phrase's boxes, best box first; `agrees` (n,) says whose words fit."""
        if not query.candidates:
            return ()
        matches = matching.best_matches(
            pool.overlap[query.rows], agrees, self.agreeing_iou, any_iou
        )
        ids: dict[int, None] = {}
        for candidate, index in zip(query.candidates, matches, strict=True):
            if query.wanted is not None and len(ids) >= query.wanted:
                break
            if index is not None:
                known = pool.instances[index]
                if agrees[index]:
                    pool.change(index, self._voted(known, query.head, candidate))
                ids[known.id] = None
        return tuple(ids)

    def _by_label(self, query: Query, pool: Pool, agrees: BoolArray) -> tuple[int, ...]:
        """All voted objects with the label, if they are as many as the phrase says."""
        if not self.by_label:
            return ()
        fitting = (pool.instances[n] for n in np.flatnonzero(agrees).tolist())
        same = [instance.id for instance in fitting if instance.status == "object"]
        return tuple(same) if query.wanted is None or len(same) == query.wanted else ()

    def _new(self, query: Query, pool: Pool) -> tuple[int, ...]:
        """Floating objects for the phrase's boxes that have none."""
        label = normalize(query.head)
        if not label:
            return ()
        good = [c for c in query.candidates if c.score >= self.new_score]
        boxes = geometry.as_boxes([c.box for c in good])
        scores = np.array([c.score for c in good], np.float32)
        same = np.zeros(len(good), np.int64)
        kept = matching.suppress(boxes, scores, same, self.agreeing_iou)[: query.wanted]
        first = max((instance.id for instance in pool.instances), default=-1) + 1
        kind = self._kind(label)
        pool.add(
            Instance(
                first + number, "floating", kind, good[index].box, None, label,
                (Vote(good[index].source, query.head, good[index].given),),
            )
            for number, index in enumerate(kept.tolist())
        )  # fmt: skip
        return tuple(range(first, first + len(kept)))

    def _kind(self, label: str) -> Kind | None:
        if not self.stuff:
            return None
        regions = {self.lexicon.key(name) for name in self.stuff}
        return "stuff" if self.lexicon.key(label) in regions else "thing"

    def _voted(self, instance: Instance, head: str, candidate: Candidate) -> Instance:
        """The object with the grounder's vote, promoted where that makes enough of them.

        An object that is voted already gains no vote for a broader word: "animal" must not
        compete with "dog" when labels are chosen among votes.
        """
        known = any(vote.source == candidate.source for vote in instance.votes)
        same = self.lexicon.key(head) == self.lexicon.key(instance.label)
        if known or (instance.status == "object" and not same):
            return instance
        votes = (*instance.votes, Vote(candidate.source, head, candidate.given))
        status: Status = instance.status
        if status == "floating":
            agreeing = {v.source for v in votes if self.lexicon.agree(v.label, instance.label)}
            status = "object" if len(agreeing) >= self.min_votes else "floating"
        return Instance(
            instance.id, status, instance.kind, instance.box, instance.score, instance.label, votes
        )
