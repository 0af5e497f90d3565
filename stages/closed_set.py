"""Detectors of fixed classes: DETR and its descendants, whatever transformers knows of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from grand_pipeline.types import Size
from stages import hub, pixels
from stages.detector import Scored

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

UNUSED = "N/A"
"""How checkpoints on the ids of the COCO paper call the eleven ids that no object has."""


@dataclass(frozen=True)
class ClosedSet:
    """A loaded detector. Columns of its scores are `labels`, by the number of the class."""

    model: Any
    processor: Any
    device: str
    labels: tuple[str, ...]

    def score(self, images: Sequence[Image], sizes: Sequence[Size]) -> list[Scored]:
        """Boxes of every image with the probability (n, labels) of every class.

        A model that was trained to choose one class per box, or none (DETR), has it chosen: all
        others get 0. A model that judges every class by itself (Deformable DETR, RT-DETR, D-FINE)
        can see several in one box.

        Args:
            images: a batch; what is found in one does not depend on the others.
            sizes: (height, width) in whose pixels the boxes are returned.
        """
        import torch

        found: dict[int, Scored] = {}
        for batch in pixels.by_shape(self.processor, images, self.device, self.model.dtype):
            with torch.inference_mode():
                out = self.model(**batch.inputs)
                chances = self._chances(out.logits.float())
            for row, index in enumerate(batch.indices):
                boxes = pixels.to_pixels(out.pred_boxes[row], sizes[index])
                found[index] = Scored(boxes, np.asarray(chances[row].cpu().numpy()))
        return [found[index] for index in range(len(images))]

    def _chances(self, logits: Tensor) -> Tensor:
        # One class more than there are labels: the last one says that nothing is there.
        if logits.shape[-1] == len(self.labels) + 1:
            chances = logits.softmax(dim=-1)[..., :-1]
            best = chances.argmax(dim=-1, keepdim=True)
            return chances.new_zeros(chances.shape).scatter(-1, best, chances.gather(-1, best))
        return logits.sigmoid()


def load(model: str, device: str, dtype: str) -> ClosedSet:
    """Load a checkpoint. Raises as `hub.pretrained` does."""
    live = hub.pretrained("AutoModelForObjectDetection", model, device, dtype)
    processor = hub.preprocessor("AutoImageProcessor", model)
    names = live.config.id2label
    return ClosedSet(live, processor, device, tuple(str(names[n]) for n in range(len(names))))
