"""A run to look at: hostile texts, a failure, a picture that is no picture, a shard in progress."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from grand_pipeline import inert
from grand_pipeline.columns import Annotation, ImageRow, NamedAttribute, StageError
from grand_pipeline.store import Run
from grand_pipeline.types import (
    Caption,
    Context,
    DenseCaption,
    Landmark,
    PhraseLink,
    Relation,
    Span,
    Tag,
    Vote,
)
from tests.attacks import ATTACKS
from tests.training.data.made import write_run

HOSTILE = "<script>alert('x')</script> \"a\" & b \N{GRINNING FACE} \u202e\x00 ${7*7} {{7*7}}"


def change(row: Annotation) -> Annotation:
    """What is special about the rows of pictures 1, 2 and 3."""
    number = int(Path(row.uri).stem)
    if number == 1:
        spans = (Span(0, 8, (0,)), Span(4, 400, (1,)))
        objects = (
            replace(row.objects[0], label=HOSTILE, votes=(Vote("eye", "ball", 0.5),)),
            row.objects[1],
        )
        return replace(row, objects=objects, captions=(Caption("made", HOSTILE, spans),))
    if number == 2:
        return replace(row, errors=(StageError("depth", "too dark"),))
    if number == 3:
        torn = replace(row.objects[0], mask=replace(row.objects[0].mask, counts="0"))  # type: ignore[type-var]
        return replace(row, objects=(torn,))
    return row


def seen_run(root: Path) -> Run:
    """Shards of 3 and 2 annotated pictures, and one of a file that is no picture."""
    run = write_run(root, [3, 2], change=change)
    secret = root / "secret.txt"
    secret.write_text("the secret")
    run.add_shard([ImageRow("e" * 32, str(secret), (), None, None, None, "not an image", None)])
    return run


def besieged(row: Annotation) -> Annotation:
    """A row whose every text is an attack, each of them an object's label too."""
    texts = tuple(inert.encodable(text) for text in ATTACKS.values())
    ball = row.objects[0]
    objects = tuple(
        replace(
            ball,
            id=n,
            label=text,
            votes=(Vote(text, text, 0.5),),
            attributes=(NamedAttribute(text, text),),
        )
        for n, text in enumerate(texts)
    )
    return replace(
        row,
        objects=objects,
        tags=tuple(Tag(text, 0.5, text) for text in texts),
        landmark=Landmark(texts[0], texts[-1], texts[1]),
        phrases=tuple(PhraseLink(text, (n,), text) for n, text in enumerate(texts)),
        relations=tuple(Relation(0, text, n, text) for n, text in enumerate(texts)),
        captions=tuple(Caption(text, text, (Span(0, 3, (0,)),)) for text in texts),
        scene_graph="\n".join(texts),
        dense_caption=DenseCaption(" ".join(texts), (Span(0, 9, (0,)),), texts[2], "stop", False),
        context=Context(" ".join(texts), texts[3], texts[4]),
        errors=tuple(StageError(text, text) for text in texts),
    )


def besieged_run(root: Path) -> Run:
    """A run of one picture whose file and copies are called by attacks, too."""
    run = write_run(root, [1], embed=True, change=besieged)
    [row] = run.images()
    copies = tuple(inert.encodable(text) for text in ATTACKS.values())
    run.relist({row.image_id: (f"/x/{ATTACKS['html']}.png", *copies)})
    return run
