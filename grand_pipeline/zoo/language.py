"""Language models that answer chats (`dense_caption`, `context`, `grand_v1_context`)."""

from __future__ import annotations

from dataclasses import replace

from grand_pipeline.zoo.model import Model

_APACHE, _LLAMA = "Apache-2.0", "Llama 2 Community License"
_THINKS = "is asked not to think aloud first, by its template"
_VICUNA = "has no chat template; `stages/chat/template.py` has one"

_QWEN3 = Model(
    role="dense captions and context",
    name="",
    hub_id="",
    licence=_APACHE,
    parameters=None,
    verified="a Llama, tiny end to end; published size on the meta device",
    note=_THINKS,
    architecture="Qwen3ForCausalLM",
    stored_bytes=2,
)
_LLAMA2 = replace(_QWEN3, licence=_LLAMA, note=_VICUNA, architecture="LlamaForCausalLM")

LANGUAGE: tuple[Model, ...] = (
    replace(_QWEN3, name="Qwen3 1.7B", hub_id="Qwen/Qwen3-1.7B", parameters=1_720_574_976),
    replace(_QWEN3, name="Qwen3 4B", hub_id="Qwen/Qwen3-4B", parameters=4_022_468_096),
    replace(
        _QWEN3,
        name="Qwen3 4B Instruct 2507",
        hub_id="Qwen/Qwen3-4B-Instruct-2507",
        parameters=4_022_468_096,
        note="never thinks aloud",
    ),
    replace(
        _LLAMA2,
        name="Vicuna 7B v1.5",
        hub_id="lmsys/vicuna-7b-v1.5",
        parameters=6_738_415_616,
    ),
    replace(
        _LLAMA2,
        name="Vicuna 13B v1.5",
        hub_id="lmsys/vicuna-13b-v1.5",
        parameters=13_015_864_320,
        note=f"GranD's model; {_VICUNA}",
    ),
)
"""What runs in this process, small ones first; a server can run any other."""
