"""The words of the picture-book world, with which texts about it are read."""

from __future__ import annotations

from functools import lru_cache

from grand_pipeline.lexicon import Lexicon, Mention, plural_of

__all__ = ["Lexicon", "Mention", "picturebook_lexicon", "plural_of"]


@lru_cache(maxsize=1)
def picturebook_lexicon() -> Lexicon:
    """The words of the picture-book world."""
    from grand_pipeline.picturebook import vocabulary as world

    # "A street" names the kind of scene, not the region of road in it.
    others = {w: name for w, name in world.SYNONYMS.items() if w not in world.SCENES}
    stuff = {name: [w for w, of in others.items() if of == name] for name in world.STUFF}
    plurals = {thing.name: thing.plural for thing in world.THINGS.values()}
    uncounted = {"furniture": "furniture", "cattle": "cattle", "aircraft": "aircraft"}
    return Lexicon(
        things={thing.name: thing.synonyms for thing in world.THINGS.values()},
        stuff={name: tuple(words) for name, words in stuff.items()},
        plurals=plurals | uncounted,
        hypernyms={thing.name: thing.hypernym for thing in world.THINGS.values()},
        colors=tuple(world.COLORS),
        held_out=world.HELD_OUT,
    )
