"""An EVA-02-CLIP in miniature: a tower, and a repository as the package open_clip has it."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.tiny import words
from training.models.densevlm.eva02 import Eva02, Eva02Sizes
from training.models.densevlm.towers import Tower

SIZES = Eva02Sizes(image_size=32, patch_size=8, width=24, layers=2, heads=2, projection=6)
"""Pictures of 32 pixels as 4 x 4 patches, twelve channels per head."""
_LAYERS, _WIDTH, _LENGTH = 2, 16, 16


def network(sizes: Eva02Sizes = SIZES, seed: int = 0) -> Eva02:
    """A network with weights large enough to tell inputs apart, in evaluation mode."""
    torch.manual_seed(seed)
    made = Eva02(sizes)
    with torch.no_grad():
        for value in made.parameters():
            value.add_(0.3 * torch.randn(value.shape))
    return made.eval()


def tower(seed: int = 0) -> Tower:
    """The network as a tower that takes colours as they are."""
    return Tower(network(seed=seed), SIZES.patch_size, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def pixels(count: int, side: int = 32) -> Tensor:
    """Noise (count, 3, side, side) uint8."""
    drawn = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, side, side), generator=drawn, dtype=torch.uint8)


def text_state() -> dict[str, Tensor]:
    """A text tower's weights by open_clip's names."""
    drawn = torch.Generator().manual_seed(3)

    def some(*shape: int) -> Tensor:
        return 0.4 * torch.randn(*shape, generator=drawn)

    count = len(words.clip_tokenizer())
    state = {
        "token_embedding.weight": some(count, _WIDTH),
        "positional_embedding": some(_LENGTH, _WIDTH),
        "ln_final.weight": 1 + some(_WIDTH),
        "ln_final.bias": some(_WIDTH),
        "text_projection": some(_WIDTH, SIZES.projection),
    }
    for number in range(_LAYERS):
        at = f"transformer.resblocks.{number}"
        state |= {f"{at}.ln_{n}.weight": 1 + some(_WIDTH) for n in (1, 2)}
        state |= {f"{at}.ln_{n}.bias": some(_WIDTH) for n in (1, 2)}
        state |= {
            f"{at}.attn.in_proj_weight": some(3 * _WIDTH, _WIDTH),
            f"{at}.attn.in_proj_bias": some(3 * _WIDTH),
            f"{at}.attn.out_proj.weight": some(_WIDTH, _WIDTH),
            f"{at}.attn.out_proj.bias": some(_WIDTH),
            f"{at}.mlp.c_fc.weight": some(4 * _WIDTH, _WIDTH),
            f"{at}.mlp.c_fc.bias": some(4 * _WIDTH),
            f"{at}.mlp.c_proj.weight": some(_WIDTH, 4 * _WIDTH),
            f"{at}.mlp.c_proj.bias": some(_WIDTH),
        }
    return state


TIMM = {
    "attention_norm": "norm1",
    "attention.query": "attn.q_proj",
    "attention.key": "attn.k_proj",
    "attention.value": "attn.v_proj",
    "attention.norm": "attn.norm",
    "attention.out": "attn.proj",
    "inner_norm": "norm2",
    "inner.gate": "mlp.fc1_g",
    "inner.rise": "mlp.fc1_x",
    "inner.norm": "mlp.norm",
    "inner.fall": "mlp.fc2",
    "class_token": "cls_token",
    "positions": "pos_embed",
    "patches": "patch_embed.proj",
}
"""Parts of a tower by timm's names."""


def timm_state(made: Eva02) -> dict[str, Tensor]:
    """An image tower's weights by timm's names."""
    found: dict[str, Tensor] = {}
    for name, value in made.state_dict().items():
        layer, part = "", name
        if name.startswith("blocks."):
            _, number, part = name.split(".", 2)
            layer = f"blocks.{number}."
        stem, _, kind = part.rpartition(".")
        if part in TIMM:
            found[TIMM[part]] = value
        else:
            found[f"{layer}{TIMM.get(stem, stem)}.{kind}"] = value
    return found


def repository(folder: Path) -> str:
    """The folder of a whole EVA-02-CLIP, as a source."""
    folder.mkdir(parents=True)
    image = {f"visual.trunk.{name}": v for name, v in timm_state(network()).items()}
    text = {f"text.{name}": v for name, v in text_state().items()}
    save_file(image | text, folder / "open_clip_model.safetensors")
    facts = {"model_cfg": {"text_cfg": {"layers": _LAYERS, "heads": 2, "width": _WIDTH}}}
    (folder / "open_clip_config.json").write_text(json.dumps(facts))
    words.clip_tokenizer().save_pretrained(folder)
    return f"open_clip:{folder}"
