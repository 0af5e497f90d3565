"""Segmenters (`segments` and `masks`): automatic masks and masks of boxes by the same model."""

from __future__ import annotations

from dataclasses import replace

from grand_pipeline.zoo.model import Model

_AUTOMATIC = "automatic masks"
_PROMPTED = "masks of boxes"
_APACHE = "Apache-2.0"
_VERIFIED = "tiny end to end; published size on the meta device"
_PADDED = "images keep their aspect ratio"

_IMAGE_PART = (
    "images are squeezed to a square; prepared here, because the library's image processor needs "
    "torchvision; the memory of the published checkpoint, for videos, is left out and not counted"
)
_FILE = (
    "extra `segment-anything`, needs torchvision; give the path of the file; the architecture is "
    "told by the weights"
)

_SAM = Model(_PROMPTED, "", "", _APACHE, None, _VERIFIED, _PADDED, "SamModel")
_SAM_HQ = replace(
    _SAM,
    architecture="SamHQModel",
    note=f"finer borders than SAM; the sum of both outputs, as GranD takes it; {_PADDED}",
)
_SAM2 = replace(_SAM, architecture="Sam2Model", note=_IMAGE_PART)
_ORIGINAL = replace(
    _SAM,
    verified="tiny end to end with a hand-written model of the same calls",
    note=_FILE,
    architecture="segment_anything.modeling.Sam",
)

BOX_PROMPTS: tuple[Model, ...] = (
    replace(_SAM, name="SAM ViT-B", hub_id="facebook/sam-vit-base", parameters=93_735_728),
    replace(_SAM, name="SAM ViT-L", hub_id="facebook/sam-vit-large", parameters=312_343_088),
    replace(_SAM, name="SAM ViT-H", hub_id="facebook/sam-vit-huge", parameters=641_090_864),
    replace(
        _SAM_HQ,
        name="SAM-HQ ViT-B",
        hub_id="syscv-community/sam-hq-vit-base",
        parameters=94_806_832,
    ),
    replace(
        _SAM_HQ,
        name="SAM-HQ ViT-L",
        hub_id="syscv-community/sam-hq-vit-large",
        parameters=313_676_336,
    ),
    replace(
        _SAM_HQ,
        name="SAM-HQ ViT-H",
        hub_id="syscv-community/sam-hq-vit-huge",
        parameters=642_686_256,
    ),
    replace(
        _SAM2,
        name="SAM 2.1 tiny",
        hub_id="facebook/sam2.1-hiera-tiny",
        parameters=31_440_721,
        stored=156_000_000,
    ),
    replace(
        _SAM2,
        name="SAM 2.1 small",
        hub_id="facebook/sam2.1-hiera-small",
        parameters=38_538_577,
        stored=184_000_000,
    ),
    replace(
        _SAM2,
        name="SAM 2.1 base plus",
        hub_id="facebook/sam2.1-hiera-base-plus",
        parameters=73_328_401,
    ),
    replace(
        _SAM2, name="SAM 2.1 large", hub_id="facebook/sam2.1-hiera-large", parameters=216_924_865
    ),
    replace(_ORIGINAL, name="SAM ViT-B, original file sam_vit_b_01ec64.pth"),
    replace(_ORIGINAL, name="SAM ViT-L, original file sam_vit_l_0b3195.pth"),
    replace(_ORIGINAL, name="SAM ViT-H, original file sam_vit_h_4b8939.pth"),
)
"""What `masks` loads."""

AUTOMATIC: tuple[Model, ...] = tuple(replace(model, role=_AUTOMATIC) for model in BOX_PROMPTS)
"""What `segments` loads: the same models, asked at a grid of points."""
