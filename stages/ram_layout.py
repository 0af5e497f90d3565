"""The layout of published RAM, RAM++ and Tag2Text checkpoints: keys, shapes, and what they tell.

Facts are those of the repository xinyu1205/recognize-anything (Apache-2.0). A checkpoint is a table
`{"model": weights, ...}`; what else is in the file (an optimizer, as a rule) is left alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from grand_pipeline.errors import SettingsError
from stages import published
from stages.published import Shape

Kind = Literal["ram", "ram_plus", "tag2text"]
Shapes = Mapping[str, Shape]

DESCRIPTIONS = 51
"""Texts per tag in RAM++: one template and 50 descriptions."""
DECODER_LAYERS = 2
UNUSED = {
    r"visual_encoder\.layers\.\d+\.blocks\.\d+\.attn_mask": "follows from the window",
    r"visual_encoder\.layers\.\d+\.blocks\.\d+\.attn\.relative_position_index": "the same",
    r"tag_encoder\..*": "the captioning branch",
    r"text_decoder\..*": "the captioning branch",
    r"tagging_head\.embeddings\..*": "tags come in as embeddings",
    r"tagging_head\.encoder\.layer\.\d+\.attention\..*": "tags do not attend to each other",
    r"class_threshold": "thresholds come from the stage's options",
}
"""Published keys that tagging does not need, as patterns, and why."""

_OLD_NAME, _NAME = "vision_multi.", "tagging_head."
_PATCH = "visual_encoder.patch_embed.proj.weight"
_QUERY = "tagging_head.encoder.layer.0.crossattention.self.query.weight"
_KEY = "tagging_head.encoder.layer.0.crossattention.self.key.weight"
_INNER = "tagging_head.encoder.layer.0.intermediate.dense.weight"
_BIAS = "visual_encoder.layers.{}.blocks.0.attn.relative_position_bias_table"
_BLOCK = re.compile(
    r"visual_encoder\.layers\.(\d+)\.blocks\.\d+\.attn\.relative_position_bias_table"
)


@dataclass(frozen=True)
class Design:
    """Sizes of a model of the family, all told by the shapes of its weights.

    Published: Swin-L of 192 channels for RAM and RAM++, Swin-B of 128 for Tag2Text, depths
    2-2-18-2, windows of 12, a decoder of width 768.
    """

    kind: Kind
    tags: int
    channels: int
    """Of the first stage of the Swin; every further stage has twice as many."""
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int
    """Patches along the side of an attention window."""
    patch: int
    """Pixels along the side of a patch."""
    width: int
    """Of the tag decoder."""
    inner: int
    """Of its feed-forward layers."""
    context: int
    """Width of the image tokens that tags attend to."""

    @property
    def features(self) -> int:
        """Channels of the last stage of the Swin."""
        return int(self.channels * 2 ** (len(self.depths) - 1))

    @property
    def side(self) -> int:
        """Pixels of the square input: the last stage is a single window (384 as published)."""
        return int(self.patch * self.window * 2 ** (len(self.depths) - 1))


def renamed(key: str) -> str:
    """A key as it is called today; older checkpoints call the tag decoder `vision_multi`."""
    return _NAME + key.removeprefix(_OLD_NAME) if key.startswith(_OLD_NAME) else key


def design(shapes: Shapes, where: str) -> Design:
    """Sizes of the model whose weights have these shapes.

    Raises SettingsError, which begins with `where`, for weights of something else.
    """
    label = "label_embed.weight" if "label_embed.weight" in shapes else "label_embed"
    ranks = {_PATCH: 4, _QUERY: 2, _KEY: 2, _INNER: 2, _BIAS.format(0): 2, label: 2}
    absent = [key for key, rank in ranks.items() if len(shapes.get(key, ())) != rank]
    if absent:
        raise SettingsError(
            f"{where} is no checkpoint of RAM, RAM++ or Tag2Text: it lacks "
            f"{published.some(absent)}. Give "
            "ram_swin_large_14m.pth, ram_plus_swin_large_14m.pth or tag2text_swin_14m.pth"
        )
    blocks = [int(found[1]) for key in shapes if (found := _BLOCK.fullmatch(key))]
    stages = range(1 + max(blocks))
    kind: Kind = "tag2text" if label != "label_embed" else "ram"
    kind = "ram_plus" if "reweight_scale" in shapes else kind
    return Design(
        kind=kind,
        tags=shapes[label][0] // (DESCRIPTIONS if kind == "ram_plus" else 1),
        channels=shapes[_PATCH][0],
        depths=tuple(blocks.count(n) for n in stages),
        heads=tuple(shapes.get(_BIAS.format(n), (0, 1))[1] for n in stages),
        window=(math.isqrt(shapes[_BIAS.format(0)][0]) + 1) // 2,
        patch=shapes[_PATCH][-1],
        width=shapes[_QUERY][0],
        inner=shapes[_INNER][0],
        context=shapes[_KEY][1],
    )


def weights(model: Design) -> dict[str, Shape]:
    """Every key that tagging needs, with its shape; nothing of the captioning branch."""
    return {**_swin(model), **_decoder(model), **_ends(model)}


def check(shapes: Shapes, model: Design, where: str) -> None:
    """Raise SettingsError unless exactly the weights of `model` are there, apart from UNUSED."""
    told = published.faults(shapes, weights(model), UNUSED)
    if told:
        raise SettingsError(
            f"{where} does not have the published layout of {model.kind}: {told}. "
            "Give the published checkpoint, or one of the same layout"
        )


def _linear(name: str, out: int, into: int, bias: bool = True) -> dict[str, Shape]:
    return {f"{name}.weight": (out, into), **({f"{name}.bias": (out,)} if bias else {})}


def _norm(name: str, width: int) -> dict[str, Shape]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _swin(model: Design) -> dict[str, Shape]:
    root = "visual_encoder"
    places = (2 * model.window - 1) ** 2
    found: dict[str, Shape] = {_PATCH: (model.channels, 3, model.patch, model.patch)}
    found |= {f"{root}.patch_embed.proj.bias": (model.channels,)}
    found |= _norm(f"{root}.patch_embed.norm", model.channels)
    for stage, (depth, heads) in enumerate(zip(model.depths, model.heads, strict=True)):
        width = model.channels * 2**stage
        for block in range(depth):
            name = f"{root}.layers.{stage}.blocks.{block}"
            found |= _norm(f"{name}.norm1", width) | _norm(f"{name}.norm2", width)
            found |= {f"{name}.attn.relative_position_bias_table": (places, heads)}
            found |= _linear(f"{name}.attn.qkv", 3 * width, width)
            found |= _linear(f"{name}.attn.proj", width, width)
            found |= _linear(f"{name}.mlp.fc1", 4 * width, width)
            found |= _linear(f"{name}.mlp.fc2", width, 4 * width)
        if stage + 1 < len(model.depths):
            name = f"{root}.layers.{stage}.downsample"
            found |= _linear(f"{name}.reduction", 2 * width, 4 * width, bias=False)
            found |= _norm(f"{name}.norm", 4 * width)
    return found | _norm(f"{root}.norm", model.features)


def _decoder(model: Design) -> dict[str, Shape]:
    found: dict[str, Shape] = {}
    for layer in range(DECODER_LAYERS):
        name = f"tagging_head.encoder.layer.{layer}"
        cross = f"{name}.crossattention"
        found |= _linear(f"{cross}.self.query", model.width, model.width)
        found |= _linear(f"{cross}.self.key", model.width, model.context)
        found |= _linear(f"{cross}.self.value", model.width, model.context)
        found |= _linear(f"{cross}.output.dense", model.width, model.width)
        found |= _norm(f"{cross}.output.LayerNorm", model.width)
        found |= _linear(f"{name}.intermediate.dense", model.inner, model.width)
        found |= _linear(f"{name}.output.dense", model.width, model.inner)
        found |= _norm(f"{name}.output.LayerNorm", model.width)
    return found


def _ends(model: Design) -> dict[str, Shape]:
    """What differs between the kinds: how tags come in and how their logits go out."""
    if model.kind == "tag2text":
        return {
            "label_embed.weight": (model.tags, model.width),
            "fc.W": (1, model.tags, model.width),
            "fc.b": (1, model.tags),
        }
    plus = model.kind == "ram_plus"
    return {
        "label_embed": (model.tags * (DESCRIPTIONS if plus else 1), model.context),
        **({"reweight_scale": ()} if plus else {}),
        **_linear("image_proj", model.context, model.features),
        **_linear("wordvec_proj", model.width, model.context),
        **_linear("fc", 1, model.width),
    }
