"""Long descriptions of a scene, layer by layer, and general knowledge about what is in it."""

from __future__ import annotations

from grand_pipeline.picturebook.facts import Facts, Rng, one_of
from grand_pipeline.picturebook.grammar import Draft, Mention
from grand_pipeline.picturebook.knowledge import PLACE_FACTS, THING_FACTS
from grand_pipeline.picturebook.lexicon import verbs_of
from grand_pipeline.picturebook.scene import Scene, SceneObject

_LAYERS = ("foreground", "middle", "background")


def layer_word(scene: Scene, thing: SceneObject) -> str:
    """Where a thing is in depth, relative to the nearest and the farthest object."""
    depths = [o.depth for o in scene.objects]
    share = (max(depths) - thing.depth) / max(1e-6, max(depths) - min(depths))
    return _LAYERS[0] if share < 0.6 else _LAYERS[1] if share < 0.85 else _LAYERS[2]


def description(scene: Scene, rng: Rng) -> Draft:
    """First what there is and how many, then every thing with its colour, layer and relations."""
    facts, draft = Facts(scene), Draft()
    verb = 2
    draft.word("The", "DET", "det", 1)
    draft.word("picture", "NOUN", "nsubj", verb)
    draft.word("shows", "VERB", "ROOT")
    kind = draft.kind(scene.kind, "dobj", verb)
    with_ = draft.word("with", "ADP", "prep", kind)
    draft.listing(_by_class(scene), "pobj", with_)
    draft.word(".", "PUNCT", "punct", verb)
    for layer in _LAYERS:
        inside = [o for o in scene.things if layer_word(scene, o) == layer]
        if inside:
            _layer_sentence(draft, facts, layer, _alike(inside, facts), rng)
    return draft


def _by_class(scene: Scene) -> list[Mention]:
    """One mention per class, without colours."""
    names = dict.fromkeys(o.name for o in scene.things)
    return [Mention(tuple(o.id for o in scene.things if o.name == name), name) for name in names]


def _alike(things: list[SceneObject], facts: Facts) -> list[Mention]:
    """One mention per class, colour and place."""
    groups: dict[tuple[str, str | None, tuple[str, int] | None], list[int]] = {}
    for thing in things:
        key = (thing.name, thing.color, facts.place.get(thing.id))
        groups.setdefault(key, []).append(thing.id)
    return [Mention(tuple(ids), name, color) for (name, color, _), ids in groups.items()]


def _layer_sentence(
    draft: Draft, facts: Facts, layer: str, mentions: list[Mention], rng: Rng
) -> None:
    """`In the foreground, a red car waits on the road and two dogs stand on the grass.`"""
    first = len(draft.tokens)
    start = draft.word("In", "ADP", "prep", first)
    draft.the(layer, "pobj", start)
    draft.word(",", "PUNCT", "punct", first)
    verb = -1
    for number, mention in enumerate(mentions):
        if number and number == len(mentions) - 1:
            draft.word("and", "CCONJ", "cc", verb)
        elif number:
            draft.word(",", "PUNCT", "punct", verb)
        verb = _clause(draft, facts, mention, verb if number else None, rng)
        if number == 0:
            root = verb
            draft.rehang(start, root)
            draft.rehang(first + 3, root)
    draft.word(".", "PUNCT", "punct", root)


def _clause(draft: Draft, facts: Facts, mention: Mention, before: int | None, rng: Rng) -> int:
    """`a red car waits on the road in front of the blue house`; returns the verb's position."""
    subject = draft.noun(mention, "nsubj", 0)
    verbs = verbs_of(mention.name)
    form = verbs[one_of(rng, len(verbs))]
    word = form.plural if len(mention.ids) > 1 else form.singular
    verb = draft.word(word, "VERB", "ROOT" if before is None else "conj", before)
    draft.rehang(subject, verb)
    where = facts.shared_place(mention.ids)
    if where is not None:
        facts.put(draft, where, verb)
    link = facts.link(mention.ids[0], rng) if len(mention.ids) == 1 else None
    if link is not None and rng.random() < 0.6:
        last = draft.chain(link[0], verb)
        draft.noun(facts.mention(link[1], rng, plain=True), "pobj", last, definite=True)
    return verb


def context(scene: Scene, rng: Rng) -> str:
    """Five to seven sentences of general knowledge about the place and the things in it."""
    wanted = int(rng.integers(5, 8))
    places = PLACE_FACTS[scene.kind]
    sentences = [places[one_of(rng, len(places))]]
    names = list(dict.fromkeys(o.name for o in scene.things))
    picks = {name: rng.permutation(len(THING_FACTS[name])) for name in names}
    for turn in range(2):
        for name in names:
            if len(sentences) < wanted and turn < len(picks[name]):
                sentences.append(THING_FACTS[name][int(picks[name][turn])])
    remaining = [fact for fact in places if fact not in sentences]
    sentences += remaining[: max(0, 5 - len(sentences))]
    return " ".join(sentences)
