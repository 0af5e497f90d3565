"""Captions, descriptions and tags of a scene: every sentence is true of the picture."""

from __future__ import annotations

from grand_pipeline.picturebook.description import context, description
from grand_pipeline.picturebook.facts import Facts, Rng, one_of
from grand_pipeline.picturebook.grammar import Caption, Draft, Mention
from grand_pipeline.picturebook.lexicon import verbs_of
from grand_pipeline.picturebook.scene import Scene, SceneObject
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


def caption(scene: Scene, rng: Rng) -> Caption:
    """A short lower-case sentence about one to three salient things."""
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


def _caption(scene: Scene, rng: Rng) -> Draft:
    facts = Facts(scene)
    ranked = sorted(scene.things, key=lambda o: (-facts.salience(o), o.id))
    first = ranked[min(len(ranked) - 1, int(rng.exponential(1.0)))]
    others = [o for o in ranked if o.id != first.id]
    style = rng.random()
    twins = [o for o in others if (o.name, o.color) == (first.name, first.color)]
    if twins and style < 0.6:
        both = Mention((first.id, twins[0].id), first.name, first.color)
        return _together(facts, [both], rng)
    if style < 0.42:
        return _related(facts, first, rng)
    if style < 0.62 and others:
        mates = [o for o in others if facts.place.get(o.id) == facts.place.get(first.id)]
        listed = [first, *(mates or others)[: 2 if rng.random() < 0.25 else 1]]
        return _together(facts, [facts.mention(o.id, rng) for o in listed], rng)
    if style < 0.74 and others:
        return _two_places(facts, (first, others[0]), rng)
    return _alone(facts, first, scene.kind, rng)


def _related(facts: Facts, first: SceneObject, rng: Rng) -> Draft:
    """`a red car in front of a blue house (on the road)`."""
    draft = Draft()
    noun = draft.noun(facts.mention(first.id, rng), "ROOT")
    link, where = facts.link(first.id, rng), facts.locate(first.id)
    said = where is not None and (link is None or rng.random() < 0.3)
    if where is not None and said:
        facts.put(draft, where, noun)
    if link is not None:
        last = facts.put(draft, link, noun, facts.mention(link[1], rng))
        shared = facts.shared_place((first.id, link[1]))
        if shared is not None and not said and rng.random() < 0.5:
            facts.put(draft, shared, last)
    return draft


def _together(facts: Facts, mentions: list[Mention], rng: Rng) -> Draft:
    """`a red car and a small dog (on the road)`."""
    draft = Draft()
    first = draft.listing(mentions, "ROOT")
    where = facts.shared_place(tuple(i for mention in mentions for i in mention.ids))
    if where is not None and rng.random() < 0.8:
        facts.put(draft, where, first)
    return draft


def _two_places(facts: Facts, pair: tuple[SceneObject, SceneObject], rng: Rng) -> Draft:
    """`a red bird in the sky and a brown cow on the grass`."""
    draft = Draft()
    noun = draft.noun(facts.mention(pair[0].id, rng), "ROOT")
    for number, thing in enumerate(pair):
        if number:
            draft.word("and", "CCONJ", "cc", noun)
            noun = draft.noun(facts.mention(thing.id, rng), "conj", noun)
        where = facts.locate(thing.id)
        if where is not None:
            facts.put(draft, where, noun)
    return draft


def _alone(facts: Facts, first: SceneObject, kind: str, rng: Rng) -> Draft:
    """`there is a red ball on the sand`, `a cat sitting on the floor next to a lamp`."""
    draft, style = Draft(), rng.random()
    where, link = facts.locate(first.id), facts.link(first.id, rng)
    if style < 0.15:
        root = draft.kind(kind, "ROOT")
        with_ = draft.word("with", "ADP", "prep", root)
        draft.noun(facts.mention(first.id, rng), "pobj", with_)
        return draft
    if style < 0.45:
        draft.word("there", "PRON", "expl", 1)
        verb = draft.word("is", "VERB", "ROOT")
        head = draft.noun(facts.mention(first.id, rng), "attr", verb)
    else:
        head = draft.noun(facts.mention(first.id, rng), "ROOT")
        if where is not None or link is not None:
            verbs = verbs_of(first.name)
            head = draft.word(verbs[one_of(rng, len(verbs))].participle, "VERB", "acl", head)
    if where is not None and (link is None or rng.random() < 0.7):
        facts.put(draft, where, head)
        link = link if rng.random() < 0.4 else None
    if link is not None:
        facts.put(draft, link, head, facts.mention(link[1], rng))
    return draft
