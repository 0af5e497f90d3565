"""Scores of a model that answers by rule: what is asked, and what comes of right and wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from grand_pipeline.columns import PublishedObject
from grand_pipeline.types import Caption, PhraseLink
from tests.tiny import words, xvlm
from tests.training.data import made
from training.data.rows import Row
from training.models.xvlm.export import Trained
from training.models.xvlm.network import Fused, Xvlm
from training.models.xvlm.scores import expressions_of, scores


class Pointing(Xvlm):
    """Gives every expression the same box."""

    box = (0.1875, 1 / 3, 0.25, 1 / 3)  # the red ball of `made`, cxcywh

    def locate(self, fused: Fused) -> Tensor:
        return torch.tensor([self.box] * len(fused.states))


def _trained(model: Xvlm) -> Trained:
    return Trained(model.eval(), words.bert_tokenizer(), 12)


def _row(*objects: PublishedObject, **changes: object) -> Row:
    plain = made.annotation(objects=objects or None)
    return made.row(replace(plain, **changes))  # type: ignore[arg-type]  # names checked by replace


def test_expressions_mean_one_thing() -> None:
    twins = (
        made.thing(0, (4, 8, 20, 24), "ball", "red"),
        made.thing(1, (40, 20, 60, 44), "ball", "red"),
        made.thing(2, (0, 0, 9, 9), "cat"),
        replace(made.thing(3, (0, 0, 64, 20), "sky"), kind="stuff"),
    )
    phrases = (PhraseLink("two red balls", (0, 1), "m"), PhraseLink("the sky", (3,), "m"))
    found = expressions_of(5, _row(*twins, phrases=(*phrases, PhraseLink("a ball", (1,), "m"))))
    assert [(e.place, e.text) for e in found] == [(5, "a ball"), (5, "cat")]
    assert found[0].box == pytest.approx((40 / 64, 20 / 48, 60 / 64, 44 / 48))


def test_a_box_counts_where_it_is_right() -> None:
    torch.manual_seed(0)
    aligned, located = _trained(xvlm.network()), _trained(Pointing(xvlm.SIZES))
    found = scores(aligned, located, [_row()])
    # Four expressions, two of which mean the red ball.
    assert found["expressions"] == 4
    assert found["referring.p50"] == 0.5
    assert found["weak.chance"] == 0.5


def test_one_proposal_is_always_right() -> None:
    ball = made.thing(0, (4, 8, 20, 24), "ball", "red")
    sky = replace(made.thing(1, (0, 0, 64, 20), "sky"), kind="stuff")  # proposed by nobody
    trained = _trained(xvlm.network())
    found = scores(trained, trained, [_row(sky, ball, phrases=())])
    assert found["weak.p50"] == found["weak.chance"] == 1.0


def test_captions_find_their_pictures_where_all_differ() -> None:
    trained = _trained(xvlm.network())
    texts = ("a red cat", "the blue car", "a green tree", "sky of grass")
    rows = [_row(captions=(Caption("m", text, ()),)) for text in texts]
    rows = [replace(row, open_image=lambda n=n: made.picture(n)) for n, row in enumerate(rows)]
    found = scores(trained, trained, rows)
    # Untrained: at ten of four all are found, and at one not more than are there.
    assert found["retrieval.tr_r10"] == found["retrieval.ir_r10"] == 1.0
    assert found["retrieval.tr_r1"] in (0.0, 0.25, 0.5, 0.75, 1.0)


def test_rows_without_captions_or_things_score_nothing() -> None:
    trained = _trained(xvlm.network())
    bare = made.row(replace(made.annotation(objects=()), captions=(), phrases=()))
    found = scores(trained, trained, [bare])
    assert found["referring.p50"] == found["weak.p50"] == found["retrieval.tr_r1"] == 0.0
    assert np.isfinite(list(found.values())).all()
