"""The captioner's tokenizer, its losses, and the judge of captions."""

from __future__ import annotations

import numpy as np

from grand_pipeline.picturebook.language import caption
from grand_pipeline.picturebook.render import render
from training.recipes.picturebook.caption_scores import check, recall
from training.recipes.picturebook.captioner import (
    Student,
    build_tokenizer,
    loss,
    make_batch,
    processor,
)


def test_captions_survive_the_tokenizer() -> None:
    tokenizer = build_tokenizer()
    for index in range(20):
        text = caption(render(2, index), np.random.default_rng(index)).text
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_captions_start_with_the_decoder_token() -> None:
    batch = make_batch(0, 2)
    start = build_tokenizer().convert_tokens_to_ids("[DEC]")
    assert batch.ids[:, 0].tolist() == [start] * len(batch.ids)
    assert processor().tokenizer.backend_tokenizer.padding is None, "exported with its padding"


def test_check_finds_false_classes_and_false_colours() -> None:
    scene = next(s for s in (render(2, i) for i in range(50)) if s.kind == "living room")
    thing = scene.things[0]
    wrong = "red" if thing.color != "red" else "blue"
    alike = any(o.name == thing.name and o.color == wrong for o in scene.objects)
    assert check(scene, f"a {thing.color} {thing.name} on the floor") == ([True], [True])
    assert check(scene, f"a {wrong} {thing.name}") == ([True], [alike])
    assert check(scene, "two blue boats") == ([False], [False])
    assert check(scene, "nothing known") == ([], [])


def test_recall_asks_for_the_largest_things() -> None:
    scene = render(2, 0)
    ranked = sorted(scene.things, key=lambda o: -int((scene.ids == o.id).sum()))
    text = " and ".join(f"a {o.name}" for o in ranked[1:])
    named = [o.name in {r.name for r in ranked[1:]} for o in ranked[:3]]
    assert recall(scene, text) == named
    assert recall(scene, "two horses in the sky") == [o.name == "horse" for o in ranked[:3]]


def test_a_frozen_tower_gets_no_gradient_and_is_asked_once_per_scene() -> None:
    batch, student = make_batch(0, 2), Student(frozen=True)
    loss(student, batch)["loss"].backward()
    assert all(p.grad is None for p in student.blip.vision_model.parameters())
    assert any(p.grad is not None for p in student.blip.text_decoder.parameters())
    assert student.memo is not None and set(student.memo.features) == set(batch.indices)
