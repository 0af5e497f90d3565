"""Backbones against those of transformers, and norms against their formula."""

import re
from typing import Any

import pytest
import torch

from stages.mdetr import convolutions
from stages.mdetr.convolutions import BODY, EfficientNet, ResNet
from tests.tiny import mdetr as tiny

ODD = [(64, 64), (33, 75), (1, 1), (7, 200)]


def body(kind: str) -> tuple[ResNet | EfficientNet, dict[str, torch.Tensor]]:
    state = {key: value for key, value in tiny.state(kind).items() if key.startswith(BODY)}
    model = convolutions.design({key: tuple(value.shape) for key, value in state.items()})
    assert model is not None
    return model, state


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_shapes_tell_the_sizes() -> None:
    assert body("resnet")[0] == ResNet(tiny.BLOCKS, tiny.STEM)
    model = body("efficientnet")[0]
    assert isinstance(model, EfficientNet) and model.stem == 2 * tiny.STEM
    found = [(s.blocks, s.out, s.kernel, s.expand) for s in model.stages]
    assert found == [stage[:4] for stage in tiny.STAGES]
    for kind in tiny.KINDS:
        model, state = body(kind)
        shapes = {key: tuple(value.shape) for key, value in state.items()}
        assert convolutions.shapes(model) == shapes
    assert convolutions.design({}) is None


def test_a_fixed_norm_is_one_factor_and_one_summand() -> None:
    names = ("weight", "bias", "running_mean", "running_var")
    weight, bias, mean, spread = (noise(4, 3)[n].abs() for n in range(4))
    state = dict(zip((f"bn.{name}" for name in names), (weight, bias, mean, spread), strict=True))
    found = convolutions.folded({**state, "conv.weight": weight})
    assert found.keys() == {"bn.factor", "bn.summand", "conv.weight"}
    rows = noise(2, 3, 5, 5)
    shaped = [value[:, None, None] for value in (weight, bias, mean, spread)]
    expected = (rows - shaped[2]) / (shaped[3] + 1e-5).sqrt() * shaped[0] + shaped[1]
    assert torch.allclose(rows * found["bn.factor"] + found["bn.summand"], expected, atol=1e-6)


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("size", ODD)
@torch.inference_mode()
def test_features_are_those_of_torchs_own_layers(kind: str, size: tuple[int, int]) -> None:
    model, state = body(kind)
    pixels = noise(2, 3, *size)
    found = convolutions.features(model, convolutions.folded(state), pixels)
    run = tiny._run_resnet if kind == "resnet" else tiny._run_efficientnet
    expected = run(tiny.reference(kind).backbone[0]["body"], pixels)
    assert found.shape == (2, model.channels, -(-size[0] // 32), -(-size[1] // 32))
    assert torch.allclose(found, expected, atol=1e-4)


@torch.inference_mode()
def test_the_resnet_is_transformers_own() -> None:
    from transformers import ResNetConfig, ResNetModel

    model, state = body("resnet")
    assert isinstance(model, ResNet)
    widths = [4 * model.stem * 2**n for n in range(4)]
    config = ResNetConfig(embedding_size=model.stem, hidden_sizes=widths, depths=list(model.blocks))
    other: Any = ResNetModel(config).eval()
    names = (
        (r"^conv1\.", "embedder.embedder.convolution."),
        (r"^bn1\.", "embedder.embedder.normalization."),
        (r"^layer(\d)\.(\d+)\.", lambda m: f"encoder.stages.{int(m[1]) - 1}.layers.{m[2]}."),
        (r"\.conv(\d)\.", lambda m: f".layer.{int(m[1]) - 1}.convolution."),
        (r"\.bn(\d)\.", lambda m: f".layer.{int(m[1]) - 1}.normalization."),
        (r"downsample\.0\.", "shortcut.convolution."),
        (r"downsample\.1\.", "shortcut.normalization."),
    )
    load(other, state, names)
    pixels = noise(2, 3, 70, 45)
    found = convolutions.features(model, convolutions.folded(state), pixels)
    assert torch.allclose(found, other(pixels).last_hidden_state, atol=1e-4)


@torch.inference_mode()
def test_the_efficientnet_is_transformers_own_on_even_sides() -> None:
    from transformers import EfficientNetConfig, EfficientNetModel

    model, state = body("efficientnet")
    config = EfficientNetConfig(
        width_coefficient=2 * tiny.STEM / 32,
        depth_coefficient=1.0,
        depth_divisor=1,
        kernel_sizes=[stage[2] for stage in tiny.STAGES],
        in_channels=[32, *(4 * stage[1] for stage in tiny.STAGES[:-1])],
        out_channels=[4 * stage[1] for stage in tiny.STAGES],
        strides=[stage[4] for stage in tiny.STAGES],
        num_block_repeats=[stage[0] for stage in tiny.STAGES],
        expand_ratios=[stage[3] for stage in tiny.STAGES],
        depthwise_padding=[],
        # Of the layers behind the last block, which are not looked at: what they are given fits.
        hidden_dim=16 * tiny.STAGES[-1][1],
        batch_norm_eps=1e-5,
    )
    other: Any = EfficientNetModel(config).eval()
    flat = [(number, block) for number, row in enumerate(tiny.STAGES) for block in range(row[0])]
    last = ("projection.project_conv.", "projection.project_bn.")
    names = (
        (r"^conv_stem\.", "embeddings.convolution."),
        (r"^bn1\.", "embeddings.batchnorm."),
        # A block that does not widen has one convolution less.
        (r"^(blocks\.0\.\d+)\.conv_pw\.", rf"\1.{last[0]}"),
        (r"^(blocks\.0\.\d+)\.bn2\.", rf"\1.{last[1]}"),
        (r"^(blocks\.0\.\d+)\.bn1\.", r"\1.depthwise_conv.depthwise_norm."),
        (r"\.conv_pw\.", ".expansion.expand_conv."),
        (r"\.bn1\.", ".expansion.expand_bn."),
        (r"\.conv_dw\.", ".depthwise_conv.depthwise_conv."),
        (r"\.bn2\.", ".depthwise_conv.depthwise_norm."),
        (r"\.se\.conv_reduce\.", ".squeeze_excite.reduce."),
        (r"\.se\.conv_expand\.", ".squeeze_excite.expand."),
        (r"\.conv_pwl\.", f".{last[0]}"),
        (r"\.bn3\.", f".{last[1]}"),
        (
            r"^blocks\.(\d+)\.(\d+)\.",
            lambda m: f"encoder.blocks.{flat.index((int(m[1]), int(m[2])))}.",
        ),
    )
    load(other, state, names)
    kept: list[torch.Tensor] = []
    other.encoder.blocks[-1].register_forward_hook(lambda _m, _i, out: kept.append(out))
    pixels = noise(2, 3, 64, 96)
    other(pixels)
    found = convolutions.features(model, convolutions.folded(state), pixels)
    assert torch.allclose(found, kept[0], atol=1e-4)


def load(other: Any, state: dict[str, torch.Tensor], names: tuple[tuple[str, Any], ...]) -> None:
    """Give a model of transformers the published weights, all of them."""
    renamed = {}
    for key, value in state.items():
        name = key.removeprefix(BODY)
        for pattern, new in names:
            name = re.sub(pattern, new, name)
        renamed[name] = value
    missing, unknown = other.load_state_dict(renamed, strict=False)
    own = [key for key in missing if "num_batches" not in key and "encoder.top_" not in key]
    assert (own, unknown) == ([], [])
