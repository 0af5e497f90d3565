"""EVA-02-CLIP's published weights: names of two conventions, and the tower that reads texts.

The layout is that of the repositories that the package open_clip loads (`open_clip_config.json`
beside one file of weights). Names of image towers are those of timm, which these repositories use,
or those of EVA-02's own release.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from grand_pipeline.errors import SettingsError
from grand_pipeline.weights import reason
from training.models.densevlm.eva02 import Eva02, Eva02Sizes

CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors")
_PARTS = {
    "norm1": "attention_norm",
    "attn.q_proj": "attention.query",
    "attn.k_proj": "attention.key",
    "attn.v_proj": "attention.value",
    "attn.inner_attn_ln": "attention.norm",
    "attn.norm": "attention.norm",
    "attn.proj": "attention.out",
    "norm2": "inner_norm",
    "mlp.w1": "inner.gate",
    "mlp.fc1_g": "inner.gate",
    "mlp.w2": "inner.rise",
    "mlp.fc1_x": "inner.rise",
    "mlp.ffn_ln": "inner.norm",
    "mlp.norm": "inner.norm",
    "mlp.w3": "inner.fall",
    "mlp.fc2": "inner.fall",
}
"""Part of a block in the release or in timm -> the same part here."""
_OUTSIDE = {
    "cls_token": "class_token",
    "pos_embed": "positions",
    "patch_embed.proj.weight": "patches.weight",
    "patch_embed.proj.bias": "patches.bias",
    "norm.weight": "norm.weight",
    "norm.bias": "norm.bias",
    "head.weight": "head.weight",
    "head.bias": "head.bias",
}
_PART = re.compile(r"blocks\.(\d+)\.(.+)\.(weight|bias)")
_LONE_BIAS = re.compile(r"blocks\.(\d+)\.attn\.([qv])_bias")
_LAYER = re.compile(r"transformer\.resblocks\.(\d+)\.(.+?)[._](weight|bias)")
_READ = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


def load(folder: Path, sizes: Eva02Sizes) -> tuple[Eva02, Callable[[Sequence[str]], Tensor]]:
    """Both towers of a repository; the second gives unit features (n, P) of n texts.

    Raises SettingsError for a folder without such weights, or with others than `sizes`.
    """
    from transformers import CLIPTokenizer

    path = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    try:
        if path is None:
            raise OSError(f"none of {', '.join(WEIGHTS)} is there")
        state = load_file(path)
        facts = json.loads((folder / CONFIG).read_text("utf-8"))["model_cfg"]["text_cfg"]
        network = Eva02(sizes)
        network.load_state_dict(image_names(_below(state, "visual.")))
        reader = _reader(_below(state, "text."), facts)
        tokenizer = CLIPTokenizer.from_pretrained(folder)
    except Exception as error:  # a foreign folder can make the libraries fail in any way
        raise SettingsError(
            f"'{folder}' holds no EVA-02-CLIP of the configured sizes ({reason(error)})"
        ) from error
    length = reader.config.max_position_embeddings

    def read(texts: Sequence[str]) -> Tensor:
        made = tokenizer(
            list(texts), padding=True, truncation=True, max_length=length, return_tensors="pt"
        )
        found = reader(input_ids=made["input_ids"], attention_mask=made["attention_mask"])
        return F.normalize(found.text_embeds.float(), dim=1)

    return network, read


def image_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An image tower's weights under the names they have here; tables of rotations are left out."""
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        name = name.removeprefix("trunk.")
        if "rope." in name:
            continue
        if bias := _LONE_BIAS.fullmatch(name):
            part = {"q": "query", "v": "value"}[bias[2]]
            found[f"blocks.{bias[1]}.attention.{part}.bias"] = value
        elif part_of := _PART.fullmatch(name):
            found[f"blocks.{part_of[1]}.{_PARTS[part_of[2]]}.{part_of[3]}"] = value
        else:
            found[_OUTSIDE[name]] = value
    return found


def text_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A text tower's weights under the names of transformers' CLIP."""
    found = {
        "text_model.embeddings.token_embedding.weight": state["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": state["positional_embedding"],
        "text_model.final_layer_norm.weight": state["ln_final.weight"],
        "text_model.final_layer_norm.bias": state["ln_final.bias"],
        "text_projection.weight": state["text_projection"].T.contiguous(),
    }
    for name, value in state.items():
        if layer := _LAYER.fullmatch(name):
            prefix = f"text_model.encoder.layers.{layer[1]}"
            if layer[2] == "attn.in_proj":
                parts = zip(("q", "k", "v"), value.chunk(3), strict=True)
                found |= {f"{prefix}.self_attn.{p}_proj.{layer[3]}": v for p, v in parts}
            else:
                found[f"{prefix}.{_READ[layer[2]]}.{layer[3]}"] = value
    return found


def _reader(state: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Any:
    """The text tower: transformers' CLIP, whose end token has the highest number."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    words, width = state["token_embedding.weight"].shape
    config = CLIPTextConfig(
        vocab_size=words,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=int(facts["layers"]),
        num_attention_heads=int(facts["heads"]),
        max_position_embeddings=len(state["positional_embedding"]),
        projection_dim=state["text_projection"].shape[1],
        hidden_act="gelu",
        pad_token_id=0,
        bos_token_id=words - 2,
        eos_token_id=words - 1,
    )
    model = CLIPTextModelWithProjection(config).eval()
    model.load_state_dict(text_names(state))
    return model.requires_grad_(False)


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    # Mixed types would make a network of mixed types.
    held = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    return {name: value.to(torch.float32) for name, value in held.items()}
