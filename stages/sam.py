"""Segment Anything models: one embedding per image, any number of box or point prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from grand_pipeline.errors import SettingsError
from grand_pipeline.types import BoolArray, FloatArray, Size
from stages import hub
from stages.crops import workable

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

PIXELS_AT_ONCE = 64_000_000
"""Mask pixels brought to full size in one go: bounds memory for large photographs."""


@dataclass(frozen=True)
class Embedded:
    """An encoded image: what prompts are put to.

    `size` is that of the image, `inner` the part of the model's square that it fills, both
    (height, width).
    """

    features: Tensor
    size: Size
    inner: Size


@dataclass(frozen=True)
class Sam:
    """A loaded `SamModel`. Masks are logits on the model's grid until `full` is called."""

    model: Any
    processor: Any
    device: str

    @property
    def side(self) -> int:
        """Pixels of the model's square input."""
        return int(self.model.config.vision_config.image_size)

    def embed(self, images: Sequence[Image], sizes: Sequence[Size]) -> list[Embedded]:
        """Encode a batch of images of the given (height, width)."""
        import torch

        shaped = [workable(image, aspect=16.0) for image in images]
        inputs = self.processor.image_processor(images=shaped, return_tensors="pt")
        with torch.inference_mode():
            features = self.model.get_image_embeddings(inputs["pixel_values"].to(self.device))
        inner = [(int(h), int(w)) for h, w in inputs["reshaped_input_sizes"]]
        return [Embedded(features[i : i + 1], size, inner[i]) for i, size in enumerate(sizes)]

    def by_boxes(
        self, image: Embedded, boxes: FloatArray, per_call: int
    ) -> tuple[Tensor, FloatArray]:
        """Logits (n, m, m) and the model's quality estimates (n,) for boxes (n, 4) in pixels."""
        import torch

        scaled = boxes * np.tile(_scale(image), 2)
        parts = []
        for start in range(0, len(boxes), per_call):
            prompt = torch.tensor(scaled[None, start : start + per_call], dtype=torch.float32)
            parts.append(self._decode(image, multimask_output=False, input_boxes=prompt))
        logits = torch.cat([masks[:, 0] for masks, _ in parts])
        return logits, np.concatenate([scores[:, 0] for _, scores in parts])

    def by_points(self, image: Embedded, points: FloatArray) -> tuple[Tensor, FloatArray]:
        """Logits (n, k, m, m) and quality estimates (n, k): k answers to points (n, 2)."""
        import torch

        scaled = (points * _scale(image))[None, :, None]
        prompt = torch.tensor(scaled, dtype=torch.float32)
        return self._decode(image, multimask_output=True, input_points=prompt)

    def cut(self, image: Embedded, logits: Tensor) -> Tensor:
        """The part of logits (..., m, m) that shows the image and not its padding."""
        factor = logits.shape[-1] / self.side
        height, width = (max(1, round(side * factor)) for side in image.inner)
        return logits[..., :height, :width]

    def full(self, image: Embedded, logits: Tensor) -> list[BoolArray]:
        """Masks of the image's size for logits (n, m, m)."""
        import torch
        from torch.nn.functional import interpolate

        chunk = max(1, PIXELS_AT_ONCE // (image.size[0] * image.size[1]))
        masks: list[BoolArray] = []
        if not len(logits):
            return masks
        with torch.inference_mode():
            for part in torch.split(logits, chunk):
                square = interpolate(part[None], (self.side, self.side), mode="bilinear")
                inner = square[..., : image.inner[0], : image.inner[1]]
                masks += list(
                    (interpolate(inner, image.size, mode="bilinear") > 0)[0].cpu().numpy()
                )
        return masks

    def _decode(self, image: Embedded, **prompt: Any) -> tuple[Tensor, FloatArray]:
        import torch

        placed = {
            name: value.to(self.device) if isinstance(value, torch.Tensor) else value
            for name, value in prompt.items()
        }
        with torch.inference_mode():
            out = self.model(image_embeddings=image.features, **placed)
        scores = out.iou_scores[0].float().clamp(0, 1).cpu().numpy()
        return out.pred_masks[0].float(), scores


def load(model: str, device: str) -> Sam:
    """Load a SAM checkpoint. Raises SettingsError for another kind, else as `hub.pretrained`."""
    live = hub.pretrained("AutoModel", model, device)
    if type(live).__name__ != "SamModel":
        raise SettingsError(
            f"model '{model}' is a {type(live).__name__}; mask stages take SamModel checkpoints, "
            "for example facebook/sam-vit-base"
        )
    return Sam(live, hub.preprocessor("AutoProcessor", model), device)


def _scale(image: Embedded) -> FloatArray:
    """Factors (x, y) from pixels of the image to pixels of the model's square."""
    return np.array([image.inner[1] / image.size[1], image.inner[0] / image.size[0]], np.float32)
