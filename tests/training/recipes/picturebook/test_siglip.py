"""Batches and losses of the SigLIP recipes."""

from __future__ import annotations

import torch

from grand_pipeline.picturebook.vocabulary import HELD_OUT, SCENES
from training.recipes.picturebook.scenes import TRAIN_SEED, draw_scenes
from training.recipes.picturebook.siglip import CROP, Student, _softmax_loss, loss
from training.recipes.picturebook.siglip_batches import Batch, crop_batch, scene_batch
from training.recipes.picturebook.text import NAMES, build_tokenizer


def test_every_crop_has_one_class_and_at_most_one_colour() -> None:
    batch = crop_batch(0, 16)
    classes, colors = batch.truth[:16, batch.groups[0]], batch.truth[:16, batch.groups[1]]
    assert classes.shape[1] == len(NAMES)
    assert bool((classes.sum(1) == 1).all())
    assert bool((colors.sum(1) <= 1).all()) and bool(colors.any())
    assert batch.labels is not None
    assert torch.equal(batch.labels[:16, 0], classes.int().argmax(1))
    assert bool((batch.labels[16:] == -1).all())


def test_held_out_pairs_are_never_prompts() -> None:
    tokenizer = build_tokenizer()
    for step in range(4):
        texts = tokenizer.batch_decode(crop_batch(step, 16).prompts, skip_special_tokens=True)
        said = {tuple(t.split()[-2:]) for t in texts}
        assert not {(color, name) for name, color in HELD_OUT} & said


def test_whole_pictures_are_asked_for_their_place_alone() -> None:
    batch = crop_batch(0, 16)
    kinds, wholes = tuple(SCENES), batch.truth[16:]
    assert len(wholes) == 2
    for group in batch.groups[-3:]:
        assert bool((wholes[:, group].sum(1) == 1).all())
        assert bool(batch.truth[:16, group].isnan().all())
    assert bool(wholes[:, : batch.groups[-3].start].isnan().all())
    fresh = draw_scenes(1, 0, _NoDraw(), 1.0)
    chosen = [kinds[i] for i in wholes[:, batch.groups[-1]].argmax(1).tolist()]
    assert fresh[0].kind == chosen[0]
    assert {s.seed for s in fresh} == {TRAIN_SEED}


def test_scenes_are_asked_for_every_class() -> None:
    batch = scene_batch(0, 6)
    assert not batch.truth.isnan().any()
    named = batch.truth[:, : len(NAMES)].bool()
    assert bool((named.sum(1) >= 2).all())


class _NoDraw:
    """A generator whose draws are all zero: for calls that draw nothing."""

    def integers(self, low: int, high: int, count: int) -> list[int]:
        return [low] * count


def test_softmax_loss_counts_only_rows_with_one_truth() -> None:
    logits = torch.tensor([[9.0, 0.0], [0.0, 9.0]])
    truth = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    assert float(_softmax_loss(logits, truth)) < 1e-3
    assert float(_softmax_loss(logits, torch.zeros(2, 2))) == 0.0


def test_loss_falls_when_the_logits_follow_the_truth() -> None:
    torch.manual_seed(0)
    student, batch = Student(CROP), crop_batch(0, 8)
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-3)
    first = _descend(student, batch, optimizer)
    for _ in range(6):
        last = _descend(student, batch, optimizer)
    assert last < 0.95 * first


def _descend(student: Student, batch: Batch, optimizer: torch.optim.Optimizer) -> float:
    total = loss(student, batch)["loss"]
    optimizer.zero_grad()
    total.backward()
    optimizer.step()
    return float(total.detach())
