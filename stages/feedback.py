"""A language model revises what it wrote until its claims hold, or for as many rounds as allowed.

After the feedback loop of the GLaMM supplement (A.4), with the check done by rule: claims are read
from the draft and compared with the objects of the image, and the model is told which ones fail
and why. A second model that sees the image can be asked about what the objects do not confirm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import prompts
from grand_pipeline import inert
from grand_pipeline.claims import Claim, Known, Thing, checker
from grand_pipeline.columns import (
    ASSIGNED,
    ATTRIBUTES,
    GROUNDED_CAPTIONS,
    INSTANCES,
    PLACEMENTS,
    RELATIONS,
    SCENE_GRAPH,
)
from grand_pipeline.generation import Generation, Review
from grand_pipeline.graph import named
from grand_pipeline.labels import Lexicon, normalize
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads
from grand_pipeline.statements import normal
from stages.chat import STOP, Chat, Dialog, Effort, asking, hold
from stages.witness import Witness

READS: Reads = (INSTANCES, ASSIGNED, ATTRIBUTES, RELATIONS, PLACEMENTS, GROUNDED_CAPTIONS)
"""What claims are checked against, beside the scene graph that the model reads."""


@dataclass(frozen=True)
class Reviser:
    """A model that is told what is wrong with a text.

    `prompt` has the fields `graph`, `draft` and `faults`; `words` says which labels mean the same.
    `witness` is asked where the objects do not confirm a claim.
    """

    chat: Chat
    prompt: prompts.Prompt
    effort: Effort
    words: Lexicon = field(default_factory=Lexicon)
    witness: Witness | None = None

    def revised(
        self, drafts: Sequence[Generation], records: Sequence[Record], rounds: int
    ) -> list[Generation]:
        """The drafts after at most `rounds` revisions each, as `revising` makes them."""
        pairs = zip(drafts, records, strict=True)
        return hold(self.chat, (self.revising(*pair, rounds) for pair in pairs))

    def revising(self, draft: Generation, record: Record, rounds: int) -> Dialog[Generation]:
        """The dialog in which a draft is revised at most `rounds` times; with what became of its
        claims.

        A revision takes the draft's place if its answer is usable and it mends more claims than
        it gives up true ones; otherwise the draft stays and the next round tries another seed.
        """
        fact = known(record)
        held = _Draft(draft, self._claims(draft, fact, record))
        for number in range(rounds):
            if not held.failed:
                break
            seed = number if held.refused else 0
            answer = yield from self._asking(held, record[SCENE_GRAPH], seed)
            held = _better(held, answer, self._claims(answer, fact, record))
        return _reviewed(held)

    def _claims(self, told: Generation, known: Known, record: Record) -> tuple[Claim, ...]:
        names = frozenset(thing.label for thing in known.things if not thing.stuff)
        stuff = frozenset(thing.label for thing in known.things if thing.stuff)
        claims = checker(names, stuff, self.words).claims(told.answer, known)
        if self.witness is None:
            return claims
        return self.witness.heard(partial(getattr, record, "image"), claims)

    def _asking(self, draft: _Draft, graph: str, seed: int) -> Dialog[Generation]:
        fields = {"draft": inert.draft(draft.told.answer), "faults": faults(draft.failed)}
        first = self.effort.first
        if seed:
            first = replace(first, temperature=self.effort.temperature, seed=seed)
        effort = replace(self.effort, first=first)
        return asking(self.chat, self.prompt, graph, effort, draft.told.source, fields)


def faults(failed: Sequence[Claim]) -> str:
    """One line per failed claim, each once, as the model reads them."""
    said = (replace(claim, text=inert.quoted(inert.draft(claim.text))) for claim in failed)
    return "\n".join(dict.fromkeys(f"- {claim.fault()}" for claim in said))


@dataclass(frozen=True)
class _Draft:
    """A text in revision: what it claims, the texts before it with the faults they had, the
    rounds so far, and whether the last revision was refused."""

    told: Generation
    claims: tuple[Claim, ...]
    before: tuple[tuple[str, tuple[Claim, ...]], ...] = ()
    rounds: int = 0
    refused: bool = False

    @property
    def failed(self) -> tuple[Claim, ...]:
        """The claims that do not hold."""
        return tuple(claim for claim in self.claims if claim.holds is False)


def known(record: Record) -> Known:
    """What the columns of an image say about its objects, in words that a prompt can hold."""
    assigned = {a.object_id: a.label for a in record[ASSIGNED]}
    depths = {place.object_id: place.depth for place in record[PLACEMENTS]}
    attributes: dict[int, list[str]] = {}
    for found in record.members(ATTRIBUTES).values():
        for attribute in found:
            attributes.setdefault(attribute.object_id, []).append(attribute.text)
    things = tuple(
        Thing(
            instance.id,
            named(normalize(assigned.get(instance.id, instance.label))),
            tuple(attributes.get(instance.id, ())),
            instance.box,
            depths.get(instance.id),
            instance.kind == "stuff",
        )
        for instance in record[INSTANCES]
    )
    relations = frozenset(
        normal(r.subject, named(r.predicate), r.object) for r in record[RELATIONS]
    )
    said = tuple(caption.text for caption in record[GROUNDED_CAPTIONS])
    return Known(things, relations, (record.height, record.width), said)


def _better(draft: _Draft, answer: Generation, claims: tuple[Claim, ...]) -> _Draft:
    """The revision if it is one for the better, else the draft, one round later."""
    old, new = _tally(draft.claims), _tally(claims)
    mended, given_up = old[False] - new[False], old[True] - new[True]
    if answer.finish_reason != STOP or mended <= max(0, given_up):
        return replace(draft, rounds=draft.rounds + 1, refused=True)
    before = (*draft.before, (draft.told.answer, draft.failed))
    return _Draft(answer, claims, before, draft.rounds + 1)


def _tally(claims: Sequence[Claim]) -> Counter[bool | None]:
    return Counter(claim.holds for claim in claims)


def _reviewed(draft: _Draft) -> Generation:
    tally = _tally(draft.claims)
    failed = tuple(dict.fromkeys(claim.fault() for claim in draft.failed))
    earlier = (claim.fault() for _, faults in draft.before for claim in faults)
    review = Review(
        rounds=draft.rounds,
        claims=len(draft.claims),
        unchecked=tally[None],
        failed=failed,
        mended=tuple(fault for fault in dict.fromkeys(earlier) if fault not in failed),
        drafts=tuple(text for text, _ in draft.before),
        verified=tally[True] > 0 and not failed,
        seen=tuple(dict.fromkeys(f'"{c.text}": {c.seen}' for c in draft.claims if c.seen)),
    )
    return replace(draft.told, review=review)
