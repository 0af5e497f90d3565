"""What a trained X-VLM is measured by: retrieval, and referring expressions in two ways."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from grand_pipeline import geometry
from grand_pipeline.types import Box, FloatArray
from training.data import views
from training.data.rows import Row
from training.metrics import grounding, retrieval
from training.models.xvlm import attention
from training.models.xvlm.batches import View, Words, padded, pictures, words
from training.models.xvlm.export import Trained
from training.models.xvlm.network import Texts, whole

CANDIDATES = 256
"""Candidates that retrieval ranks again by their match, as for COCO."""
_AT_ONCE = 64
_SIDE = 224
"""Pixels of the maps that proposals are scored on."""


@dataclass(frozen=True)
class Expression:
    """A text that means one object of a picture; `place` is the picture's, boxes are fractions."""

    place: int
    text: str
    box: Box


@dataclass(frozen=True)
class Seen:
    """Pictures as a model sees them: patches (N, T, D), captions, expressions, and the boxes
    (n, 4) xyxy in fractions that each picture's expressions are sought among."""

    patches: Tensor
    captions: tuple[tuple[str, ...], ...]
    expressions: tuple[Expression, ...]
    proposals: tuple[FloatArray, ...]


def scores(aligned: Trained, located: Trained, rows: Iterable[Row]) -> dict[str, float]:
    """Scores as fractions of 1, on rows whose boxes and captions are taken for the truth.

    `retrieval.tr_r1` ... `ir_r10`: recall of texts for an image and of images for a text, the best
    256 ranked again. `referring.p50`: boxes that `located` gives with an IoU of at least one half.
    `weak.p50`: the same of the proposal that Grad-CAM of `aligned` chooses among the boxes of the
    picture; `weak.chance` is that of a random choice.
    """
    held = list(rows)
    seen = look(aligned, held)
    found = {f"retrieval.{k}": v for k, v in _retrieval(aligned, seen).items()}
    boxes = locate(located, seen if located is aligned else look(located, held))
    target = geometry.as_boxes([e.box for e in seen.expressions])
    # In pixels, for the rule that counts them.
    sized = np.array([held[e.place].size[::-1] * 2 for e in seen.expressions], np.float32)
    sized = sized.reshape(-1, 4)
    found["referring.p50"] = grounding.precision_at(
        boxes * sized, target * sized, 0.5, aligned.pixels
    )
    chosen = weak(aligned, seen)
    found["weak.p50"] = grounding.precision_at(chosen * sized, target * sized, 0.5, aligned.pixels)
    found["weak.chance"] = _chance(seen)
    return found | {"images": float(len(held)), "expressions": float(len(seen.expressions))}


def look(trained: Trained, rows: Sequence[Row]) -> Seen:
    """Patches and texts of pictures."""
    # Opened anew, so that no row keeps its picture.
    parts = [see(trained, [rows[n].open_image() for n in part]) for part in _parts(len(rows))]
    captions = tuple(tuple(c.text for c in views.image_caption(row)) for row in rows)
    expressions = tuple(e for place, row in enumerate(rows) for e in expressions_of(place, row))
    proposals = tuple(_proposals(row) for row in rows)
    return Seen(torch.cat(parts), captions, expressions, proposals)


@torch.no_grad()
def see(trained: Trained, images: Sequence[Image.Image]) -> Tensor:
    """Patches (n, T, D) of RGB images."""
    shown = pictures(images, trained.model.sizes.image_size)
    return trained.model.see(shown.to(trained.device))


def expressions_of(place: int, row: Row) -> list[Expression]:
    """Texts that mean one thing of a picture: phrases with one object, and names that one has.

    Stuff (sky, grass) is left out: it is no thing to be referred to.
    """
    things = {thing.id: thing for thing in row.objects if thing.kind != "stuff"}
    texts = [(r.text, r.object_ids[0]) for r in views.referring(row) if len(r.object_ids) == 1]
    names = [(views.named(thing), number) for number, thing in things.items()]
    texts += [(name, number) for name, number in names if [n for n, _ in names].count(name) == 1]
    boxes = {
        number: _fractions(row.boxes[at : at + 1], row)[0] for at, number in enumerate(row.by_id)
    }
    return [
        Expression(place, text, geometry.as_box(boxes[number]))
        for text, number in dict.fromkeys(texts)
        if number in things
    ]


def locate(trained: Trained, seen: Seen) -> FloatArray:
    """The box (n, 4) xyxy in fractions of every expression, by the box head."""
    found = [np.zeros((0, 4), np.float32)]
    for part in _parts(len(seen.expressions)):
        asked = [seen.expressions[number] for number in part]
        patches = seen.patches[[e.place for e in asked]]
        found.append(boxes_of(trained, patches, [e.text for e in asked]))
    return np.concatenate(found)


@torch.no_grad()
def boxes_of(trained: Trained, patches: Tensor, texts: Sequence[str]) -> FloatArray:
    """The box (n, 4) xyxy in fractions, inside the picture, of each text in its own picture."""
    fused = trained.model.fuse(read(trained, texts), whole(patches))
    given = trained.model.locate(fused).cpu().numpy()
    low, high = given[:, :2] - given[:, 2:] / 2, given[:, :2] + given[:, 2:] / 2
    return geometry.clip(np.concatenate([low, high], 1), (1, 1))


def weak(trained: Trained, seen: Seen) -> FloatArray:
    """The proposal (n, 4) xyxy in fractions that Grad-CAM chooses for every expression."""
    chosen = []
    for part in _parts(len(seen.expressions)):
        asked = [seen.expressions[number] for number in part]
        texts = read(trained, [e.text for e in asked])
        patches = seen.patches[[e.place for e in asked]]
        tokens = attention.heat(trained.model, patches, texts)
        maps = attention.enlarged(attention.of_text(tokens, texts.mask), _SIDE).cpu().numpy()
        for number, one in zip(part, maps, strict=True):
            proposals = seen.proposals[seen.expressions[number].place]
            best = grounding.best_proposal(np.asarray(one, np.float32), proposals * _SIDE)
            chosen.append(proposals[best])
    return geometry.as_boxes(np.array(chosen, np.float32).reshape(-1, 4))


def reader(trained: Trained) -> Words:
    """How a trained model reads texts."""
    return words(trained.tokenizer, View(trained.model.sizes.image_size, trained.tokens))


def read(trained: Trained, texts: Sequence[str]) -> Texts:
    """Encoded texts; one of which nothing is left is read as [CLS] alone."""
    how = reader(trained)
    start = np.array([trained.tokenizer.cls_token_id], np.int64)
    made = [how.read(text) for text in texts]
    tokens, mask = padded([start if row is None else row for row in made])
    return trained.model.read(tokens.to(trained.device), mask.to(trained.device))


@torch.no_grad()
def _retrieval(trained: Trained, seen: Seen) -> dict[str, float]:
    texts = list(dict.fromkeys(text for some in seen.captions for text in some))
    number = {text: at for at, text in enumerate(texts)}
    of_image = [frozenset(number[text] for text in some) for some in seen.captions]
    of_text: list[set[int]] = [set() for _ in texts]
    for image, some in enumerate(of_image):
        for text in some:
            of_text[text].add(image)
    if not texts:
        return {f"{way}_r{k}": 0.0 for way in ("tr", "ir") for k in retrieval.AT}
    concepts = trained.model.project_concepts(whole(seen.patches))
    said = torch.cat(
        [
            trained.model.project_texts(read(trained, [texts[n] for n in part]))
            for part in _parts(len(texts))
        ]
    )
    similarity = (concepts @ said.T).cpu().numpy()
    match = partial(_matches, trained, seen, texts)
    by_image = retrieval.reranked(similarity, CANDIDATES, match)
    by_text = retrieval.reranked(
        similarity.T, CANDIDATES, lambda rows, columns: match(columns, rows)
    )
    found = {f"tr_r{k}": v for k, v in retrieval.recall(by_image, of_image).items()}
    right = [frozenset(some) for some in of_text]
    return found | {f"ir_r{k}": v for k, v in retrieval.recall(by_text, right).items()}


def _matches(
    trained: Trained,
    seen: Seen,
    texts: Sequence[str],
    images: NDArray[np.int64],
    numbers: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Logits of a match of pairs of an image and a text."""
    found = np.zeros(len(images), np.float32)
    order = np.argsort([len(texts[n]) for n in numbers], kind="stable")
    for part in _parts(len(order), 4 * _AT_ONCE):
        which = order[part.start : part.stop]
        said = read(trained, [texts[n] for n in numbers[which]])
        fused = trained.model.fuse(said, whole(seen.patches[images[which]]))
        found[which] = trained.model.match(fused)[:, 1].cpu().numpy()
    return found


def _chance(seen: Seen) -> float:
    """The share of right proposals, averaged over expressions."""
    if not seen.expressions:
        return 0.0
    right = [
        geometry.iou(geometry.as_boxes([e.box]), seen.proposals[e.place])[0] >= 0.5
        for e in seen.expressions
    ]
    return float(np.mean([hits.mean() for hits in right]))


def _parts(count: int, size: int = _AT_ONCE) -> list[range]:
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def _proposals(row: Row) -> FloatArray:
    """Boxes of things: detectors propose those, and expressions mean them."""
    things = [number for number, thing in enumerate(row.objects) if thing.kind != "stuff"]
    return _fractions(row.boxes[things], row)


def _fractions(boxes: FloatArray, row: Row) -> FloatArray:
    height, width = row.size
    return np.asarray(boxes / np.array([width, height, width, height]), np.float32)
