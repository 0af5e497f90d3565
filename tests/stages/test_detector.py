import numpy as np
import pytest
import torch

from stages import detector
from tests.tiny.checkpoints import Builder, checkpoint, owl_vit, owlv2
from tests.tiny.records import ODD_SIZES, record

QUERIES = ["a cat", "the red car", "sky"]


@pytest.mark.parametrize("build", [owl_vit, owlv2])
def test_scores_and_boxes_are_those_of_the_whole_model(build: Builder) -> None:
    model = detector.load(checkpoint(build), "cpu")
    image = record().image
    inputs = model.processor(text=[QUERIES], images=image, return_tensors="pt")
    with torch.inference_mode():
        out = model.model(**inputs)
    whole = model.processor.post_process_grounded_object_detection(
        out, threshold=-1.0, target_sizes=[(40, 60)]
    )[0]
    (found,) = model.score([image], [(40, 60)], [QUERIES])
    assert np.allclose(found.scores.max(1), whole["scores"].numpy(), atol=1e-5)
    assert (found.scores.argmax(1) == whole["labels"].numpy()).all()
    boxes = whole["boxes"].numpy().clip(0, [60, 40, 60, 40])
    assert np.allclose(found.boxes, boxes, atol=1e-3)


@pytest.mark.parametrize("build", [owl_vit, owlv2])
def test_batch_with_queries_of_its_own_per_image_equals_single(build: Builder) -> None:
    model = detector.load(checkpoint(build), "cpu")
    # OWLv2 pads to a square, which takes long for the longest strip.
    sizes = ((40, 60), *(size for size in ODD_SIZES if max(size) < 1000 or build is owl_vit))
    images = [record(size, seed=i).image for i, size in enumerate(sizes)]
    queries = [QUERIES[: i % 4] for i in range(len(sizes))]
    together = model.score(images, sizes, queries)
    for image, size, asked, found in zip(images, sizes, queries, together, strict=True):
        (alone,) = model.score([image], [size], [asked])
        assert found.scores.shape == (len(found.boxes), len(asked))
        assert np.allclose(found.scores, alone.scores, atol=1e-5)
        assert np.allclose(found.boxes, alone.boxes, atol=1e-2)
        assert (found.boxes >= 0).all() and (found.boxes[:, [0, 2]] <= size[1]).all()
        assert (found.boxes[:, [1, 3]] <= size[0]).all()


def test_voting_moves_a_box_to_the_middle_of_those_that_agree() -> None:
    voters = np.array([[0, 0, 10, 10], [2, 0, 12, 10], [50, 50, 60, 60]], np.float32)
    even = np.ones((1, 3), np.float32)
    (moved,) = detector.vote(voters[:1], voters, even, 0.3)
    assert moved == pytest.approx([1, 0, 11, 10], abs=0.3)
    silent = np.array([[0.9, 0.0, 0.9]], np.float32)
    assert np.allclose(detector.vote(voters[:1], voters, silent, 0.3), voters[:1])
    assert np.allclose(detector.vote(voters[:1], voters, even * 0, 0.3), voters[:1])
    assert detector.vote(voters[:0], voters, even[:0], 0.3).shape == (0, 4)


def test_queries_are_encoded_once() -> None:
    model = detector.load(checkpoint(owl_vit), "cpu", texts_per_call=2)
    model.remember(QUERIES)
    known = dict(model._queries)
    model.score([record().image], [(40, 60)], [QUERIES])
    assert all(model._queries[query] is known[query] for query in QUERIES)
