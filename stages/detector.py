"""Open-vocabulary detectors: boxes of images scored against free texts.

The architecture in a checkpoint's config decides what loads it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from grand_pipeline import geometry
from grand_pipeline.errors import SettingsError, suggest
from grand_pipeline.types import FloatArray, Size
from stages import hub

if TYPE_CHECKING:
    from PIL.Image import Image

BACKENDS: Mapping[str, str] = {
    "owlvit": "stages.owl:load",
    "owlv2": "stages.owl:load",
    "grounding-dino": "stages.grounding_dino:load",
    "mm-grounding-dino": "stages.grounding_dino:load",
}
"""`model_type` of a config -> function of (model, device, options) that loads it."""

_ROUNDS = 3


@dataclass(frozen=True)
class Scored:
    """Boxes of an image, (n, 4) inside the image, with their probabilities (n, q) per query.

    `groups` says how many of the queries, in order, were put to the model together; empty where
    no query can change what another one gets.
    """

    boxes: FloatArray
    scores: FloatArray
    groups: tuple[int, ...] = ()


@dataclass(frozen=True)
class Options:
    """How a detector is loaded; each takes from it what concerns it."""

    dtype: str = "float32"
    texts_per_call: int = 64
    """Texts encoded at a time, where texts are encoded by themselves."""
    labels_per_prompt: int = 80
    """Most labels of a prompt, where labels share one."""
    token_score: str = "max"
    """"max" or "mean" of a label's tokens, where tokens are scored."""
    least: float = 0.0
    """Boxes whose best probability is less may be left out."""


class Detector(Protocol):
    """What open-vocabulary stages need of a model."""

    def remember(self, queries: Iterable[str]) -> None:
        """Prepare queries that will be asked of many images."""
        ...

    def score(
        self, images: Sequence[Image], sizes: Sequence[Size], queries: Sequence[Sequence[str]]
    ) -> list[Scored]:
        """Boxes of every image scored against its own queries.

        Args:
            images: a batch; what is found in one does not depend on the others.
            sizes: (height, width) in whose pixels the boxes are returned.
            queries: texts per image; none gives scores of shape (n, 0).
        """
        ...


def load(model: str, device: str, options: Options | None = None) -> Detector:
    """Load an open-vocabulary detector.

    Raises SettingsError for a checkpoint of another kind, else as `hub.pretrained` does.
    """
    kind = str(hub.preprocessor("AutoConfig", model).model_type)
    if kind not in BACKENDS:
        raise SettingsError(
            f"model '{model}' can not be loaded as an open-vocabulary detector: it is of the "
            f"architecture '{kind}'.{suggest(kind, BACKENDS)} Name for example "
            "google/owlv2-base-patch16-ensemble"
        )
    # By name, because every detector's module looks at this one.
    module, _, function = BACKENDS[kind].partition(":")
    found: Detector = getattr(importlib.import_module(module), function)(
        model, device, options or Options()
    )
    return found


def suppress(
    boxes: FloatArray, scores: FloatArray, labels: NDArray[np.int64], iou: float, per_label: bool
) -> NDArray[np.int64]:
    """Places of the boxes (n, 4) left by non-maximum suppression, best first; `per_label` lets
    only boxes of one label suppress each other."""
    if per_label and len(boxes):
        # Boxes of different labels are moved apart, so they do not meet.
        boxes = boxes + labels[:, None] * np.float32(boxes.max() + 1.0)
    return geometry.nms(boxes.astype(np.float32), scores, iou)


def vote(boxes: FloatArray, voters: FloatArray, scores: FloatArray, least: float) -> FloatArray:
    """Boxes (n, 4) moved to where all boxes around them see the same thing.

    Neighbouring tokens of a detector describe one object by slightly different boxes; their mean
    is better than the best of them. Each round weighs a voter by the square of score x IoU.

    Args:
        boxes: (n, 4), for example the ones that suppression kept.
        voters: (m, 4), all boxes of the image.
        scores: (n, m), what voter m gives to the label of box n.
        least: a voter counts from this IoU on.
    """
    for _ in range(_ROUNDS):
        overlap = geometry.iou(boxes, voters)
        weights = np.square(np.where(overlap >= least, overlap * scores, 0.0))
        total = weights.sum(axis=1, keepdims=True)
        means = weights @ voters / np.maximum(total, 1e-12)
        boxes = np.where(total > 1e-12, means, boxes).astype(np.float32)
    return boxes
