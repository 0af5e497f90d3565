"""Where the weights of an X-VLM come from before training: a Swin and a BERT, or nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from transformers import BertConfig

from grand_pipeline.errors import SettingsError
from training.models.xvlm.bert import Attention, Layer
from training.models.xvlm.network import Architecture, Xvlm
from training.pretrained import loaded

RANDOM = "random"
_TABLES, _HEAD = "bert.embeddings.", "cls.predictions."
_LAYER = re.compile(r"bert\.encoder\.layer\.(\d+)\.(.*)\.(weight|bias)")
_PARTS = {
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.out",
    "attention.output.LayerNorm": "attention.norm",
    "intermediate.dense": "rise",
    "output.dense": "fall",
    "output.LayerNorm": "norm",
}
"""Part of a layer of BERT -> the same part here."""


def start(model: Xvlm, vision: str, text: str) -> None:
    """Fill encoders with pretrained weights; projections, cross-attention and heads stay new.

    The first layers of the BERT become the text encoder and those after them the fusion encoder;
    its head for masked words is kept.

    Args:
        vision: hub id or folder of a Swin, or "random" for weights as they were drawn.
        text: the same of a BERT with as many layers as both encoders have.

    Raises:
        MissingDependencyError: weights are neither here nor reachable.
        SettingsError: they are of another shape.
    """
    if vision != RANDOM:
        swin = loaded("SwinModel", vision, add_pooling_layer=False)
        _fill(model.vision, swin.state_dict(), vision)
    if text != RANDOM:
        bert = loaded("BertForMaskedLM", text).state_dict()
        split = from_bert(bert, model.sizes.text_layers)
        own = {name: value for name, value in model.state_dict().items() if _from_bert(name)}
        _fill_named(own, split, text)


def from_bert(state: Mapping[str, Tensor], text_layers: int) -> dict[str, Tensor]:
    """The weights of a BertForMaskedLM under the names they have in an X-VLM.

    BERT adds an embedding of the segment to every token; there is one segment here, so it goes
    into the positions.
    """
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        if layer := _LAYER.fullmatch(name):
            number = int(layer[1])
            part, place = ("text", 0) if number < text_layers else ("fusion", text_layers)
            found[f"{part}.{number - place}.{_PARTS[layer[2]]}.{layer[3]}"] = value
    places, segments = (
        state[f"{_TABLES}{x}_embeddings.weight"] for x in ("position", "token_type")
    )
    found["embeddings.words.weight"] = state[f"{_TABLES}word_embeddings.weight"]
    found["embeddings.positions.weight"] = places + segments[0]
    for kind in ("weight", "bias"):
        found[f"embeddings.norm.{kind}"] = state[f"{_TABLES}LayerNorm.{kind}"]
        found[f"word_head.0.{kind}"] = state[f"{_HEAD}transform.dense.{kind}"]
        found[f"word_head.2.{kind}"] = state[f"{_HEAD}transform.LayerNorm.{kind}"]
    found["word_bias"] = state[f"{_HEAD}bias"]
    return found


def _from_bert(name: str) -> bool:
    """Whether a weight of an X-VLM comes from its BERT."""
    return name.startswith(("embeddings.", "text.", "fusion.", "word_")) and ".cross." not in name


def _fill(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    _fill_named(module.state_dict(), state, source)


def _fill_named(own: Mapping[str, Tensor], state: Mapping[str, Tensor], source: str) -> None:
    shapes = {name: tuple(value.shape) for name, value in own.items()}
    given = {name: tuple(value.shape) for name, value in state.items()}
    odd = sorted(name for name in shapes if given.get(name) != shapes[name])
    if odd:
        example = f"{odd[0]} is {given.get(odd[0], 'missing')} and should be {shapes[odd[0]]}"
        raise SettingsError(
            f"the weights of '{source}' do not fit the network: {len(odd)} of {len(shapes)} "
            f"differ, for example {example}; name a checkpoint of the configured sizes, or 'random'"
        )
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(state[name])


def look_where_similar(model: Xvlm, spread: float = 2.0) -> None:
    """Let the first cross-attention look, in place, where text and patch are similar.

    Its queries and keys become the projections that the contrastive loss has trained, scaled so
    that logits deviate by about `spread` among patches (states are normed: each of their channels
    is taken for an independent one of variance 1). Where to look is then not to be found by the
    loss of the box, from which short trainings do not learn it.
    """
    cross = cast(Attention, cast(Layer, model.fusion[0]).cross)
    said, seen = model.text_projection, model.concept_projection
    times = -(-cross.query.out_features // said.out_features)
    with torch.no_grad():
        per_head = cross.query.out_features // cross.heads
        variance = (said.weight.square().sum(1) * seen.weight.square().sum(1)).mean() * per_head
        scale = (spread * per_head**0.5 / variance.sqrt()).sqrt()
        for part, source in ((cross.query, said), (cross.key, seen)):
            rows = len(part.weight)
            part.weight.copy_(scale * source.weight.repeat(times, 1)[:rows])
            part.bias.copy_(scale * source.bias.repeat(times)[:rows])


def bert_config(sizes: Architecture) -> BertConfig:
    """The configuration of a BERT that both encoders of texts can be cut out of."""
    return BertConfig(
        vocab_size=sizes.vocabulary,
        max_position_embeddings=sizes.positions,
        hidden_size=sizes.hidden,
        intermediate_size=sizes.inner,
        num_attention_heads=sizes.heads,
        num_hidden_layers=sizes.text_layers + sizes.fusion_layers,
        initializer_range=sizes.std,
    )
