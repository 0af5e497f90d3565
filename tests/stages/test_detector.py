import numpy as np
import pytest

from grand_pipeline.errors import SettingsError
from stages import detector
from stages.grounding_dino import GroundingDino
from stages.owl import Owl
from tests.tiny.checkpoints import Builder, checkpoint, clip, owl_vit, owlv2
from tests.tiny.detectors import detr, grounding_dino, mm_grounding_dino

KINDS = [
    (owl_vit, Owl),
    (owlv2, Owl),
    (grounding_dino, GroundingDino),
    (mm_grounding_dino, GroundingDino),
]


@pytest.mark.parametrize(("build", "kind"), KINDS)
def test_the_architecture_decides_what_loads_a_checkpoint(build: Builder, kind: type) -> None:
    assert type(detector.load(checkpoint(build), "cpu")) is kind


@pytest.mark.parametrize(("build", "kind"), [(clip, "clip"), (detr, "detr")])
def test_another_architecture_is_refused_by_name(build: Builder, kind: str) -> None:
    with pytest.raises(SettingsError, match=f"'{kind}'.*grounding-dino, mm-grounding-dino, owlv"):
        detector.load(checkpoint(build), "cpu")


def test_voting_moves_a_box_to_the_middle_of_those_that_agree() -> None:
    voters = np.array([[0, 0, 10, 10], [2, 0, 12, 10], [50, 50, 60, 60]], np.float32)
    even = np.ones((1, 3), np.float32)
    (moved,) = detector.vote(voters[:1], voters, even, 0.3)
    assert moved == pytest.approx([1, 0, 11, 10], abs=0.3)
    silent = np.array([[0.9, 0.0, 0.9]], np.float32)
    assert np.allclose(detector.vote(voters[:1], voters, silent, 0.3), voters[:1])
    assert np.allclose(detector.vote(voters[:1], voters, even * 0, 0.3), voters[:1])
    assert detector.vote(voters[:0], voters, even[:0], 0.3).shape == (0, 4)


def test_suppression_across_labels_or_within_one() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 10, 10], [0, 0, 10, 9]], np.float32)
    scores, labels = np.array([0.9, 0.8, 0.7], np.float32), np.array([0, 1, 0])
    assert detector.suppress(boxes, scores, labels, 0.5, per_label=False).tolist() == [0]
    assert detector.suppress(boxes, scores, labels, 0.5, per_label=True).tolist() == [0, 1]
    assert detector.suppress(boxes, scores, labels, 1.0, per_label=False).tolist() == [0, 1, 2]
    assert detector.suppress(boxes[:0], scores[:0], labels[:0], 0.5, per_label=True).size == 0
