"""What the picture-book world knows: things, colours, stuff, kinds of scene."""

from __future__ import annotations

from dataclasses import dataclass
from math import dist

Rgb = tuple[int, int, int]

COLORS: dict[str, Rgb] = {
    "red": (222, 45, 45),
    "orange": (246, 138, 26),
    "yellow": (250, 214, 46),
    "green": (52, 158, 70),
    "blue": (45, 98, 216),
    "purple": (134, 66, 184),
    "pink": (247, 142, 190),
    "brown": (132, 82, 44),
    "black": (46, 46, 52),
    "white": (247, 247, 243),
    "gray": (142, 146, 151),
}

UNNAMED: dict[str, Rgb] = {
    "teal": (0, 128, 128),
    "cyan": (70, 205, 215),
    "magenta": (205, 35, 140),
    "maroon": (105, 20, 50),
    "beige": (222, 200, 160),
    "lavender": (195, 175, 240),
    "navy": (22, 36, 110),
    "mint": (150, 225, 180),
    "salmon": (240, 140, 115),
    "tan": (196, 150, 100),
    "lime": (170, 220, 50),
    "plum": (95, 40, 95),
    "rose": (205, 100, 115),
    "khaki": (175, 165, 95),
    "slate": (85, 100, 125),
}
"""Tones that no colour word of the world names: in training they part shape from colour."""

_APART = 95.0  # RGB distance from which a tone does not remind of a held-out colour

STUFF: tuple[str, ...] = ("sky", "grass", "sand", "water", "road", "wall", "floor")


@dataclass(frozen=True)
class Thing:
    """A class of countable objects.

    `slot` says where it is put: "ground" (stands), "water" (floats), "sky" (flies), "wall"
    (hangs); `scale` is its longer side relative to the typical object at the same distance.
    """

    name: str
    plural: str
    hypernym: str
    scenes: tuple[str, ...]
    slot: str
    scale: float
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True)
class SceneKind:
    """A kind of scene with the two-level landmark name of the pipeline."""

    name: str
    category: str
    fine_category: str
    stuff: tuple[str, ...]


SCENES: dict[str, SceneKind] = {
    kind.name: kind
    for kind in (
        SceneKind("meadow", "Outdoor scene", "Rural", ("sky", "grass")),
        SceneKind("beach", "Outdoor scene", "Natural landscape", ("sky", "water", "sand")),
        SceneKind("street", "Transportation scene", "Road", ("sky", "grass", "road")),
        SceneKind("living room", "Indoor scene", "Living space", ("wall", "floor")),
        SceneKind(
            "playground",
            "Sports and recreation scene",
            "Recreational area",
            ("sky", "wall", "grass", "sand"),
        ),
    )
}

_M, _B, _S, _L, _P = SCENES

THINGS: dict[str, Thing] = {
    thing.name: thing
    for thing in (
        Thing("dog", "dogs", "animal", (_M, _B, _S, _L, _P), "ground", 0.95, ("puppy", "hound")),
        Thing("cat", "cats", "animal", (_S, _L, _P), "ground", 0.90, ("kitten", "kitty")),
        Thing("bird", "birds", "animal", (_M, _B, _S), "sky", 0.85),
        Thing("fish", "fish", "animal", (_B,), "water", 0.90),
        Thing("horse", "horses", "animal", (_M,), "ground", 1.15, ("pony",)),
        Thing("cow", "cows", "animal", (_M,), "ground", 1.15, ("cattle",)),
        Thing("rabbit", "rabbits", "animal", (_M, _L), "ground", 0.90, ("bunny", "hare")),
        Thing("butterfly", "butterflies", "animal", (_M, _P), "sky", 0.80, ("moth",)),
        Thing("car", "cars", "vehicle", (_S,), "ground", 1.20, ("automobile",)),
        Thing("bus", "buses", "vehicle", (_S,), "ground", 1.35, ("coach",)),
        Thing("truck", "trucks", "vehicle", (_S,), "ground", 1.30, ("lorry",)),
        Thing("boat", "boats", "vehicle", (_B,), "water", 1.15, ("sailboat", "ship")),
        Thing("airplane", "airplanes", "vehicle", (_B, _S), "sky", 1.10, ("plane", "aircraft")),
        Thing("balloon", "balloons", "vehicle", (_M, _P), "sky", 1.05, ("hot-air balloon",)),
        Thing("bicycle", "bicycles", "vehicle", (_S, _P), "ground", 1.10, ("bike",)),
        Thing("train", "trains", "vehicle", (_M, _L), "ground", 1.25, ("locomotive",)),
        Thing("tree", "trees", "plant", (_M, _S, _P), "ground", 1.35),
        Thing("flower", "flowers", "plant", (_M, _L, _P), "ground", 0.95, ("blossom",)),
        Thing("mushroom", "mushrooms", "plant", (_M,), "ground", 0.85, ("toadstool",)),
        Thing("house", "houses", "building", (_M, _S), "ground", 1.35, ("cottage", "home")),
        Thing("tent", "tents", "building", (_M, _B, _P), "ground", 1.15),
        Thing("lighthouse", "lighthouses", "building", (_B,), "ground", 1.45),
        Thing("ball", "balls", "toy", (_B, _L, _P), "ground", 0.72),
        Thing("umbrella", "umbrellas", "household item", (_B, _P), "ground", 1.15, ("parasol",)),
        Thing("kite", "kites", "toy", (_B, _P), "sky", 0.95),
        Thing("chair", "chairs", "furniture", (_L, _B), "ground", 1.10, ("armchair", "seat")),
        Thing("table", "tables", "furniture", (_L, _P), "ground", 1.20, ("desk",)),
        Thing("lamp", "lamps", "household item", (_L,), "ground", 1.20, ("floor lamp",)),
        Thing("clock", "clocks", "household item", (_L,), "wall", 0.80, ("wall clock",)),
        Thing("robot", "robots", "toy", (_S, _L, _P), "ground", 1.10, ("android",)),
    )
}

HYPERNYMS: tuple[str, ...] = tuple(dict.fromkeys(thing.hypernym for thing in THINGS.values()))

SYNONYMS: dict[str, str] = {
    synonym: thing.name for thing in THINGS.values() for synonym in thing.synonyms
} | {"sea": "water", "lawn": "grass"}

# Colour and class pairs that training never sees: both words are seen often, only not together.
HELD_OUT: frozenset[tuple[str, str]] = frozenset(
    (
        ("dog", "blue"),
        ("cat", "pink"),
        ("bird", "black"),
        ("fish", "purple"),
        ("horse", "white"),
        ("cow", "orange"),
        ("rabbit", "green"),
        ("butterfly", "red"),
        ("car", "yellow"),
        ("bus", "purple"),
        ("truck", "pink"),
        ("boat", "gray"),
        ("airplane", "green"),
        ("balloon", "blue"),
        ("bicycle", "orange"),
        ("train", "brown"),
        ("tree", "red"),
        ("flower", "blue"),
        ("house", "black"),
        ("tent", "gray"),
        ("lighthouse", "green"),
        ("ball", "brown"),
        ("umbrella", "white"),
        ("kite", "orange"),
        ("chair", "yellow"),
        ("robot", "red"),
    )
)


def allowed_colors(name: str, *, held_out: bool) -> tuple[str, ...]:
    """Colours that a thing may have; with `held_out`, the ones training never sees too."""
    return tuple(c for c in COLORS if held_out or (name, c) not in HELD_OUT)


def held_out_colors(name: str) -> tuple[str, ...]:
    """The colours of a class that training never sees."""
    return tuple(c for c in COLORS if (name, c) in HELD_OUT)


def unnamed_colors(name: str) -> tuple[str, ...]:
    """The unnamed tones that a thing may have: those far from the colours it is never seen in."""
    unseen = [COLORS[c] for c in held_out_colors(name)]
    return tuple(t for t, rgb in UNNAMED.items() if all(dist(rgb, c) >= _APART for c in unseen))


def names_in(scene: str) -> tuple[str, ...]:
    """Names of the things that occur in a kind of scene, in vocabulary order."""
    return tuple(thing.name for thing in THINGS.values() if scene in thing.scenes)
