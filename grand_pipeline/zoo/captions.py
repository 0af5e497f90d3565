"""Models that write about images (`captions`), and those of them that choose a landmark."""

from __future__ import annotations

from dataclasses import replace

from grand_pipeline.zoo.model import Model

_ROLE = "captions"
_LANDMARK = "landmark by two questions"
_APACHE, _MIT, _BSD = "Apache-2.0", "MIT", "BSD-3-Clause"
_LLAMA, _RESEARCH = "Llama 2 Community License", "Qwen Research License"
_VERIFIED = "tiny end to end; published size on the meta device"

_OPT = "goes on from a prompt"
_OPT_LICENCE = "MIT, around OPT: non-commercial research"
_CHAT = "GranD's captioner and landmark model was an earlier LLaVA, v1 13B"
_TASKS = (
    "the prompt is a task: <CAPTION>, <DETAILED_CAPTION>, <MORE_DETAILED_CAPTION>; the "
    "microsoft/Florence-2 repositories are code of their own and not loaded"
)
_QWEN = (
    "an image has a token per so many pixels, bounded by `max_pixels`; its video processor, which "
    "needs torchvision, is left out"
)

_BLIP = Model(_ROLE, "", "", _BSD, None, _VERIFIED, "", "BlipForConditionalGeneration")
_BLIP2 = replace(
    _BLIP, licence=_OPT_LICENCE, note=_OPT, architecture="Blip2ForConditionalGeneration"
)
_LLAVA = replace(
    _BLIP,
    licence=_LLAMA,
    note=_CHAT,
    architecture="LlavaForConditionalGeneration",
    stored_bytes=2,
)
_FLORENCE = replace(
    _BLIP, licence=_MIT, note=_TASKS, architecture="Florence2ForConditionalGeneration"
)
_QWEN2_5 = replace(
    _BLIP,
    licence=_APACHE,
    note=_QWEN,
    architecture="Qwen2_5_VLForConditionalGeneration",
    stored_bytes=2,
)
_QWEN3 = replace(_QWEN2_5, architecture="Qwen3VLForConditionalGeneration")

CAPTIONS: tuple[Model, ...] = (
    replace(
        _BLIP,
        name="BLIP base",
        hub_id="Salesforce/blip-image-captioning-base",
        parameters=223_971_644,
    ),
    replace(
        _FLORENCE,
        name="Florence-2 base",
        hub_id="florence-community/Florence-2-base",
        parameters=231_414_784,
    ),
    replace(
        _BLIP,
        name="BLIP large",
        hub_id="Salesforce/blip-image-captioning-large",
        parameters=446_290_492,
    ),
    replace(
        _FLORENCE,
        name="Florence-2 large",
        hub_id="florence-community/Florence-2-large",
        parameters=776_505_344,
    ),
    replace(
        _BLIP,
        name="Kosmos-2",
        hub_id="microsoft/kosmos-2-patch14-224",
        licence=_MIT,
        parameters=1_664_485_376,
        note="its places are cut out of captions; prompts of one length run together",
        architecture="Kosmos2ForConditionalGeneration",
    ),
    replace(
        _QWEN3,
        name="Qwen3-VL 2B",
        hub_id="Qwen/Qwen3-VL-2B-Instruct",
        parameters=2_127_532_032,
    ),
    replace(
        _BLIP2,
        name="BLIP-2, OPT 2.7B",
        hub_id="Salesforce/blip2-opt-2.7b",
        parameters=3_744_761_856,
    ),
    replace(
        _QWEN2_5,
        name="Qwen2.5-VL 3B",
        hub_id="Qwen/Qwen2.5-VL-3B-Instruct",
        licence=_RESEARCH,
        parameters=3_754_622_976,
    ),
    replace(
        _QWEN3,
        name="Qwen3-VL 4B",
        hub_id="Qwen/Qwen3-VL-4B-Instruct",
        parameters=4_437_815_808,
    ),
    replace(
        _LLAVA,
        name="LLaVA 1.5 7B",
        hub_id="llava-hf/llava-1.5-7b-hf",
        parameters=7_063_427_072,
    ),
    replace(
        _BLIP2,
        name="BLIP-2, OPT 6.7B",
        hub_id="Salesforce/blip2-opt-6.7b",
        parameters=7_752_869_376,
    ),
    replace(
        _QWEN2_5,
        name="Qwen2.5-VL 7B",
        hub_id="Qwen/Qwen2.5-VL-7B-Instruct",
        parameters=8_292_166_656,
    ),
    replace(
        _QWEN3,
        name="Qwen3-VL 8B",
        hub_id="Qwen/Qwen3-VL-8B-Instruct",
        parameters=8_767_123_696,
    ),
    replace(
        _LLAVA,
        name="LLaVA 1.5 13B",
        hub_id="llava-hf/llava-1.5-13b-hf",
        parameters=13_351_494_656,
    ),
)
"""What `captions` loads, small ones first."""

LANDMARKS: tuple[Model, ...] = tuple(
    replace(model, role=_LANDMARK)
    for model in CAPTIONS
    if model.architecture in {_LLAVA.architecture, _QWEN2_5.architecture, _QWEN3.architecture}
)
"""Chat models that `landmark` asks; CLIP and SigLIP stand among those that choose labels."""
