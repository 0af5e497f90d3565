"""Detectors: open-vocabulary ones (`open_detection`) and those of fixed classes
(`closed_detection`)."""

from __future__ import annotations

from grand_pipeline.zoo.model import Model

_OPEN = "open-vocabulary detection"
_CLOSED = "closed-set detection"
_APACHE = "Apache-2.0"
_VERIFIED = "tiny end to end; published size on the meta device"

_OWL = "a label is its own query: any number of labels, whose scores do not touch each other"
_GDINO = (
    "labels share a prompt of 256 tokens: long lists are put in several, and a label's score "
    "depends on its neighbours; eager attention only"
)
_TIMM = "the hub checkpoint names a timm backbone: needs timm, and with it torchvision"
_SQUASHED = "images are squashed to 640 x 640, so all of a batch run together"

OPEN_VOCABULARY: tuple[Model, ...] = (
    Model(
        _OPEN,
        "OWL-ViT B/32",
        "google/owlvit-base-patch32",
        _APACHE,
        153_231_879,
        _VERIFIED,
        _OWL,
        "OwlViTForObjectDetection",
    ),
    Model(
        _OPEN,
        "OWLv2 B/16 ensemble",
        "google/owlv2-base-patch16-ensemble",
        _APACHE,
        154_966_792,
        _VERIFIED,
        _OWL,
        "Owlv2ForObjectDetection",
    ),
    Model(
        _OPEN,
        "OWLv2 L/14 ensemble",
        "google/owlv2-large-patch14-ensemble",
        _APACHE,
        437_610_760,
        _VERIFIED,
        _OWL,
        "Owlv2ForObjectDetection",
    ),
    Model(
        _OPEN,
        "Grounding DINO, Swin-T",
        "IDEA-Research/grounding-dino-tiny",
        _APACHE,
        172_250_626,
        _VERIFIED,
        _GDINO,
        "GroundingDinoForObjectDetection",
    ),
    Model(
        _OPEN,
        "Grounding DINO, Swin-B",
        "IDEA-Research/grounding-dino-base",
        _APACHE,
        232_315_264,
        _VERIFIED,
        _GDINO,
        "GroundingDinoForObjectDetection",
    ),
    Model(
        _OPEN,
        "MM-Grounding-DINO, Swin-T",
        "openmmlab-community/mm_grounding_dino_tiny_o365v1_goldg_v3det",
        _APACHE,
        172_250_628,
        _VERIFIED,
        _GDINO,
        "MMGroundingDinoForObjectDetection",
    ),
    Model(
        _OPEN,
        "MM-Grounding-DINO, Swin-B",
        "openmmlab-community/mm_grounding_dino_base_all",
        _APACHE,
        232_315_266,
        _VERIFIED,
        _GDINO,
        "MMGroundingDinoForObjectDetection",
    ),
    Model(
        _OPEN,
        "MM-Grounding-DINO, Swin-L",
        "openmmlab-community/mm_grounding_dino_large_all",
        _APACHE,
        342_392_638,
        _VERIFIED,
        _GDINO,
        "MMGroundingDinoForObjectDetection",
    ),
)
"""What `open_detection` loads, small ones first."""

CLOSED_SET: tuple[Model, ...] = (
    Model(
        _CLOSED,
        "DETR, ResNet-50 (COCO)",
        "facebook/detr-resnet-50",
        _APACHE,
        41_524_768,
        _VERIFIED,
        f"{_TIMM}; facebook/detr-resnet-50@no_timm does not; one label per box",
        "DetrForObjectDetection",
    ),
    Model(
        _CLOSED,
        "Deformable DETR, ResNet-50 (COCO)",
        "SenseTime/deformable-detr",
        _APACHE,
        40_069_665,
        _VERIFIED,
        _TIMM,
        "DeformableDetrForObjectDetection",
    ),
    Model(
        _CLOSED,
        "RT-DETRv2, ResNet-18 (COCO)",
        "PekingU/rtdetr_v2_r18vd",
        _APACHE,
        20_174_608,
        _VERIFIED,
        _SQUASHED,
        "RTDetrV2ForObjectDetection",
    ),
    Model(
        _CLOSED,
        "RT-DETRv2, ResNet-50 (COCO)",
        "PekingU/rtdetr_v2_r50vd",
        _APACHE,
        42_891_372,
        _VERIFIED,
        _SQUASHED,
        "RTDetrV2ForObjectDetection",
    ),
    Model(
        _CLOSED,
        "D-FINE S (COCO)",
        "ustc-community/dfine-small-coco",
        _APACHE,
        10_309_605,
        _VERIFIED,
        _SQUASHED,
        "DFineForObjectDetection",
    ),
    Model(
        _CLOSED,
        "D-FINE L (Objects365)",
        "ustc-community/dfine-large-obj365",
        _APACHE,
        31_831_882,
        _VERIFIED,
        f"365 classes; {_SQUASHED}",
        "DFineForObjectDetection",
    ),
    Model(
        _CLOSED,
        "D-FINE X (Objects365)",
        "ustc-community/dfine-xlarge-obj365",
        _APACHE,
        63_209_290,
        _VERIFIED,
        f"365 classes; {_SQUASHED}",
        "DFineForObjectDetection",
    ),
)
"""What `closed_detection` loads. Co-DETR, which GranD used, has no class in transformers."""
