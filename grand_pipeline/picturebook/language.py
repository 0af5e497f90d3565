"""Captions, descriptions and tags of a scene: every sentence is true of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from grand_pipeline.picturebook.description import context, description
from grand_pipeline.picturebook.facts import Facts, Link, Rng, one_of
from grand_pipeline.picturebook.grammar import Caption, Draft, Mention
from grand_pipeline.picturebook.lexicon import BE, verbs_of
from grand_pipeline.picturebook.scene import Scene
from grand_pipeline.picturebook.vocabulary import SCENES

__all__ = [
    "Caption",
    "TaggedToken",
    "caption",
    "context",
    "describe",
    "landmark",
    "tagged_caption",
    "tagged_description",
    "tags",
]

TaggedToken = tuple[str, str, int, str]  # text, part of speech, position of the head, dependency

_NAMED = (2, 3, 4)  # things that a caption names, the largest ones
_SHARES = (0.07, 0.7, 0.23)  # how often it names that many


def caption(scene: Scene, rng: Rng) -> Caption:
    """A short lower-case sentence about the two to four largest things, the largest first."""
    return _caption(scene, rng).finish()


def tagged_caption(scene: Scene, rng: Rng) -> list[TaggedToken]:
    """The words of a caption with universal parts of speech and CLEAR-style dependencies."""
    return [(t.text, t.pos, t.head, t.dep) for t in _caption(scene, rng).tokens]


def describe(scene: Scene, rng: Rng) -> Caption:
    """Two and more sentences that name every thing with its colour, layer and relations."""
    return description(scene, rng).finish()


def tagged_description(scene: Scene, rng: Rng) -> list[TaggedToken]:
    """The words of a description, tagged like a caption; every sentence has its own root."""
    return [(t.text, t.pos, t.head, t.dep) for t in description(scene, rng).tokens]


def tags(scene: Scene) -> tuple[str, ...]:
    """Names of the things and stuff in the picture, and the kind of scene; each once."""
    return tuple(dict.fromkeys([*(o.name for o in scene.objects), scene.kind]))


def landmark(scene: Scene) -> tuple[str, str]:
    """The two-level scene category."""
    kind = SCENES[scene.kind]
    return kind.category, kind.fine_category


@dataclass(frozen=True)
class _Clause:
    """`a red car in front of a blue house on the road`: things, a relation of the only one of
    them to another one, and the place of all. Where the other one is elsewhere, the place is said
    first: `a red car on the road in front of a blue house`."""

    mentions: tuple[Mention, ...]
    link: tuple[Link, Mention] | None = None
    place: Link | None = None
    shared: bool = True


def _caption(scene: Scene, rng: Rng) -> Draft:
    facts, style = Facts(scene), rng.random()
    mentions = _largest(facts, int(rng.choice(_NAMED, p=_SHARES)), rng)
    draft = Draft()
    if style < 0.12:
        root = draft.kind(scene.kind, "ROOT")
        with_ = draft.word("with", "ADP", "prep", root)
        draft.listing(mentions, "pobj", with_)
        return draft
    related = _related(facts, mentions, rng) if style < 0.37 else None
    rest = [m for m in mentions if related is None or m not in _said(related)]
    clauses = _by_place(facts, rest)
    if related:
        said_later = related.place in [clause.place for clause in clauses]
        clauses = [replace(related, place=None) if said_later else related, *clauses]
    if len(clauses) == 1 and len(clauses[0].mentions) > 1 and rng.random() < 0.15:
        clauses = [_Clause(clauses[0].mentions)]
    _write(draft, facts, clauses, rng)
    return draft


def _largest(facts: Facts, count: int, rng: Rng) -> list[Mention]:
    """Mentions of the `count` largest things; two alike are spoken of together, and two of a
    class that are not alike with their colours."""
    ranked = sorted(facts.things, key=lambda o: (-facts.area[o.id], o.id))
    names = [o.name for o in ranked[:count]]
    mentions: dict[tuple[str, str | None], Mention] = {}
    for thing in ranked[:count]:
        key = (thing.name, thing.color)
        alike = tuple(o.id for o in ranked if (o.name, o.color) == key)
        if len(alike) > 1:
            mentions[key] = Mention(alike, *key)
        else:
            mentions[key] = facts.mention(thing.id, rng, plain=names.count(thing.name) > 1)
    return list(mentions.values())


def _related(facts: Facts, mentions: Sequence[Mention], rng: Rng) -> _Clause | None:
    """The largest thing and how it stands to another one that is named, if one can say so."""
    first = mentions[0]
    others = {m.ids[0]: m for m in mentions[1:] if len(m.ids) == 1}
    link = facts.link(first.ids[0], rng, among=others) if len(first.ids) == 1 else None
    if link is None:
        return None
    other = others[link[1]]
    place = facts.shared_place(first.ids)
    return _Clause((first,), (link, other), place, place == facts.shared_place(other.ids))


def _said(clause: _Clause) -> tuple[Mention, ...]:
    return (*clause.mentions, clause.link[1]) if clause.link else clause.mentions


def _by_place(facts: Facts, mentions: Sequence[Mention]) -> list[_Clause]:
    """One clause per place. Things without a place come last: what follows "a car" would seem to
    be the car's place too."""
    groups: dict[Link | None, list[Mention]] = {}
    for mention in mentions:
        groups.setdefault(facts.shared_place(mention.ids), []).append(mention)
    ordered = sorted(groups.items(), key=lambda group: group[0] is None)
    return [_Clause(tuple(named), place=place) for place, named in ordered]


def _write(draft: Draft, facts: Facts, clauses: Sequence[_Clause], rng: Rng) -> None:
    """`a red car and a dog on the road, and a bird in the sky`."""
    nested = any(len(_said(clause)) > 1 for clause in clauses)
    head, dep, lead = None, "ROOT", rng.random()
    if lead < 0.15:
        draft.word("there", "PRON", "expl", 1)
        many = len(clauses[0].mentions[0].ids) > 1
        head, dep = draft.word(BE.plural if many else BE.singular, "VERB", "ROOT"), "attr"
    for number, clause in enumerate(clauses):
        last = number == len(clauses) - 1
        if number and (nested or not last):
            draft.word(",", "PUNCT", "punct", head)
        if number and last:
            draft.word("and", "CCONJ", "cc", head)
        noun = _put(draft, facts, clause, dep, head, None if number or lead < 0.8 else rng)
        if not number:
            head, dep = noun, "conj"


def _put(
    draft: Draft, facts: Facts, clause: _Clause, dep: str, head: int | None, rng: Rng | None
) -> int:
    """Append a clause; returns the position of its first noun. With `rng` the thing does
    something: `a cat sitting on the floor`."""
    noun = last = draft.listing(list(clause.mentions), dep, head)
    placed = clause.link is not None or clause.place is not None
    if rng is not None and len(clause.mentions) == 1 and placed:
        verbs = verbs_of(clause.mentions[0].name)
        last = draft.word(verbs[one_of(rng, len(verbs))].participle, "VERB", "acl", noun)
    if clause.place is not None and not clause.shared:
        facts.put(draft, clause.place, last)
    if clause.link is not None:
        last = facts.put(draft, clause.link[0], last, clause.link[1])
    if clause.place is not None and clause.shared:
        facts.put(draft, clause.place, last)
    return noun
