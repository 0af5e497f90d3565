"""Grounders of phrases (`phrase_grounding`)."""

from __future__ import annotations

from dataclasses import replace

from grand_pipeline.zoo import captions, detection
from grand_pipeline.zoo.model import Model

_PHRASES = "phrase grounding"
_IN_CAPTION = 'reads phrases inside their caption (prompt = "caption") or as a list of labels'
_ALONE = "reads each phrase by itself; the caption is not seen"

_MDETR = Model(
    _PHRASES,
    "",
    "",
    "Apache-2.0",
    None,
    "tiny end to end; ported, checked against the published layout and its sizes",
    "a `.pth` file of zenodo.org/record/4721981, given by path, and the tokenizer of "
    'FacebookAI/roberta-base; reads phrases inside their caption (prompt = "caption") or each by '
    "itself; of a caption 254 tokens at once",
    "stages.mdetr.network.Network",
)

_WRITERS = {
    "Florence2ForConditionalGeneration": "writes boxes as location tokens, without scores; which "
    "words are a phrase is its own opinion",
    "Kosmos2ForConditionalGeneration": "writes boxes as patches of a grid of 32 x 32, without "
    "scores; reads the caption up to the phrase",
}

PHRASE_GROUNDING: tuple[Model, ...] = (
    *(
        replace(model, role=_PHRASES, note=_ALONE if "Owl" in model.architecture else _IN_CAPTION)
        for model in detection.OPEN_VOCABULARY
    ),
    *(
        replace(_MDETR, name=f"MDETR, {backbone} ({file})", parameters=parameters)
        for backbone, file, parameters in (
            ("EfficientNet-B3", "refcocog_EB3_checkpoint.pth, GranD's", 152_041_772),
            ("EfficientNet-B3", "pretrained_EB3_checkpoint.pth", 152_041_772),
            ("EfficientNet-B5", "pretrained_EB5_checkpoint.pth", 169_259_316),
            ("ResNet-101", "pretrained_resnet101_checkpoint.pth", 184_864_580),
        )
    ),
    *(
        replace(model, role=_PHRASES, note=_WRITERS[model.architecture])
        for model in captions.CAPTIONS
        if model.architecture in _WRITERS
    ),
)
"""The open-vocabulary detectors in their second role, MDETR, and two that write about images."""
