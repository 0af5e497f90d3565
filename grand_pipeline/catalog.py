"""Every stage there is: name -> "module:Class". Adding a stage is one file and one line here."""

from __future__ import annotations

import importlib
from typing import Any

from grand_pipeline.errors import SettingsError, suggest
from grand_pipeline.stage import Stage

STAGES: dict[str, str] = {
    "imported": "stages.level1.imported:Imported",
    "described": "stages.level1.described:Described",
    "chosen_labels": "stages.level2.chosen_labels:ChosenLabels",
    "tags": "stages.level1.tags:Tags",
    "landmark": "stages.level1.landmark:LandmarkStage",
    "depth": "stages.level1.depth:Depth",
    "open_detection": "stages.level1.open_detection:OpenDetection",
    "closed_detection": "stages.level1.closed_detection:ClosedDetection",
    "segments": "stages.level1.segments:Segments",
    "fusion": "stages.level1.fusion:Fusion",
    "masks": "stages.level1.masks:Masks",
    "attributes": "stages.level1.attributes:Attributes",
    "region_texts": "stages.level1.region_texts:RegionTexts",
    "affordances": "stages.level1.affordances:Affordances",
    "captions": "stages.level2.captions:Captions",
    "phrases": "stages.level2.phrases:Phrases",
    "phrase_grounding": "stages.level2.phrase_grounding:PhraseGrounding",
    "linking": "stages.level2.linking:Linking",
    "labels": "stages.level2.labels:Labels",
    "relations": "stages.level2.relations:Relations",
    "placement": "stages.level3.placement:Placement",
    "scene_graph": "stages.level3.scene_graph:SceneGraphStage",
    "dense_caption": "stages.level3.dense_caption:DenseCaption",
    "dense_grounding": "stages.level3.dense_grounding:DenseGrounding",
    "context": "stages.level4.context:Context",
    "grand_v1_fusion": "stages.level1.grand_v1_fusion:GrandV1Fusion",
    "grand_v1_masks": "stages.level1.grand_v1_masks:GrandV1Masks",
    "grand_v1_affordances": "stages.level1.grand_v1_affordances:GrandV1Affordances",
    "grand_v1_phrases": "stages.level2.grand_v1_phrases:GrandV1Phrases",
    "grand_v1_linking": "stages.level2.grand_v1_linking:GrandV1Linking",
    "grand_v1_labels": "stages.level2.grand_v1_labels:GrandV1Labels",
    "grand_v1_placement": "stages.level3.grand_v1_placement:GrandV1Placement",
    "grand_v1_scene_graph": "stages.level3.grand_v1_scene_graph:GrandV1SceneGraph",
    "grand_v1_dense_grounding": "stages.level3.grand_v1_dense_grounding:GrandV1DenseGrounding",
    "grand_v1_context": "stages.level4.grand_v1_context:GrandV1Context",
}


def stage_class(name: str) -> type[Stage[Any]]:
    """The class of stage `name`. Raises SettingsError for an unknown name."""
    if name not in STAGES:
        raise SettingsError(f"no stage is called '{name}'.{suggest(name, STAGES)}")
    module, _, cls = STAGES[name].partition(":")
    found: type[Stage[Any]] = getattr(importlib.import_module(module), cls)
    return found
