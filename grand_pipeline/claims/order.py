"""Whether two objects are related as a text says."""

from __future__ import annotations

from grand_pipeline.claims.values import Known, Thing
from grand_pipeline.statements import BESIDE, in_order, near, normal


def stand(first: Thing, predicate: str, second: Thing, known: Known) -> bool | None:
    """Whether two objects are so related; None where nothing says so or the opposite."""
    if normal(first.id, predicate, second.id) in known.relations:
        return True
    if predicate in BESIDE:
        listed = any({first.id, second.id} == {s, t} for s, _, t in known.relations)
        return listed or near(first.box, second.box, known.size)
    if not (first.stuff or second.stuff):
        order = in_order(predicate, (first.box, first.depth), (second.box, second.depth))
        if order is not None:
            return order
    _, plain, _ = normal(first.id, predicate, second.id)
    return _placed(first, second, known) if plain in ("on", "in") else None


def _placed(first: Thing, second: Thing, known: Known) -> bool | None:
    """False where the first is known to be elsewhere than on or in the second."""
    if second.stuff:
        ground = {thing.id for thing in known.things if thing.stuff}
        at = [t for s, p, t in known.relations if s == first.id and p in ("on", "in")]
        return False if any(place in ground for place in at) else None
    if not near(first.box, second.box, (0, 0)):
        return False
    between = [p for s, p, t in known.relations if {s, t} == {first.id, second.id}]
    return False if between else None


def instead(first: Thing, second: Thing, predicate: str, known: Known) -> str:
    """What the graph says of two objects that are not as claimed."""
    names = {thing.id: thing.name for thing in known.things}
    for s, p, t in sorted(known.relations):
        if {s, t} == {first.id, second.id}:
            return f"{names[s]} is {p} {names[t]}"
    for s, p, t in sorted(known.relations):
        if s == first.id and p in ("on", "in") and second.stuff and t in names:
            return f"{names[s]} is {p} {names[t]}"
    if predicate in BESIDE or normal(0, predicate, 1)[1] in ("on", "in"):
        return f"{first.name} and {second.name} are apart"
    return f"it is the other way round for {first.name} and {second.name}"
