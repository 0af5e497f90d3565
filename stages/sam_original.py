"""SAM as the original `segment-anything` package has it, with its `.pth` checkpoints.

The package needs torchvision, so it is an extra. Only its documented model is used: the registry of
architectures, `preprocess`, and the three modules of a model.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grand_pipeline.errors import MissingDependencyError, SettingsError
from grand_pipeline.types import FloatArray, Size
from stages.crops import workable
from stages.device import placed

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

SUFFIX = ".pth"
PACKAGE = "segment_anything"
WIDTHS = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}
"""Width of the image encoder -> name of the architecture in the package's registry."""


@dataclass(frozen=True)
class OriginalSam:
    """A model of the package; `dtype` is that of its image encoder."""

    model: Any
    device: str
    dtype: str = "float32"

    @property
    def side(self) -> int:
        """Pixels of the square input."""
        return int(self.model.image_encoder.img_size)

    @property
    def padded(self) -> bool:
        """Images keep their aspect ratio."""
        return True

    def encode(self, images: Sequence[Image]) -> list[tuple[tuple[Tensor, ...], Size]]:
        """One tensor per image."""
        import torch

        shaped = [self._scaled(workable(image, aspect=16.0)) for image in images]
        tensors = [torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in shaped]
        pixels = torch.stack([self.model.preprocess(placed(x, self.device)) for x in tensors])
        found = self.model.image_encoder(pixels.to(getattr(torch, self.dtype))).float()
        return [
            ((found[n : n + 1],), (image.height, image.width)) for n, image in enumerate(shaped)
        ]

    def by_boxes(self, features: tuple[Tensor, ...], boxes: FloatArray) -> tuple[Tensor, Tensor]:
        """Logits (n, 1, m, m) and quality estimates (n, 1) for boxes (n, 4)."""
        return self._decode(features, False, boxes=self._tensor(boxes))

    def by_points(self, features: tuple[Tensor, ...], points: FloatArray) -> tuple[Tensor, Tensor]:
        """Logits (n, 3, m, m) and quality estimates (n, 3) for points (n, 2)."""
        import torch

        labels = torch.ones(len(points), 1, dtype=torch.int, device=self.device)
        return self._decode(features, True, points=(self._tensor(points[:, None]), labels))

    def _scaled(self, image: Image) -> Image:
        from PIL.Image import Resampling

        factor = self.side / max(image.size)
        width, height = (int(side * factor + 0.5) for side in image.size)
        return image.resize((width, height), Resampling.BILINEAR)

    def _decode(
        self, features: tuple[Tensor, ...], several: bool, **prompt: Any
    ) -> tuple[Tensor, Tensor]:
        encoder = self.model.prompt_encoder
        sparse, dense = encoder(**{"points": None, "boxes": None, "masks": None, **prompt})
        masks, scores = self.model.mask_decoder(
            image_embeddings=features[0],
            image_pe=encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=several,
        )
        return masks, scores

    def _tensor(self, values: FloatArray) -> Tensor:
        import torch

        return torch.tensor(values, dtype=torch.float32).to(self.device)


def load(path: Path, device: str, dtype: str, package: Any = None) -> OriginalSam:
    """Load a checkpoint file; its architecture is told by the width of its image encoder.

    Args:
        path: for example sam_vit_h_4b8939.pth.
        device: "cpu", "cuda", ...
        dtype: number format of the image encoder.
        package: the module `segment_anything`; imported if not given.

    Raises MissingDependencyError without the package, SettingsError for a file that is not there
    or holds something else.
    """
    import torch

    state = _state(path)
    name = _architecture(path, state)
    found = package if package is not None else _package()
    model = found.sam_model_registry[name]()
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise _foreign(path, f"does not fit {name}") from error
    model = model.eval().to(device)
    # Half precision has too few digits for where a prompt is, and the decoder is small.
    model.image_encoder.to(getattr(torch, dtype))
    return OriginalSam(model, device, dtype)


def _package() -> Any:
    try:
        return importlib.import_module(PACKAGE)
    except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision for another torch
        raise MissingDependencyError(
            f"{SUFFIX} checkpoints of SAM need the package segment-anything and a torchvision made "
            f"for the installed torch: {error}. Install both with "
            "`pip install 'grand-pipeline[segment-anything]'`, or name a checkpoint of "
            "transformers, for example facebook/sam-vit-huge"
        ) from error


def _state(path: Path) -> dict[str, Tensor]:
    import torch

    if not path.is_file():
        raise SettingsError(
            f"model file '{path}' does not exist; give a file, a folder or a hub id"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a foreign file can make the reader fail in any way
        raise _foreign(path, "can not be read as weights") from error
    if not isinstance(state, dict):
        raise _foreign(path, "holds no table of weights")
    return state


def _architecture(path: Path, state: dict[str, Tensor]) -> str:
    shape = getattr(state.get("image_encoder.pos_embed"), "shape", None)
    width = shape[-1] if shape else None
    if width not in WIDTHS:
        raise _foreign(path, "has no image encoder of a known width")
    return WIDTHS[width]


def _foreign(path: Path, why: str) -> SettingsError:
    return SettingsError(
        f"model file '{path}' {why}; give a checkpoint of the original package (sam_vit_b, "
        "sam_vit_l or sam_vit_h). SAM-HQ and SAM 2 are taken from the hub, for example "
        "syscv-community/sam-hq-vit-base and facebook/sam2.1-hiera-tiny"
    )
