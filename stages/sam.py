"""Segment Anything models: one embedding per image, any number of box or point prompts.

`Sam` is what stages use. What the models of the family do each in its own way is a `Network`:
`sam_pretrained` for SAM and SAM-HQ, `sam2` for SAM 2 and 2.1, `sam_original` for `.pth` files of
the original package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from grand_pipeline import weights
from grand_pipeline.errors import SettingsError
from grand_pipeline.types import BoolArray, FloatArray, Size
from stages import device, hub, sam2, sam_original, sam_pretrained

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

PIXELS_AT_ONCE = 64_000_000
"""Mask pixels brought to full size in one go: bounds memory for large photographs."""


class Network(Protocol):
    """A loaded model of the family. Coordinates are pixels of its square input."""

    @property
    def side(self) -> int:
        """Pixels of the square input."""

    @property
    def padded(self) -> bool:
        """Whether an image keeps its aspect ratio and is padded; else it is squeezed."""

    def encode(self, images: Sequence[Image]) -> list[tuple[tuple[Tensor, ...], Size]]:
        """What is remembered of each image, float32, each tensor with a batch of one, and the
        (height, width) of the part of the square that it fills."""

    def by_boxes(self, features: tuple[Tensor, ...], boxes: FloatArray) -> tuple[Tensor, Tensor]:
        """Logits (n, 1, m, m) and quality estimates (n, 1) for boxes (n, 4)."""

    def by_points(self, features: tuple[Tensor, ...], points: FloatArray) -> tuple[Tensor, Tensor]:
        """Logits (n, k, m, m) and quality estimates (n, k): k answers to points (n, 2)."""


@dataclass(frozen=True)
class Embedded:
    """An encoded image: what prompts are put to.

    `size` is that of the image, `inner` the part of the model's square that it fills, both
    (height, width).
    """

    features: tuple[Tensor, ...]
    size: Size
    inner: Size


@dataclass(frozen=True)
class Sam:
    """A loaded model. Masks are logits on the model's grid until `full` is called."""

    network: Network

    def embed(self, images: Sequence[Image], sizes: Sequence[Size]) -> list[Embedded]:
        """Encode a batch of images of the given (height, width)."""
        import torch

        with torch.inference_mode():
            encoded = self.network.encode(images)
        return [
            Embedded(features, size, inner)
            for (features, inner), size in zip(encoded, sizes, strict=True)
        ]

    def by_boxes(
        self, image: Embedded, boxes: FloatArray, per_call: int
    ) -> tuple[Tensor, FloatArray]:
        """Logits (n, m, m) and the model's quality estimates (n,) for boxes (n, 4) in pixels."""
        import torch

        if not len(boxes):
            return torch.zeros(0, 1, 1), np.zeros(0, np.float32)
        scaled = boxes * np.tile(_scale(image), 2)
        with torch.inference_mode():
            found = device.in_parts(
                scaled, per_call, lambda part: _each(self.network.by_boxes(image.features, part))
            )
            logits, scores = (torch.stack(rows)[:, 0] for rows in zip(*found, strict=True))
        return logits, _chances(scores)

    def by_points(self, image: Embedded, points: FloatArray) -> tuple[Tensor, FloatArray]:
        """Logits (n, k, m, m) and quality estimates (n, k): k answers to points (n, 2)."""
        import torch

        scaled = points * _scale(image)
        with torch.inference_mode():
            found = device.in_parts(
                scaled,
                len(points),
                lambda part: _each(self.network.by_points(image.features, part)),
            )
            logits, scores = (torch.stack(rows) for rows in zip(*found, strict=True))
        return logits, _chances(scores)

    def cut(self, image: Embedded, logits: Tensor) -> Tensor:
        """The part of logits (..., m, m) that shows the image and not its padding."""
        factor = logits.shape[-1] / self.network.side
        height, width = (max(1, round(side * factor)) for side in image.inner)
        return logits[..., :height, :width]

    def full(self, image: Embedded, logits: Tensor) -> list[BoolArray]:
        """Masks of the image's size for logits (n, m, m)."""
        import torch
        from torch.nn.functional import interpolate

        side = self.network.side
        chunk = max(1, PIXELS_AT_ONCE // (image.size[0] * image.size[1]))
        masks: list[BoolArray] = []
        if not len(logits):
            return masks
        with torch.inference_mode():
            for part in torch.split(logits, chunk):
                shown = part[None]
                if self.network.padded:
                    square = interpolate(shown, (side, side), mode="bilinear")
                    shown = square[..., : image.inner[0], : image.inner[1]]
                masks += list(
                    (interpolate(shown, image.size, mode="bilinear") > 0)[0].cpu().numpy()
                )
        return masks


def extras(model: str) -> tuple[str, ...]:
    """Extras of the package that loading `model` needs."""
    return ("segment-anything",) if model.endswith(sam_original.SUFFIX) else ()


def load(model: str, device: str, dtype: hub.Dtype = "float32") -> Sam:
    """Load a checkpoint of the family by what it is.

    Args:
        model: hub id, folder or `embedded:` name of a SAM, SAM-HQ, SAM 2 or SAM 2.1 checkpoint of
            transformers, or a `.pth` file of the original `segment-anything` package.
        device: "cpu", "cuda", ...
        dtype: number format of the image encoder, where nearly all of the work is done.

    Raises SettingsError for another kind of model, else as `hub.pretrained`.
    """
    if model.endswith(sam_original.SUFFIX):
        return Sam(sam_original.load(Path(weights.resolve(model)), device, dtype))
    kind = str(hub.preprocessor("AutoConfig", model).model_type)
    if kind in sam2.KINDS:
        return Sam(sam2.load(model, device, dtype))
    if kind in sam_pretrained.KINDS:
        return Sam(sam_pretrained.load(model, device, dtype))
    raise SettingsError(
        f"model '{model}' is of type {kind}; mask stages take checkpoints of the types "
        f"{', '.join((*sam_pretrained.KINDS, *sam2.KINDS))}, for example facebook/sam-vit-base, "
        f"or a {sam_original.SUFFIX} file of the original package"
    )


def _scale(image: Embedded) -> FloatArray:
    """Factors (x, y) from pixels of the image to pixels of the model's square."""
    return np.array([image.inner[1] / image.size[1], image.inner[0] / image.size[0]], np.float32)


def _each(found: tuple[Tensor, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Logits and scores of each prompt."""
    return list(zip(*found, strict=True))


def _chances(scores: Tensor) -> FloatArray:
    return np.asarray(scores.float().clamp(0, 1).cpu().numpy())
