"""English word tables behind `labels`: plain data, no rules."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PEOPLE: frozenset[str] = _words(
    "person human people man woman child boy girl teenager adult senior male female guy lady "
    "gentleman infant toddler youth adolescent baby elder elderly teen kid player pedestrian "
    "individual somebody someone"
)
"""Singular words for a person, one table for every stage."""

IRREGULAR: dict[str, str] = {
    "men": "man", "women": "woman", "children": "child", "people": "person", "persons": "person",
    "feet": "foot", "teeth": "tooth", "geese": "goose", "mice": "mouse", "oxen": "ox",
    "knives": "knife", "lives": "life", "wives": "wife", "leaves": "leaf", "loaves": "loaf",
    "wolves": "wolf", "shelves": "shelf", "calves": "calf", "halves": "half", "scarves": "scarf",
    "thieves": "thief", "hooves": "hoof", "buses": "bus", "gases": "gas", "lenses": "lens",
    "viruses": "virus", "shoes": "shoe", "horseshoes": "horseshoe", "toes": "toe",
    "canoes": "canoe", "skis": "ski", "taxis": "taxi", "movies": "movie", "cookies": "cookie",
    "axes": "axe", "ties": "tie", "pies": "pie", "zombies": "zombie", "caches": "cache",
    "headaches": "headache", "cacti": "cactus", "fungi": "fungus", "policemen": "policeman",
    "firemen": "fireman", "snowmen": "snowman", "ladies": "lady", "babies": "baby",
    "canvases": "canvas", "atlases": "atlas",
}  # fmt: skip

INVARIANT: frozenset[str] = _words(
    "fish sheep deer moose bison aircraft spacecraft hovercraft scissors pants trousers jeans "
    "shorts tights pliers binoculars glasses sunglasses goggles headphones clothes series species "
    "gas lens canvas christmas atlas news sms sugar cattle furniture food"
)
"""Words that only look plural, or have one form for both."""

SYNONYMS: dict[str, str] = {
    "automobile": "car", "sedan": "car", "lorry": "truck", "pickup truck": "truck",
    "coach": "bus", "bike": "bicycle", "cycle": "bicycle", "motorbike": "motorcycle",
    "plane": "airplane", "aeroplane": "airplane", "aircraft": "airplane", "jet": "airplane",
    "locomotive": "train", "sailboat": "boat", "ship": "boat", "hot-air balloon": "balloon",
    "hot air balloon": "balloon", "puppy": "dog", "hound": "dog", "doggy": "dog", "kitten": "cat",
    "kitty": "cat", "pony": "horse", "foal": "horse", "bunny": "rabbit", "hare": "rabbit",
    "moth": "butterfly", "cattle": "cow", "blossom": "flower", "toadstool": "mushroom",
    "cottage": "house", "home": "house", "parasol": "umbrella", "desk": "table",
    "armchair": "chair", "floor lamp": "lamp", "wall clock": "clock", "android": "robot",
    "sofa": "couch", "settee": "couch", "television": "tv", "television set": "tv",
    "cellphone": "cell phone", "cellular telephone": "cell phone", "mobile phone": "cell phone",
    "refrigerator": "fridge", "sea": "water", "ocean": "water", "lawn": "grass",
    "doughnut": "donut", "hair drier": "hair dryer", "street": "road",
    "remote": "remote control", "tvmonitor": "tv", "moniter/tv": "tv", "monitor/tv": "tv",
    "pottedplant": "potted plant", "diningtable": "table", "handbag/satchel": "handbag",
    "cabinet/shelf": "cabinet", "bowl/basin": "bowl", "barrel/bucket": "bucket",
}  # fmt: skip

_KINDS: dict[str, str] = {
    "animal": "dog cat bird fish horse cow sheep goat pig rabbit butterfly bear elephant zebra "
    "giraffe duck chicken lion tiger monkey insect deer mouse turtle",
    "pet": "dog cat rabbit",
    "insect": "butterfly bee ant beetle",
    "vehicle": "car bus truck boat airplane balloon bicycle motorcycle train van tractor "
    "helicopter scooter",
    "plant": "tree flower mushroom bush grass cactus",
    "building": "house tent lighthouse church tower barn skyscraper shop castle",
    "furniture": "chair table couch bed desk shelf cabinet bench stool wardrobe",
    "toy": "ball kite robot teddy doll",
    "household item": "umbrella lamp clock vase mirror pillow",
    "food": "pizza cake apple banana orange sandwich donut carrot bread",
    "clothing": "dress shirt hat jacket coat skirt shoe",
}
HYPERNYMS: tuple[tuple[str, str], ...] = tuple(
    (word, kind) for kind, words in _KINDS.items() for word in words.split()
)
"""(label, kind) pairs."""

COMPOUNDS: frozenset[str] = frozenset(
    {
        "hot dog", "teddy bear", "gummy bear", "sea lion", "guinea pig", "computer mouse",
        "toilet seat", "rocking horse", "prairie dog", "hair dryer", "street sign", "car seat",
    }
)  # fmt: skip
"""Labels that are not a kind of their last word."""

GENERIC: frozenset[str] = _words(
    "it they them this that these those one ones object objects thing things item items something "
    "both others"
)
"""Heads of phrases that can stand for any object."""

COLLECTIVES: frozenset[str] = _words(
    "group pair couple bunch row line set herd flock number lot kind type pile collection "
    "crowd stack"
)
"""Nouns that only count what follows "of"."""

NUMBERS: dict[str, int] = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "both": 2, "pair": 2, "couple": 2,
}  # fmt: skip

MANY: frozenset[str] = _words(
    "several many some few various multiple numerous all group bunch row these those"
)
"""Words that say "more than one" without a number."""

STOPS: frozenset[str] = _words(
    "on in of with at near next behind under beside above below by to from that which who whose "
    "where while over against along inside outside between among across around through into onto "
    "is are was were has have had"
)
"""Words that end the core of a noun phrase."""

PARTICIPLES: frozenset[str] = _words(
    "standing sitting lying parked walking flying wearing holding running playing eating riding "
    "looking floating swimming resting grazing hanging placed located seen surrounded covered"
)
"""Verb forms that end the core of a noun phrase when a preposition or an article follows."""
