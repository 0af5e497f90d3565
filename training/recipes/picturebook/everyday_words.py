"""Words of everyday photographs, by what they can be in a sentence."""

from __future__ import annotations

from grand_pipeline.picturebook.vocabulary import COLORS, STUFF, THINGS


def split(text: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(text.split())


PLURALS = split(
    "people children women men boys girls dogs cats cars trees flowers cups books boats birds "
    "plates buildings bags skiers elephants sheep apples players shoes clouds windows chairs "
    "umbrellas horses kites leaves boxes bottles"
)
SINGULARS = (
    *THINGS,
    *split(
        "man woman boy girl child baby person bench motorcycle van skateboard surfboard laptop "
        "phone cup plate bowl pizza sandwich cake bottle book bag backpack suitcase hat shirt "
        "jacket dress tie couch bed desk shelf window door mirror sink toilet oven fridge clock "
        "sign fence bridge tower church building snowboard racket frisbee elephant zebra giraffe "
        "bear sheep duck monkey teddy guitar camera helmet glove basket vase picture fork knife "
        "spoon banana apple orange carrot box toy doll remote keyboard mouse player rider crowd"
    ),
)
MASSES = (*STUFF, *split("snow ice dirt gravel fog smoke food fruit furniture traffic sunlight"))
PLACES = split(
    "street park kitchen field beach room table bench hill lake river mountain city market "
    "station harbor garden yard forest stage counter platform sidewalk court slope ground "
    "background foreground corner middle distance top side meadow playground"
)
ADJECTIVES = (
    *COLORS,
    *split(
        "big small large tall little old young long short round wooden empty dirty clean bright "
        "dark wet busy crowded beautiful tiny huge open parked striped plastic happy"
    ),
)
COMPOUNDS = split("tennis baseball kitchen street living dining traffic stone brick soccer glass")
COLLECTIVES = split("group pair couple bunch row piece slice herd flock pile stack bowl plate")
PREPOSITIONS = split(
    "on in near under behind beside above below over with at by against inside around "
    "through across from into outside between past for down up along toward during"
)
TRANSITIVE = split(
    "holding riding eating wearing carrying watching pulling throwing hitting pushing reading "
    "using chasing catching drinking feeding flying brushing cutting making"
)
INTRANSITIVE = split(
    "standing sitting walking running lying laying playing flying swimming sleeping floating "
    "hanging growing jumping waiting grazing skiing surfing smiling looking resting driving parked"
)
FINITE = (("sits", "sit"), ("stands", "stand"), ("lies", "lie"), ("walks", "walk"),
          ("looks", "look"), ("waits", "wait"), ("flies", "fly"), ("runs", "run"))  # fmt: skip
NUMBERS = split("two three four five six several many some")
