import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch

from grand_pipeline.errors import SettingsError
from stages.mdetr import checkpoint, convolutions, layout
from stages.mdetr.convolutions import EfficientNet, ResNet, Stage
from stages.mdetr.layout import Design, Shapes, TextDesign
from tests.tiny import mdetr as tiny

ROBERTA_BASE = TextDesign(words=50265, width=768, inner=3072, layers=12, places=514)
KERNELS, WIDENING = (3, 3, 5, 3, 5, 5, 3), (1, 6, 6, 6, 6, 6, 6)


def _efficientnet(stem: int, blocks: tuple[int, ...], out: tuple[int, ...]) -> EfficientNet:
    rows = zip(blocks, out, KERNELS, WIDENING, strict=True)
    return EfficientNet(stem, tuple(Stage(*row) for row in rows))


RESNET_101 = ResNet((3, 4, 23, 3), 64)
B3 = _efficientnet(40, (2, 3, 3, 5, 5, 6, 2), (24, 32, 48, 96, 136, 232, 384))
B5 = _efficientnet(48, (3, 5, 5, 7, 7, 9, 3), (24, 40, 64, 128, 176, 304, 512))
PUBLISHED = [(RESNET_101, 184_864_580), (B3, 152_041_772), (B5, 169_259_316)]
"""Backbones and the parameters of the whole, without heads that boxes do not need. The paper says
185, 152 and 169 million."""


class Words(NamedTuple):
    last_hidden_state: torch.Tensor


def published(backbone: ResNet | EfficientNet) -> Design:
    return Design(backbone, ROBERTA_BASE, 256, 2048, 6, 6, 100, 0, 256)


def learned(shapes: Shapes) -> int:
    return sum(math.prod(shape) for key, shape in shapes.items() if ".running_" not in key)


@pytest.mark.parametrize(("backbone", "parameters"), PUBLISHED)
def test_the_published_sizes_have_the_published_number_of_parameters(
    backbone: ResNet | EfficientNet, parameters: int
) -> None:
    model = published(backbone)
    shapes = layout.weights(model)
    assert learned(shapes) == parameters
    assert round(parameters / 1e6) in (185, 152, 169)
    assert layout.design(shapes, "here") == model, "the sizes are told by the shapes"
    layout.check(shapes, model, "here")


@pytest.mark.parametrize(
    ("model", "head", "whole"),
    [
        # With a classifier of 1000 classes: torchvision's and timm's figures for the whole models.
        (RESNET_101, 2048 * 1000 + 1000, 44_549_160),
        (B3, 384 * 1536 + 2 * 1536 + 1536 * 1000 + 1000, 12_233_232),
        (B5, 512 * 2048 + 2 * 2048 + 2048 * 1000 + 1000, 30_389_784),
    ],
)
def test_backbones_have_their_published_sizes(
    model: ResNet | EfficientNet, head: int, whole: int
) -> None:
    assert learned(convolutions.shapes(model)) + head == whole


@pytest.mark.parametrize("backbone", [RESNET_101, B3, B5])
@torch.inference_mode()
def test_a_model_of_published_size_runs_on_the_meta_device(
    backbone: ResNet | EfficientNet,
) -> None:
    model = published(backbone)
    with torch.device("meta"):
        state = {key: torch.empty(shape) for key, shape in layout.weights(model).items()}
        network = checkpoint.assembled(model, state, "meta", torch.float32)
        text = sum(weight.numel() for weight in network.text.parameters())
        # roberta-base has 124,645,632 with its pooler.
        assert text + 768 * 768 + 768 == 124_645_632
        # The text encoder looks at its mask, which has no values here.
        network = replace(network, text=lambda **_: Words(torch.empty(1, 9, 768)))
        (seen,) = network.look(torch.empty(1, 3, 800, 1066))
        assert seen.tokens.shape == seen.places.shape == (25 * 34, 256)
        boxes, meant = network.answer([seen], [range(9)])
    assert boxes.shape == (1, 100, 4) and meant.shape == (1, 100, 256)


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("answers", [0, 6])
def test_a_published_state_is_taken_whole(kind: str, answers: int) -> None:
    shapes = {key: tuple(value.shape) for key, value in tiny.state(kind, answers).items()}
    model = layout.design(shapes, "here")
    layout.check(shapes, model, "here")
    assert (model.width, model.queries, model.answers) == (tiny.WIDTH, tiny.QUERIES, answers)
    assert (model.encoder, model.decoder, model.positions) == (2, 2, tiny.POSITIONS)
    left = shapes.keys() - layout.weights(model).keys()
    assert {key.split(".")[0] for key in left if not key.startswith("transformer")} == {
        "contrastive_align_projection_image",
        "contrastive_align_projection_text",
        *(("answer_obj_head",) if answers else ()),
    }
    assert {key for key in left if key.startswith("transformer")} == {
        "transformer.text_encoder.pooler.dense.weight",
        "transformer.text_encoder.pooler.dense.bias",
        "transformer.text_encoder.embeddings.position_ids",
    }


def _without(key: str) -> Callable[[dict[str, tuple[int, ...]]], Shapes]:
    return lambda shapes: {k: v for k, v in shapes.items() if k != key}


def _with(key: str, *shape: int) -> Callable[[dict[str, tuple[int, ...]]], Shapes]:
    return lambda shapes: {**shapes, key: shape}


LAYER = "transformer.decoder.layers.1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("class_embed.bias"), r"layout of MDETR: 1 missing: class_embed\.bias"),
        (_without(f"{LAYER}.norm4.weight"), r"1 missing: .*norm4\.weight"),
        (_without("backbone.0.body.bn1.running_var"), r"1 missing: .*bn1\.running_var"),
        (_without("query_embed.weight"), r"no checkpoint of an MDETR.*lacks query_embed\.weight"),
        (_without("backbone.0.body.layer1.0.conv3.weight"), r"lacks backbone\.0\.body\.layer1"),
        (_with(f"{LAYER}.cross_attn_text.in_proj_weight", 96, 32), r"1 unknown: .*attn_text"),
        (_with("transformer.CLS.weight", 1, 32), r"1 unknown: transformer\.CLS\.weight"),
        (_with(f"{LAYER}.linear1.bias", 3), r"linear1\.bias \(3,\), not \(48,\)"),
    ],
)
def test_what_is_not_exactly_the_published_layout_is_refused(
    change: Callable[[dict[str, tuple[int, ...]]], Shapes], message: str
) -> None:
    shapes = change({key: tuple(value.shape) for key, value in tiny.state("resnet").items()})
    with pytest.raises(SettingsError, match=message):
        layout.check(shapes, layout.design(shapes, "the file"), "the file")
