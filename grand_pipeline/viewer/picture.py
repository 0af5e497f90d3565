"""Everything that is shown of one picture, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from grand_pipeline.columns import ANNOTATION_SCHEMA
from grand_pipeline.show.style import color_of
from grand_pipeline.types import Rle
from grand_pipeline.viewer.listing import Listing, images, published
from grand_pipeline.viewer.outline import outline
from grand_pipeline.viewer.pieces import pieces
from grand_pipeline.viewer.search import state_of


def picture(listed: Listing, number: int) -> dict[str, Any]:
    """The picture of a number: its file, its neighbours, and its published row if there is one."""
    image = images(listed, number, number + 1, "duplicates", "format")[0]
    table = published(listed, [image], ANNOTATION_SCHEMA.names)
    row = None if table is None else table.to_pylist()[0]
    errors = (row or {}).get("errors") or []
    return {
        **image,
        "name": PurePath(image["uri"]).name,
        "total": listed.total,
        "previous": _neighbour(listed, number - 1),
        "next": _neighbour(listed, number + 1),
        "state": state_of(image["error"], row is not None, bool(errors)),
        "errors": errors,
        **(_annotation(row) if row is not None else {}),
    }


def _neighbour(listed: Listing, number: int) -> str | None:
    if not 0 <= number < listed.total:
        return None
    return str(images(listed, number, number + 1)[0]["image_id"])


def _annotation(row: Mapping[str, Any]) -> dict[str, Any]:
    dense, context = row["dense_caption"], row["context"]
    return {
        "objects": [_object(thing) for thing in row["objects"] or []],
        "tags": row["tags"] or [],
        "landmark": row["landmark"],
        "dense_caption": _grounded(dense) if dense else None,
        "captions": [_grounded(caption) for caption in row["captions"] or []],
        "phrases": row["phrases"] or [],
        "relations": row["relations"] or [],
        "scene_graph": row["scene_graph"],
        "context": context,
    }


def _grounded(caption: Mapping[str, Any]) -> dict[str, Any]:
    told = {key: value for key, value in caption.items() if key not in ("text", "spans")}
    return {**told, "pieces": pieces(caption["text"], caption["spans"] or [])}


def _object(thing: Mapping[str, Any]) -> dict[str, Any]:
    red, green, blue = color_of(thing["id"])
    told = {key: value for key, value in thing.items() if key != "mask"}
    return {**told, "color": f"#{red:02x}{green:02x}{blue:02x}", **_outlined(thing["mask"])}


def _outlined(mask: Mapping[str, Any] | None) -> dict[str, Any]:
    """The mask's outline, or what is wrong with the mask."""
    if mask is None:
        return {"outline": None}
    height, width = mask["size"]
    try:
        return {"outline": outline(Rle((height, width), mask["counts"]))}
    except ValueError as error:
        return {"outline": None, "mask_fault": str(error)}
