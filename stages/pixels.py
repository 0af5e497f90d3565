"""Images as tensors, those of one shape together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from grand_pipeline import geometry
from grand_pipeline.types import FloatArray, Size
from stages.crops import workable
from stages.device import placed

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Images that a processor brings to one shape: their places, and the model's inputs."""

    indices: tuple[int, ...]
    inputs: dict[str, Tensor]


def by_shape(processor: Any, images: Sequence[Image], device: str, dtype: Any) -> list[Batch]:
    """The images as inputs (pixels in `dtype`), one batch per shape.

    Models that take photographs of any aspect ratio pad a mixed batch to its largest image. What
    they find then depends on the neighbours: a window of a Swin reaches into the padding, and a
    convolution sees a border that is not there. So each image is prepared by itself, and only
    those of one shape run together.
    """
    import torch

    shapes: dict[tuple[int, ...], list[int]] = {}
    prepared = []
    for index, image in enumerate(images):
        inputs = dict(processor(images=workable(image), return_tensors="pt"))
        inputs["pixel_values"] = inputs["pixel_values"].to(dtype)
        prepared.append(inputs)
        shapes.setdefault(tuple(inputs["pixel_values"].shape[1:]), []).append(index)
    return [
        Batch(
            tuple(indices),
            {
                name: placed(torch.cat([prepared[index][name] for index in indices]), device)
                for name in prepared[indices[0]]
                if name in ("pixel_values", "pixel_mask")
            },
        )
        for indices in shapes.values()
    ]


def to_pixels(relative: Tensor, size: Size) -> FloatArray:
    """Boxes (n, 4) as shares (centre x, centre y, width, height) of an image of (height, width),
    as `xyxy` pixels inside it."""
    x, y, width, height = relative.float().cpu().numpy().T
    boxes = np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], axis=1)
    scale = np.array([size[1], size[0], size[1], size[0]], np.float32)
    return geometry.clip((boxes * scale).astype(np.float32), size)
