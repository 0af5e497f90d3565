"""SAM and SAM-HQ as transformers has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from grand_pipeline.types import FloatArray, Size
from stages import hub
from stages.crops import workable
from stages.device import placed

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

KINDS = ("sam", "sam_hq")
"""Model types of the library."""


@dataclass(frozen=True)
class PretrainedSam:
    """A loaded `SamModel` or `SamHQModel`; `dtype` is that of its image encoder."""

    model: Any
    processor: Any
    device: str
    dtype: str = "float32"

    @property
    def side(self) -> int:
        """Pixels of the square input."""
        return int(self.model.config.vision_config.image_size)

    @property
    def padded(self) -> bool:
        """Images keep their aspect ratio."""
        return True

    def encode(self, images: Sequence[Image]) -> list[tuple[tuple[Tensor, ...], Size]]:
        """One tensor per image; SAM-HQ has a second one, what its first global block saw."""
        import torch

        shaped = [workable(image, aspect=16.0) for image in images]
        inputs = self.processor.image_processor(images=shaped, return_tensors="pt")
        pixels = placed(inputs["pixel_values"], self.device, getattr(torch, self.dtype))
        found = self.model.get_image_embeddings(pixels)
        # Only the first of SAM-HQ's intermediate embeddings is ever used.
        parts = [found] if isinstance(found, torch.Tensor) else [found[0], found[1][0]]
        levels = [part.float() for part in parts]
        return [
            (tuple(level[n : n + 1] for level in levels), (int(height), int(width)))
            for n, (height, width) in enumerate(inputs["reshaped_input_sizes"])
        ]

    def by_boxes(self, features: tuple[Tensor, ...], boxes: FloatArray) -> tuple[Tensor, Tensor]:
        """Logits (n, 1, m, m) and quality estimates (n, 1) for boxes (n, 4)."""
        return self._decode(features, False, input_boxes=boxes[None])

    def by_points(self, features: tuple[Tensor, ...], points: FloatArray) -> tuple[Tensor, Tensor]:
        """Logits (n, 3, m, m) and quality estimates (n, 3) for points (n, 2)."""
        return self._decode(features, True, input_points=points[None, :, None])

    def _decode(
        self, features: tuple[Tensor, ...], several: bool, **prompt: FloatArray
    ) -> tuple[Tensor, Tensor]:
        import torch

        placed: dict[str, Any] = {
            name: torch.tensor(value, dtype=torch.float32).to(self.device)
            for name, value in prompt.items()
        }
        if len(features) > 1:
            placed["intermediate_embeddings"] = list(features[1:])
        out = self.model(image_embeddings=features[0], multimask_output=several, **placed)
        return out.pred_masks[0], out.iou_scores[0]


def load(model: str, device: str, dtype: str) -> PretrainedSam:
    """Load a checkpoint of one of `KINDS`. Raises as `hub.pretrained`."""
    import torch

    live = hub.pretrained("AutoModelForMaskGeneration", model, device)
    # Half precision has too few digits for where a prompt is, and the decoder is small.
    live.vision_encoder.to(getattr(torch, dtype))
    return PretrainedSam(live, hub.preprocessor("AutoProcessor", model), device, dtype)
