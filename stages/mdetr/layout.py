"""The layout of published MDETR checkpoints: keys, shapes, and what they tell.

Facts are those of the repository ashkamath/mdetr (Apache-2.0) and of the packages that its models
are made of: torchvision's ResNet, timm's EfficientNet, transformers' RoBERTa.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from grand_pipeline.errors import SettingsError
from stages import published
from stages.mdetr import convolutions
from stages.mdetr.convolutions import BODY, EfficientNet, ResNet, Shape

Shapes = Mapping[str, Shape]

TEXT = "transformer.text_encoder."
SEGMENTER = "detr."
"""Before every key of a model that was trained to draw masks as well."""
UNUSED = {
    r"contrastive_align_projection_(image|text)\.(weight|bias)": "a loss between boxes and words",
    r"transformer\.text_encoder\.pooler\..*": "a vector of the whole text",
    r"transformer\.text_encoder\.embeddings\.(position_ids|token_type_ids)": "counts from 0",
    r"backbone\.0\.body\..*\.num_batches_tracked": "a counter of the training",
    r"isfinal_embed\.(weight|bias)": "CLEVR-Ref+: whether a box is the one asked for",
    r"answer_(\w+_)?head\..*": "answers to questions",
    r"(bbox_attention|mask_head)\..*": "masks",
}
"""Published keys that boxes of phrases do not need, as patterns, and what they are for. Queries
for answers (`qa_embed`) are used: the other queries see them."""

_CLASSES, _QUERIES, _ANSWERS = "class_embed.weight", "query_embed.weight", "qa_embed.weight"
_INNER = "transformer.encoder.layers.0.linear1.weight"
_WORDS, _PLACES = (
    f"{TEXT}embeddings.word_embeddings.weight",
    (f"{TEXT}embeddings.position_embeddings.weight"),
)
_TEXT_INNER = f"{TEXT}encoder.layer.0.intermediate.dense.weight"
_PUBLISHED = "pretrained_resnet101_checkpoint.pth or pretrained_EB3_checkpoint.pth"


@dataclass(frozen=True)
class TextDesign:
    """Sizes of a RoBERTa; as published roberta-base: 50265 words, 768, 3072, 12 layers, 514."""

    words: int
    width: int
    inner: int
    layers: int
    places: int
    """Positions, two of which are never used."""


@dataclass(frozen=True)
class Design:
    """Sizes of a model, all told by the shapes of its weights.

    Published: ResNet-101, EfficientNet-B3 or -B5; width 256, 6 + 6 layers, 100 queries.
    """

    backbone: ResNet | EfficientNet
    text: TextDesign
    width: int
    inner: int
    """Of the feed-forward layers."""
    encoder: int
    decoder: int
    """Layers."""
    queries: int
    answers: int
    """Further queries that answer questions instead of giving boxes."""
    positions: int
    """Of a text that a box can mean, and one for "nothing" at the end; 256 as published."""


def named(key: str) -> str:
    """A key as it is called in a model for boxes alone."""
    return key.removeprefix(SEGMENTER)


def design(shapes: Shapes, where: str) -> Design:
    """Sizes of the model whose weights have these shapes.

    Raises SettingsError, which begins with `where`, for weights of something else.
    """
    ranks = dict.fromkeys((_CLASSES, _QUERIES, _INNER, _WORDS, _PLACES, _TEXT_INNER), 2)
    absent = [key for key, rank in ranks.items() if len(shapes.get(key, ())) != rank]
    backbone = convolutions.design(shapes)
    if backbone is None:
        absent.append(f"{BODY}layer1.0.conv3.weight (ResNet) or {BODY}conv_stem.weight")
    if absent or backbone is None:
        raise SettingsError(
            f"{where} is no checkpoint of an MDETR with a ResNet of bottleneck blocks or an "
            f"EfficientNet: it lacks {published.some(absent)}. Give {_PUBLISHED}"
        )
    return Design(
        backbone=backbone,
        text=TextDesign(
            words=shapes[_WORDS][0],
            width=shapes[_WORDS][1],
            inner=shapes[_TEXT_INNER][0],
            layers=_count(shapes, rf"{re.escape(TEXT)}encoder\.layer\.(\d+)\..*"),
            places=shapes[_PLACES][0],
        ),
        width=shapes[_QUERIES][1],
        inner=shapes[_INNER][0],
        encoder=_count(shapes, r"transformer\.encoder\.layers\.(\d+)\..*"),
        decoder=_count(shapes, r"transformer\.decoder\.layers\.(\d+)\..*"),
        queries=shapes[_QUERIES][0],
        answers=shapes.get(_ANSWERS, (0,))[0],
        positions=shapes[_CLASSES][0],
    )


def weights(model: Design) -> dict[str, Shape]:
    """Every key that is needed, with its shape; statistics of norms, which do not learn, too."""
    return {
        **convolutions.shapes(model.backbone),
        **_ends(model),
        **_layers(model),
        **{f"{TEXT}{key}": shape for key, shape in _roberta(model.text).items()},
    }


def check(shapes: Shapes, model: Design, where: str) -> None:
    """Raise SettingsError unless exactly the weights of `model` are there, apart from UNUSED."""
    told = published.faults(shapes, weights(model), UNUSED)
    if told:
        raise SettingsError(
            f"{where} does not have the published layout of MDETR: {told}. "
            "Give a published checkpoint, or one of the same layout"
        )


def _count(shapes: Shapes, pattern: str) -> int:
    """How many layers there are: one more than the highest number."""
    return 1 + max(
        (int(found[1]) for key in shapes if (found := re.fullmatch(pattern, key))), default=-1
    )


def _linear(name: str, out: int, into: int) -> dict[str, Shape]:
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def _norm(name: str, width: int) -> dict[str, Shape]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _ends(model: Design) -> dict[str, Shape]:
    """How images and texts come in, and how boxes go out."""
    width = model.width
    return {
        "input_proj.weight": (width, model.backbone.channels, 1, 1),
        "input_proj.bias": (width,),
        _QUERIES: (model.queries, width),
        **({_ANSWERS: (model.answers, width)} if model.answers else {}),
        **_linear("transformer.resizer.fc", width, model.text.width),
        **_norm("transformer.resizer.layer_norm", width),
        **_linear("class_embed", model.positions, width),
        **_linear("bbox_embed.layers.0", width, width),
        **_linear("bbox_embed.layers.1", width, width),
        **_linear("bbox_embed.layers.2", 4, width),
    }


def _layers(model: Design) -> dict[str, Shape]:
    sides = {
        "encoder": (model.encoder, ("self_attn",), ("norm1", "norm2")),
        # There was an attention to the text alone once; its numbers are left free.
        "decoder": (model.decoder, ("self_attn", "cross_attn_image"), ("norm1", "norm3", "norm4")),
    }
    found = _norm("transformer.decoder.norm", model.width)
    for side, (layers, attentions, norms) in sides.items():
        for layer in range(layers):
            name = f"transformer.{side}.layers.{layer}"
            for attention in attentions:
                found[f"{name}.{attention}.in_proj_weight"] = (3 * model.width, model.width)
                found[f"{name}.{attention}.in_proj_bias"] = (3 * model.width,)
                found |= _linear(f"{name}.{attention}.out_proj", model.width, model.width)
            found |= _linear(f"{name}.linear1", model.inner, model.width)
            found |= _linear(f"{name}.linear2", model.width, model.inner)
            for norm in norms:
                found |= _norm(f"{name}.{norm}", model.width)
    return found


def _roberta(text: TextDesign) -> dict[str, Shape]:
    width = text.width
    found: dict[str, Shape] = {
        "embeddings.word_embeddings.weight": (text.words, width),
        "embeddings.position_embeddings.weight": (text.places, width),
        "embeddings.token_type_embeddings.weight": (1, width),
        **_norm("embeddings.LayerNorm", width),
    }
    for layer in range(text.layers):
        name = f"encoder.layer.{layer}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            found |= _linear(f"{name}.attention.{part}", width, width)
        found |= _norm(f"{name}.attention.output.LayerNorm", width)
        found |= _linear(f"{name}.intermediate.dense", text.inner, width)
        found |= _linear(f"{name}.output.dense", width, text.inner)
        found |= _norm(f"{name}.output.LayerNorm", width)
    return found
