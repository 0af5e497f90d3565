"""Published models that the stages can load: data only, nothing here imports a model library."""

from __future__ import annotations

from grand_pipeline.zoo import (
    captions,
    depth,
    detection,
    grounding,
    labels,
    language,
    licences,
    masks,
    parsing,
    regions,
    tagging,
)
from grand_pipeline.zoo.model import Model

__all__ = ["MODELS", "Model"]

MODELS: tuple[Model, ...] = licences.with_sources(
    (
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
        *parsing.PARSING,
        *language.LANGUAGE,
    )
)
"""Every row, role by role."""
