from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.training.data.made import TEXT, annotation, row, thing
from training.data import transforms, views


def test_captions() -> None:
    assert [(t.text, t.source) for t in views.image_caption(row())] == [(TEXT, "made")]
    assert views.dense_caption(row())[0].text.startswith(TEXT)
    none = row(replace(annotation(), captions=(), dense_caption=None))
    assert views.image_caption(none) == views.dense_caption(none) == ()
    assert views.grounded_caption(none) == ()
    assert views.word_locations(none) == ()


def test_regions_are_objects_phrases_and_relations() -> None:
    found = [(r.kind, r.text, r.box, r.object_ids) for r in views.region_text(row())]
    ball, box = (4.0, 8.0, 20.0, 24.0), (40.0, 20.0, 60.0, 44.0)
    assert found == [
        ("object", "red ball", ball, (0,)),
        ("object", "blue box", box, (1,)),
        ("phrase", "A red ball", ball, (0,)),
        ("phrase", "a blue box", box, (1,)),
        ("relation", "ball to the left of box", (4.0, 8.0, 60.0, 44.0), (0, 1)),
    ]


def test_names_of_objects() -> None:
    made = [
        thing(0, (0, 0, 9, 9), "ball"),
        thing(1, (0, 0, 9, 9), "ball", "a Ball on the grass"),
        thing(2, (0, 0, 9, 9), "ball", "red"),
    ]
    objects = row(annotation(objects=made)).objects
    assert [views.named(o) for o in objects] == ["ball", "a Ball on the grass", "red ball"]


def test_referring_phrases_have_all_their_boxes() -> None:
    first, second = annotation().phrases
    both = replace(first, text="the things", object_ids=(1, 0))
    made = replace(annotation(), phrases=(first, second, both, first))
    found = views.referring(row(made))
    assert [r.text for r in found] == ["A red ball", "a blue box", "the things"]
    assert found[2].boxes.tolist() == [[40, 20, 60, 44], [4, 8, 20, 24]]
    assert found[2].box == (4.0, 8.0, 60.0, 44.0)


def test_masks_and_boxes_of_objects() -> None:
    boxes = views.detection(row())
    assert [(b.label, b.kind, b.score) for b in boxes] == [
        ("ball", "thing", 0.5),
        ("box", "thing", 0.5),
    ]
    ball, box = views.segmentation(row())
    assert (ball.object_id, ball.label) == (0, "ball")
    assert ball.mask.shape == (48, 64) and ball.mask.dtype == np.bool_
    assert ball.mask[8:24, 4:20].all() and ball.mask.sum() == 256
    assert box.mask.sum() == 20 * 24
    half = transforms.crop(row(), (0.0, 0.0, 30.0, 48.0))
    assert [m.label for m in views.segmentation(half)] == ["ball"]


def test_every_word_has_the_place_of_its_span() -> None:
    located = views.word_locations(row())
    assert len(located) == 2
    words = {TEXT[w.start : w.end]: w.box for w in located[0].words if w.box}
    assert list(words) == ["A", "red", "ball", "a", "blue", "box"]
    assert words["red"] == (4.0, 8.0, 20.0, 24.0) and words["blue"] == (40.0, 20.0, 60.0, 44.0)
    assert [TEXT[w.start : w.end] for w in located[0].words] == TEXT.split()
