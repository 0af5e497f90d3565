"""Two-tower models that choose among labels and landmarks (`labels`, `landmark`, `attributes`)."""

from __future__ import annotations

from grand_pipeline.zoo.model import Model

_ROLE = "choice of labels, attributes, landmarks"
_TINY = "tiny end to end; published size on the meta device"
_PACKAGE = "tiny end to end with open_clip 3.3.0; a stand-in for it in the tests"
_OPENAI = "MIT by the authors' code; the model card names none"
_EXTRA = "needs the extra `open-clip`: open_clip_torch, and with it torchvision and timm"

LABELS: tuple[Model, ...] = (
    Model(
        _ROLE,
        "CLIP B/32",
        "openai/clip-vit-base-patch32",
        _OPENAI,
        151_277_313,
        _TINY,
        architecture="CLIPModel",
    ),
    Model(
        _ROLE,
        "EVA-02-CLIP B/16",
        "open_clip:timm/eva02_base_patch16_clip_224.merged2b_s8b_b131k",
        "MIT",
        149_691_137,
        _PACKAGE,
        _EXTRA,
        "CustomTextCLIP",
        stored_bytes=2,
    ),
    Model(
        _ROLE,
        "CLIP L/14, 336 px",
        "openai/clip-vit-large-patch14-336",
        _OPENAI,
        427_944_193,
        _TINY,
        architecture="CLIPModel",
    ),
    Model(
        _ROLE,
        "EVA-02-CLIP L/14, 336 px",
        "open_clip:timm/eva02_large_patch14_clip_336.merged2b_s6b_b61k",
        "MIT",
        428_083_137,
        _PACKAGE,
        _EXTRA,
        "CustomTextCLIP",
        stored_bytes=2,
    ),
    Model(
        _ROLE,
        "SigLIP So400m/14",
        "google/siglip-so400m-patch14-384",
        "Apache-2.0",
        877_960_498,
        _TINY,
        architecture="SiglipModel",
    ),
    Model(
        _ROLE,
        "CLIP bigG/14 (LAION-2B)",
        "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k",
        "MIT",
        2_539_567_105,
        _TINY,
        architecture="CLIPModel",
    ),
    Model(
        _ROLE,
        "EVA-02-CLIP E/14+",
        "open_clip:timm/eva02_enormous_patch14_plus_clip_224.laion2b_s9b_b144k",
        "MIT",
        5_044_889_089,
        _PACKAGE,
        _EXTRA,
        "CustomTextCLIP",
        stored_bytes=2,
    ),
)
"""What `labels`, `landmark` and `attributes` load, small ones first."""
