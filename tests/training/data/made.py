"""Runs and rows made by hand: small pictures whose pixels say where they are."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from grand_pipeline import codec, geometry, publication
from grand_pipeline.columns import (
    ANNOTATION_SCHEMA,
    Annotation,
    ImageRow,
    NamedAttribute,
    PublishedObject,
)
from grand_pipeline.store import ANNOTATIONS, Run
from grand_pipeline.types import (
    Box,
    Caption,
    DenseCaption,
    PhraseLink,
    Relation,
    Rle,
    Size,
    Span,
)
from training.data.rows import Row, row_of

SIZE: Size = (48, 64)
TEXT = "A red ball to the left of a blue box"
SPANS = (Span(0, 10, (0,)), Span(26, 36, (1,)))


def box_mask(box: Box, size: Size) -> Rle:
    mask = np.zeros(size, bool)
    x1, y1, x2, y2 = (round(value) for value in box)
    mask[y1:y2, x1:x2] = True
    return geometry.rle_encode(mask)


def thing(
    number: int, box: Box, label: str, attribute: str = "", size: Size = SIZE
) -> PublishedObject:
    return PublishedObject(
        id=number,
        status="object",
        kind="thing",
        box=box,
        score=0.5,
        label=label,
        votes=(),
        attributes=(NamedAttribute("made", attribute),) if attribute else (),
        mask=box_mask(box, size),
        mask_source="given",
        mask_score=None,
        depth=None,
        layer=None,
        group=None,
    )


def annotation(
    image_id: str = "0" * 32,
    uri: str = "memory:image",
    objects: Sequence[PublishedObject] | None = None,
    size: Size | None = SIZE,
) -> Annotation:
    """A red ball at the left, a blue box at the right, and what is said of them."""
    given = (
        (thing(0, (4, 8, 20, 24), "ball", "red"), thing(1, (40, 20, 60, 44), "box", "blue"))
        if objects is None
        else tuple(objects)
    )
    return Annotation(
        image_id=image_id,
        uri=uri,
        width=size[1] if size else None,
        height=size[0] if size else None,
        tags=(),
        landmark=None,
        objects=given,
        phrases=(PhraseLink("A red ball", (0,), "made"), PhraseLink("a blue box", (1,), "made")),
        relations=(Relation(0, "to the left of", 1, "made"),),
        captions=(Caption("made", TEXT, SPANS),),
        scene_graph="red ball left of blue box",
        dense_caption=DenseCaption(f"{TEXT}, right here.", SPANS, "made", "stop", True),
        context=None,
        errors=(),
    )


def picture(seed: int = 0, size: Size = SIZE) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    return Image.fromarray(noise)


def row(made: Annotation | None = None, open_image: Callable[[], Image.Image] = picture) -> Row:
    return row_of(made or annotation(), open_image)


def write_run(
    root: Path,
    shards: Sequence[int],
    *,
    embed: bool = False,
    unreadable: Sequence[int] = (),
    change: Callable[[Annotation], Annotation] = lambda made: made,
) -> Run:
    """A run with these many images per shard, image n with pixels of seed n."""
    run = Run.create(root / "run", {})
    number = 0
    for count in shards:
        numbers = range(number, number + count)
        number += count
        add_shard(run, root, list(numbers), embed, unreadable, change)
    return run


def add_shard(
    run: Run,
    root: Path,
    numbers: Sequence[int],
    embed: bool = False,
    unreadable: Sequence[int] = (),
    change: Callable[[Annotation], Annotation] = lambda made: made,
) -> None:
    """Image rows, and the published rows of the same images."""
    images: list[ImageRow] = []
    rows: list[Annotation] = []
    for number in numbers:
        data = png(picture(number))
        path = root / f"{number:012d}.png"
        if not embed:
            path.write_bytes(data)
        image_id = hashlib.sha256(data).hexdigest()[:32]
        size = None if number in unreadable else SIZE
        images.append(
            ImageRow(image_id, str(path), (), 64, 48, "PNG", None, data if embed else None)
        )
        rows.append(change(annotation(image_id, str(path), size=size)))
    shard = run.add_shard(images)
    table = pa.Table.from_pylist([codec.encode(r) for r in rows], schema=ANNOTATION_SCHEMA)
    footer = {"digest": run.shard_digest(shard), "fingerprint": "made"}
    assert publication.publish(table, run.fragment(ANNOTATIONS, shard), footer)


def png(image: Image.Image) -> bytes:
    held = io.BytesIO()
    image.save(held, "PNG")
    return held.getvalue()
