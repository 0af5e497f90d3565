"""Published models that the stages can load: data only, nothing here imports a model library."""

from __future__ import annotations

from grand_pipeline.zoo import (
    captions,
    depth,
    detection,
    grounding,
    labels,
    masks,
    regions,
    tagging,
)
from grand_pipeline.zoo.model import Model

__all__ = ["MODELS", "Model"]

MODELS: tuple[Model, ...] = (
    *tagging.TAGGING,
    *labels.LABELS,
    *detection.OPEN_VOCABULARY,
    *detection.CLOSED_SET,
    *grounding.PHRASE_GROUNDING,
    *masks.AUTOMATIC,
    *masks.BOX_PROMPTS,
    *depth.DEPTH,
    *captions.CAPTIONS,
    *captions.LANDMARKS,
    *regions.REGIONS,
)
"""Every row, role by role."""
