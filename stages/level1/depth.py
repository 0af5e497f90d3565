"""Inverse depth by models of the MiDaS, Depth Anything and ZoeDepth families."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from grand_pipeline.columns import DEPTH_MAP
from grand_pipeline.errors import SettingsError
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import DepthMap, FloatArray
from stages import hub, pixels

if TYPE_CHECKING:
    from PIL.Image import Image

Scale = Literal["relative", "metric"]

NEAREST = 1e-3
"""Metres. Nothing is taken to be nearer, so that one over it is finite."""
_HALF_MAX = 65504.0  # the largest float16


@dataclass(frozen=True)
class DepthModel:
    """A loaded depth model; `metric`: it predicts distances, so larger means farther.

    `alone`: images of a batch would influence each other, so each runs by itself.
    """

    model: Any
    processor: Any
    device: str
    metric: bool
    alone: bool = False

    def predict(self, images: Sequence[Image]) -> list[FloatArray]:
        """Inverse depth (h, w) of every image on the model's grid; metric: one over metres."""
        import torch

        parts = [[image] for image in images] if self.alone else [list(images)]
        found: list[FloatArray] = []
        for part in parts:
            maps: dict[int, FloatArray] = {}
            for batch in pixels.by_shape(self.processor, part, self.device, self.model.dtype):
                with torch.inference_mode():
                    depth = self.model(pixel_values=batch.inputs["pixel_values"]).predicted_depth
                maps |= dict(zip(batch.indices, depth.float().cpu().numpy(), strict=True))
            found += [maps[index] for index in range(len(part))]
        return [1.0 / np.clip(depth, NEAREST, None) if self.metric else depth for depth in found]


@dataclass(frozen=True, kw_only=True)
class Depth(Stage[DepthModel]):
    """The depth map of an image, kept on the model's own grid.

    A relative model's map is stored as predicted: unknown scale and shift, larger = nearer. A
    metric model's distances are stored as one over metres, larger = nearer too, and the map says
    so: `DepthMap.metres` gives them back.
    """

    level: ClassVar[int] = 1

    model: str = "depth-anything/Depth-Anything-V2-Small-hf"
    """Hub id, folder or `embedded:` name of a depth estimation checkpoint: DPT (MiDaS 3, with any
    backbone), Depth Anything, ZoeDepth."""
    scale: Literal["auto", "relative", "metric"] = "auto"
    """What the model predicts: relative inverse depth, or metres. auto: as its configuration says.
    A DPT says nothing and is taken for relative, as MiDaS is; those trained on metres need metric
    here (facebook/dpt-dinov2-*-nyu and -kitti)."""
    squeeze: bool = False
    """Bring images to the processor's full square instead of keeping their aspect ratio, as GranD
    does; images of all shapes then share a batch."""
    dtype: hub.Dtype = "float32"
    """Number format of the model: float32, bfloat16 or float16."""

    @property
    def reads(self) -> Reads:
        """Only the image."""
        return ()

    @property
    def writes(self) -> Writes:
        """The depth map."""
        return (DEPTH_MAP,)

    def load(self, device: str) -> DepthModel:
        """The model with its image processor. Raises SettingsError if `scale` has to be said."""
        model = hub.pretrained("AutoModelForDepthEstimation", self.model, device, self.dtype)
        processor = hub.preprocessor("AutoImageProcessor", self.model)
        zoe = model.config.model_type == "zoedepth"
        # What undoes ZoeDepth's padding needs torchvision.
        changes = {"do_pad": False} if zoe else {}
        changes |= {"keep_aspect_ratio": False} if self.squeeze else {}
        scale = scale_of(model.config) if self.scale == "auto" else self.scale
        if scale is None:
            raise SettingsError(
                f"nothing says whether model '{self.model}' ({model.config.model_type}) predicts "
                "relative inverse depth or metres: set depth.scale to relative or metric"
            )
        # ZoeDepth lets the images of a batch vote on indoors or outdoors.
        return DepthModel(model, partial(processor, **changes), device, scale == "metric", zoe)

    def annotate(self, model: DepthModel, records: Sequence[Record]) -> list[Row]:
        """One map per image. Raises ValueError for one that is not finite."""
        maps = model.predict([record.image for record in records])
        return [{DEPTH_MAP: DepthMap.of(_storable(depth), model.metric)} for depth in maps]


def scale_of(config: Any) -> Scale | None:
    """What a model of this configuration predicts, as far as it says."""
    if config.model_type == "depth_anything":
        return "metric" if config.depth_estimation_type == "metric" else "relative"
    known: dict[str, Scale] = {"dpt": "relative", "zoedepth": "metric"}
    return known.get(config.model_type)


def _storable(depth: FloatArray) -> FloatArray:
    """The map inside the range of float16: relative depth has no unit, so a factor is free."""
    most = float(np.abs(depth).max())
    if not np.isfinite(most):
        raise ValueError("the depth map is not finite; try depth.dtype = bfloat16 or float32")
    return depth * (_HALF_MAX / most) if most > _HALF_MAX else depth
