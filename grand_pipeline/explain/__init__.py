"""Where every part of an annotation came from, told from the run alone: no model, no torch."""

from __future__ import annotations

from typing import Any

from grand_pipeline.errors import RunError, UserError
from grand_pipeline.explain import image, origin, place, words
from grand_pipeline.explain.aspect import Aspect, Story, number, pixels
from grand_pipeline.explain.evidence import Evidence, find_image, gather
from grand_pipeline.explain.text import tell
from grand_pipeline.store import Run

__all__ = ["Aspect", "Story", "explain", "tell"]


def explain(run: Run, image_name: str, object_id: int | None = None) -> Story:
    """The story of an image, or of one of its objects.

    `image_name` is an id, the beginning of one, a path, or the end of one. Works on a run that is
    not finished. Raises UserError for an unknown or ambiguous image, for an unknown object, and
    for a run that no stage has made.
    """
    if "stages" not in run.info()["preset"]:
        raise RunError(
            f"'{run.root}' was not made by grand build: its annotations were written as a whole, "
            "and nothing tells where they came from"
        )
    row, shard = find_image(run, image_name)
    evidence = gather(run, row, shard)
    if object_id is None:
        return _image_story(evidence)
    return _object_story(evidence, object_id)


def _image_story(evidence: Evidence) -> Story:
    row = evidence.image
    told: list[Aspect | None] = [image.duplicates(evidence)]
    if row.error is not None:
        told.append(Aspect("unreadable", (row.error,), row.error))
    told += [
        image.stages(evidence),
        image.tags(evidence),
        image.landmark(evidence),
        image.objects(evidence),
        image.floating(evidence),
        image.detections(evidence),
        *image.texts(evidence),
    ]
    size = f"{row.width} x {row.height}" if row.width else "size unknown"
    title = f"{row.image_id}  {row.uri}  {size}"
    return Story(title, _facts(evidence), tuple(aspect for aspect in told if aspect is not None))


def _object_story(evidence: Evidence, object_id: int) -> Story:
    known = origin.instances(evidence)
    found = next((one for one in known if one.id == object_id), None)
    if found is None:
        some = f"its objects are {_listed([one.id for one in known])}" if known else (
            "it has no objects (yet): explain the image without an object to see why"
        )  # fmt: skip
        raise UserError(f"image {evidence.image.image_id} has no object {object_id}; {some}")
    label = words.label_of(evidence, found)
    told = [
        origin.status(evidence, found),
        origin.votes(evidence, found),
        origin.near(evidence, found),
        words.label(evidence, found),
        words.attributes(evidence, found),
        words.affordances(evidence, found),
        place.mask(evidence, found),
        *place.depth(evidence, found),
        words.phrases(evidence, found),
        words.captions(evidence, found),
        words.relations(evidence, found),
        words.scene_graph(evidence, found),
        words.dense_caption(evidence, found),
    ]
    title = f"{label} #{object_id}  score {number(found.score)}  box {pixels(found.box)}"
    about: dict[str, Any] = {"id": found.id, "label": label, "kind": found.kind}
    facts = {**_facts(evidence), "object": {**about, "box": found.box, "score": found.score}}
    return Story(title, facts, tuple(aspect for aspect in told if aspect is not None))


def _facts(evidence: Evidence) -> dict[str, Any]:
    row = evidence.image
    return {
        "run": evidence.run,
        "shard": evidence.shard,
        "image_id": row.image_id,
        "uri": row.uri,
        "width": row.width,
        "height": row.height,
    }


def _listed(ids: list[int]) -> str:
    """Ids as `0 to 11`, or one by one where some are missing."""
    if ids == list(range(len(ids))) and len(ids) > 1:
        return f"0 to {ids[-1]}"
    return ", ".join(str(i) for i in ids)
