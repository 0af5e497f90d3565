"""SAM 2 and 2.1 for still images, as transformers has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from grand_pipeline.types import FloatArray, Size
from stages import hub
from stages.device import placed

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

KINDS = ("sam2", "sam2_video")
"""Model types of the library. Published checkpoints say that they are for video; what belongs to
tracking is left out when they are loaded."""

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Sam2:
    """A loaded `Sam2Model`; `dtype` is that of its image encoder.

    Images are prepared here, because the library's image processor needs torchvision.
    """

    model: Any
    device: str
    dtype: str = "float32"

    @property
    def side(self) -> int:
        """Pixels of the square input."""
        size = self.model.config.prompt_encoder_config.image_size
        return int(size if isinstance(size, int) else size[0])

    @property
    def padded(self) -> bool:
        """Images are squeezed to the square."""
        return False

    def encode(self, images: Sequence[Image]) -> list[tuple[tuple[Tensor, ...], Size]]:
        """The levels of the feature pyramid per image, finest first."""
        levels = [level.float() for level in self.model.get_image_embeddings(self._pixels(images))]
        return [
            (tuple(level[n : n + 1] for level in levels), (self.side, self.side))
            for n in range(len(images))
        ]

    def by_boxes(self, features: tuple[Tensor, ...], boxes: FloatArray) -> tuple[Tensor, Tensor]:
        """Logits (n, 1, m, m) and quality estimates (n, 1) for boxes (n, 4)."""
        return self._decode(features, False, input_boxes=boxes[None])

    def by_points(self, features: tuple[Tensor, ...], points: FloatArray) -> tuple[Tensor, Tensor]:
        """Logits (n, 3, m, m) and quality estimates (n, 3) for points (n, 2)."""
        return self._decode(features, True, input_points=points[None, :, None])

    def _pixels(self, images: Sequence[Image]) -> Tensor:
        """Normalised pixels (n, 3, side, side)."""
        import torch
        from PIL.Image import Resampling

        square = (self.side, self.side)
        arrays = np.stack([np.asarray(i.resize(square, Resampling.BILINEAR)) for i in images])
        pixels = placed(torch.from_numpy(arrays), self.device).permute(0, 3, 1, 2) / 255
        mean, std = (torch.tensor(x, device=self.device)[:, None, None] for x in (MEAN, STD))
        return ((pixels - mean) / std).to(getattr(torch, self.dtype))

    def _decode(
        self, features: tuple[Tensor, ...], several: bool, **prompt: FloatArray
    ) -> tuple[Tensor, Tensor]:
        import torch

        placed = {
            name: torch.tensor(value, dtype=torch.float32).to(self.device)
            for name, value in prompt.items()
        }
        out = self.model(image_embeddings=list(features), multimask_output=several, **placed)
        return out.pred_masks[0], out.iou_scores[0]


def load(model: str, device: str, dtype: str) -> Sam2:
    """Load a checkpoint of one of `KINDS`. Raises as `hub.pretrained`."""
    import torch

    live = hub.pretrained("AutoModelForMaskGeneration", model, device)
    # Half precision has too few digits for where a prompt is, and the decoder is small; two of its
    # layers are part of encoding.
    for part in (live.vision_encoder, live.mask_decoder.conv_s0, live.mask_decoder.conv_s1):
        part.to(getattr(torch, dtype))
    return Sam2(live, device, dtype)
