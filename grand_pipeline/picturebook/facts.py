"""What holds in a scene, in a form that sentences are made from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

import numpy as np

from grand_pipeline.picturebook.grammar import Draft, Mention
from grand_pipeline.picturebook.lexicon import INVERSE_PHRASES, RELATION_PHRASES, Chain
from grand_pipeline.picturebook.relations import scene_relations
from grand_pipeline.picturebook.scene import Scene

Rng = np.random.Generator
Link = tuple[Chain, int]  # a relation phrase and the object at its other end

_BIG, _SMALL = 0.36, 0.22  # longer side as a fraction of the picture
_COLOR_SAID, _SIZE_SAID = 0.88, 0.35


def one_of(rng: Rng, count: int) -> int:
    """A random index."""
    return int(rng.integers(count))


class Facts:
    """What holds in a scene by object: visible pixels, pair relations both ways, places."""

    def __init__(self, scene: Scene) -> None:
        self.objects, self.things = scene.objects, scene.things
        self.area = np.bincount(scene.ids.ravel(), minlength=len(scene.objects))
        self.width = scene.image.shape[1]
        self.near: dict[int, list[tuple[str, bool, int]]] = defaultdict(list)
        self.place: dict[int, tuple[str, int]] = {}
        for triple in scene_relations(scene):
            if scene.objects[triple.object].kind == "stuff":
                self.place[triple.subject] = (triple.predicate, triple.object)
            else:
                self.near[triple.subject].append((triple.predicate, True, triple.object))
                self.near[triple.object].append((triple.predicate, False, triple.subject))

    def mention(self, number: int, rng: Rng, *, plain: bool = False) -> Mention:
        """A thing as a caption names it, usually with its colour, sometimes with its size."""
        thing = self.objects[number]
        color = thing.color if plain or rng.random() < _COLOR_SAID else None
        if plain or rng.random() >= _SIZE_SAID:
            return Mention((number,), thing.name, color)
        side = max(thing.box[2] - thing.box[0], thing.box[3] - thing.box[1]) / self.width
        size = "big" if side > _BIG else "small" if side < _SMALL else None
        return Mention((number,), thing.name, color, size)

    def link(self, number: int, rng: Rng, among: Collection[int] | None = None) -> Link | None:
        """A relation of a thing to another one (`among` these), in words."""
        near = [fact for fact in self.near[number] if among is None or fact[2] in among]
        if not near:
            return None
        predicate, forward, other = near[one_of(rng, len(near))]
        phrases = (RELATION_PHRASES if forward else INVERSE_PHRASES)[predicate]
        return phrases[one_of(rng, len(phrases))], other

    def locate(self, number: int) -> Link | None:
        """Where a thing stands, lies or flies, in words."""
        if number not in self.place:
            return None
        predicate, stuff = self.place[number]
        return RELATION_PHRASES[predicate][0], stuff

    def shared_place(self, numbers: tuple[int, ...]) -> Link | None:
        """The place that all these things share, in words."""
        places = {self.place.get(number) for number in numbers}
        return self.locate(numbers[0]) if len(places) == 1 else None

    def put(self, draft: Draft, link: Link, head: int, mention: Mention | None = None) -> int:
        """Append a relation phrase and its noun phrase; returns the position of its noun."""
        chain, other = link
        last = draft.chain(chain, head)
        if mention is not None:
            return draft.noun(mention, "pobj", last)
        return draft.the(self.objects[other].name, "pobj", last, (other,))
