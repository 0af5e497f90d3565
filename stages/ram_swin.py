"""The Swin of a published tagger, in Microsoft's layout, on transformers' SwinModel."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from grand_pipeline.errors import MissingDependencyError
from stages.ram_layout import Design

if TYPE_CHECKING:
    from torch import Tensor

ROOT = "visual_encoder."
_NAMES = (
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^patch_embed\.norm\.", "embeddings.norm."),
    (r"^layers\.", "encoder.layers."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.attn\.proj\.", ".attention.o_proj."),
    (
        r"\.attn\.relative_position_bias_table$",
        ".attention.relative_position_bias.relative_position_bias_table",
    ),
    (r"^norm\.", "layernorm."),
)
"""Published name -> name in the library; what is not here is called the same in both."""
_JOINT = re.compile(r"(.*)\.attn\.qkv\.(weight|bias)$")


def build(model: Design) -> Any:
    """A `SwinModel` of the sizes of `model`, without weights of its own, for evaluation."""
    import transformers

    config = transformers.SwinConfig(
        image_size=model.side,
        patch_size=model.patch,
        embed_dim=model.channels,
        depths=list(model.depths),
        num_heads=list(model.heads),
        window_size=model.window,
        drop_path_rate=0.0,
    )
    return transformers.SwinModel(config, add_pooling_layer=False).eval()


def load(model: Design, state: Mapping[str, Tensor]) -> Any:
    """A `SwinModel` with the weights under `visual_encoder.` of a published state.

    Raises MissingDependencyError if the installed transformers names its weights otherwise.
    """
    swin = build(model)
    try:
        swin.load_state_dict(translated(state))
    except RuntimeError as error:
        raise MissingDependencyError(
            "the installed transformers names the weights of a SwinModel otherwise than release "
            "5.23 does, so those of a RAM or Tag2Text checkpoint have no place: "
            f"{str(error).splitlines()[-1].strip()[:300]}. Install `transformers==5.23`"
        ) from error
    return swin


def translated(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights under `visual_encoder.` by the library's names; it keeps queries, keys and values
    apart."""
    found: dict[str, Tensor] = {}
    for key, value in state.items():
        if not key.startswith(ROOT):
            continue
        name = key.removeprefix(ROOT)
        if joint := _JOINT.fullmatch(name):
            block = joint[1].replace("layers.", "encoder.layers.", 1)
            for part, tensor in zip("qkv", value.chunk(3), strict=True):
                found[f"{block}.attention.{part}_proj.{joint[2]}"] = tensor
        else:
            for pattern, new in _NAMES:
                name = re.sub(pattern, new, name)
            found[name] = value
    return found
