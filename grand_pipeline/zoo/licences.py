"""Where the licences of the rows were read; what is not here was not checked, and says so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from grand_pipeline.zoo.model import Model

_CARD, _COPY = "model card", "a copy of the model card"
_SIZE, _AUTHORS = "model card of another size", "authors' repository"

SEEN: dict[str, str] = {
    "en_core_web_sm": _CARD,
    "depth-anything/Depth-Anything-V2-Small-hf": _CARD,
    "facebook/sam-vit-huge": _CARD,
    "facebook/sam-vit-large": _SIZE,
    "facebook/sam-vit-base": _SIZE,
    "facebook/sam2.1-hiera-small": "model card of SAM 2",
    "facebook/sam2.1-hiera-large": "model card of SAM 2",
    "florence-community/Florence-2-base": _AUTHORS,
    "florence-community/Florence-2-large": _AUTHORS,
    "google/owlv2-base-patch16-ensemble": _SIZE,
    "google/owlv2-large-patch14-ensemble": _CARD,
    "google/owlvit-base-patch32": _CARD,
    "google/siglip-base-patch16-224": _CARD,
    "google/siglip-so400m-patch14-384": _SIZE,
    "google/siglip2-base-patch16-224": _SIZE,
    "google/siglip2-so400m-patch14-384": _CARD,
    "IDEA-Research/grounding-dino-base": _COPY,
    "IDEA-Research/grounding-dino-tiny": _CARD,
    "Intel/dpt-beit-large-512": _CARD,
    "llava-hf/llava-1.5-7b-hf": _CARD,
    "llava-hf/llava-1.5-13b-hf": _CARD,
    "lmsys/vicuna-13b-v1.5": _CARD,
    "microsoft/kosmos-2-patch14-224": _CARD,
    "open_clip:timm/eva02_base_patch16_clip_224.merged2b_s8b_b131k": _CARD,
    "open_clip:timm/eva02_large_patch14_clip_336.merged2b_s6b_b61k": _CARD,
    "Qwen/Qwen3-1.7B": _SIZE,
    "Qwen/Qwen3-4B": _COPY,
    "Qwen/Qwen3-4B-Instruct-2507": "a model made from it",
    "Qwen/Qwen3-VL-4B-Instruct": _COPY,
    "Salesforce/blip-image-captioning-base": _CARD,
    "Salesforce/blip2-opt-2.7b": _CARD,
    "syscv-community/sam-hq-vit-huge": _AUTHORS,
    "ustc-community/dfine-small-coco": _CARD,
    "ustc-community/dfine-large-obj365": "model card of the COCO weights",
    "ustc-community/dfine-xlarge-obj365": "model card of the COCO weights",
}
"""Hub id -> what of it, or next to it, named the licence (copies of these pages, late 2024 to
2026). The card of Florence-2 is that of microsoft/Florence-2-base."""


def with_sources(models: Iterable[Model]) -> tuple[Model, ...]:
    """The rows with `licence_seen` filled in from `SEEN`."""
    return tuple(replace(model, licence_seen=SEEN.get(model.hub_id, "")) for model in models)
