"""Relative inverse depth by a DPT or Depth Anything model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from grand_pipeline.columns import DEPTH_MAP
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import DepthMap, FloatArray
from stages import hub
from stages.crops import workable

if TYPE_CHECKING:
    from PIL.Image import Image

_HALF_MAX = 65504.0  # the largest float16


@dataclass(frozen=True)
class DepthModel:
    """A loaded depth model; `metric`: it predicts distances, so larger means farther."""

    model: Any
    processor: Any
    device: str
    metric: bool

    def predict(self, images: Sequence[Image]) -> list[FloatArray]:
        """Inverse depth (h, w) of every image on the model's grid."""
        import torch

        inputs = [
            self.processor(images=workable(image), return_tensors="pt")["pixel_values"]
            for image in images
        ]
        found: list[FloatArray] = []
        # Processors that keep the aspect ratio give tensors that can not always be stacked.
        for group in _runs([tuple(pixels.shape) for pixels in inputs]):
            stack = torch.cat([inputs[i] for i in group]).to(self.device)
            with torch.inference_mode():
                depth = self.model(pixel_values=stack).predicted_depth
            found += list(depth.float().cpu().numpy())
        return [1.0 / np.clip(depth, 1e-3, None) if self.metric else depth for depth in found]


@dataclass(frozen=True, kw_only=True)
class Depth(Stage[DepthModel]):
    """The depth map of an image, kept on the model's own grid."""

    level: ClassVar[int] = 1

    model: str = "depth-anything/Depth-Anything-V2-Small-hf"
    """Hub id, folder or `embedded:` name of a depth estimation checkpoint."""

    @property
    def reads(self) -> Reads:
        """Only the image."""
        return ()

    @property
    def writes(self) -> Writes:
        """The depth map."""
        return (DEPTH_MAP,)

    def load(self, device: str) -> DepthModel:
        """The model with its image processor."""
        model = hub.pretrained("AutoModelForDepthEstimation", self.model, device)
        processor = hub.preprocessor("AutoImageProcessor", self.model)
        kind = getattr(model.config, "depth_estimation_type", "relative")
        return DepthModel(model, processor, device, metric=kind == "metric")

    def annotate(self, model: DepthModel, records: Sequence[Record]) -> list[Row]:
        """One map per image."""
        maps = model.predict([record.image for record in records])
        return [{DEPTH_MAP: DepthMap.of(_storable(depth))} for depth in maps]


def _storable(depth: FloatArray) -> FloatArray:
    """The map inside the range of float16: relative depth has no unit, so a factor is free."""
    most = float(np.abs(depth).max())
    return depth * (_HALF_MAX / most) if most > _HALF_MAX else depth


def _runs(shapes: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """Indices of neighbours with equal shapes, in order."""
    runs: list[list[int]] = []
    for index, shape in enumerate(shapes):
        if runs and shapes[runs[-1][0]] == shape:
            runs[-1].append(index)
        else:
            runs.append([index])
    return runs
