"""Models that say something about an object (`region_texts`): the roles of GRiT and GPT4RoI."""

from __future__ import annotations

from dataclasses import replace

from grand_pipeline.zoo import captions
from grand_pipeline.zoo.model import Model

_ROLE = "texts about objects"
_NOTES = {
    "Florence2ForConditionalGeneration": "reads the box as location tokens, a thousand per side; "
    "description or category",
    "Kosmos2ForConditionalGeneration": "reads the box as two patches of a grid of 32 x 32; "
    "description alone",
}
_SEES = "sees the object cut out (`crop`) or inside a red rectangle (`mark`)"

REGIONS: tuple[Model, ...] = tuple(
    replace(model, role=_ROLE, note=_NOTES.get(model.architecture, _SEES))
    for model in captions.CAPTIONS
)
"""What `region_texts` loads. GRiT and GPT4RoI themselves have no class in transformers: GRiT finds
boxes and describes them at once, here boxes come from detectors; GPT4RoI pools features of a box,
which Florence-2 and Kosmos-2 replace by tokens of its place."""
