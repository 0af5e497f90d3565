"""The two kinds of backbone, by the names of their published weights: ResNet with bottlenecks (He
et al., arXiv:1512.03385) and EfficientNet (Tan and Le, arXiv:1905.11946).

They are written out here rather than taken from transformers, whose EfficientNet pads images of
odd sides otherwise than the one that MDETR was trained with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, ...]
Weights = Mapping[str, "Tensor"]

BODY = "backbone.0.body."
STATISTICS = ("weight", "bias", "running_mean", "running_var")
_BOTTLENECK = 4
"""Times wider a ResNet's block is at its ends than inside."""
_STRIDES = (1, 2, 2, 2, 1, 2, 1)
"""Of the stages of every EfficientNet; no shape tells them."""
_SQUEEZE = 4
"""The gate of a block has a quarter of the channels that come into the block."""
_EPS = 1e-5
"""MDETR's. The EfficientNets came with 1e-3, but were trained further with this one."""


@dataclass(frozen=True)
class ResNet:
    """Blocks per stage and channels of the first layer: (3, 4, 23, 3) and 64 for ResNet-101."""

    blocks: tuple[int, ...]
    stem: int

    @property
    def channels(self) -> int:
        """Of the last stage."""
        return int(_BOTTLENECK * self.stem * 2 ** (len(self.blocks) - 1))


@dataclass(frozen=True)
class Stage:
    """Blocks of an EfficientNet with the same kernel; inside a block there are `expand` times as
    many channels as come in."""

    blocks: int
    out: int
    kernel: int
    expand: int


@dataclass(frozen=True)
class EfficientNet:
    """Channels of the first layer, and the seven stages."""

    stem: int
    stages: tuple[Stage, ...]

    @property
    def channels(self) -> int:
        """Of the last stage."""
        return self.stages[-1].out


def design(shapes: Mapping[str, Shape]) -> ResNet | EfficientNet | None:
    """The backbone whose weights are among these; None if there is none of either kind."""
    stem = shapes.get(f"{BODY}conv1.weight", ())
    if len(stem) == 4 and f"{BODY}layer1.0.conv3.weight" in shapes:
        counts = [_blocks(shapes, rf"layer{n}\.(\d+)\.conv1\.weight") for n in range(1, 5)]
        return ResNet(tuple(counts), stem[0])
    stem = shapes.get(f"{BODY}conv_stem.weight", ())
    stages = [_stage(shapes, f"{BODY}blocks.{n}.") for n in range(len(_STRIDES))]
    found = tuple(stage for stage in stages if stage is not None)
    return EfficientNet(stem[0], found) if len(stem) == 4 and len(found) == len(stages) else None


def shapes(model: ResNet | EfficientNet) -> dict[str, Shape]:
    """Published keys of a backbone, with the statistics of its norms."""
    found = _resnet(model) if isinstance(model, ResNet) else _efficientnet(model)
    return {f"{BODY}{key}": shape for key, shape in found.items()}


def folded(state: Weights) -> dict[str, Tensor]:
    """Weights in which every norm with fixed statistics is one factor and one summand (c, 1, 1).

    Raises KeyError for a norm that is not complete.
    """
    found: dict[str, Tensor] = {}
    for key, value in state.items():
        name, _, part = key.rpartition(".")
        if f"{name}.running_var" not in state:
            found[key] = value
        elif part == "running_var":
            weight, bias, mean, spread = (state[f"{name}.{x}"].float() for x in STATISTICS)
            factor = weight * (spread + _EPS).rsqrt()
            found[f"{name}.factor"] = factor[:, None, None]
            found[f"{name}.summand"] = (bias - mean * factor)[:, None, None]
    return found


def features(model: ResNet | EfficientNet, weights: Weights, pixels: Tensor) -> Tensor:
    """(b, 3, h, w) to (b, channels, h / 32, w / 32), rounded up; norms are `folded`."""
    if isinstance(model, ResNet):
        return _run_resnet(model, weights, pixels)
    return _run_efficientnet(model, weights, pixels)


def _blocks(shapes: Mapping[str, Shape], pattern: str) -> int:
    return sum(bool(re.fullmatch(re.escape(BODY) + pattern, key)) for key in shapes)


def _stage(shapes: Mapping[str, Shape], name: str) -> Stage | None:
    plain = shapes.get(f"{name}0.conv_pw.weight", ())
    last = shapes.get(f"{name}0.conv_pwl.weight", ())
    depthwise = shapes.get(f"{name}0.conv_dw.weight", ())
    if not (len(plain) == len(depthwise) == 4 and len(last) in (0, 4)):
        return None
    inside = re.escape(name.removeprefix(BODY)) + r"(\d+)\.conv_dw\.weight"
    expand = plain[0] // plain[1] if last else 1
    return Stage(_blocks(shapes, inside), (last or plain)[0], depthwise[-1], expand)


def _fixed(name: str, channels: int) -> dict[str, Shape]:
    return {f"{name}.{part}": (channels,) for part in STATISTICS}


def _resnet(model: ResNet) -> dict[str, Shape]:
    found: dict[str, Shape] = {"conv1.weight": (model.stem, 3, 7, 7), **_fixed("bn1", model.stem)}
    into = model.stem
    for stage, blocks in enumerate(model.blocks):
        inner = model.stem * 2**stage
        out = _BOTTLENECK * inner
        for block in range(blocks):
            name = f"layer{stage + 1}.{block}"
            found[f"{name}.conv1.weight"] = (inner, into, 1, 1)
            found[f"{name}.conv2.weight"] = (inner, inner, 3, 3)
            found[f"{name}.conv3.weight"] = (out, inner, 1, 1)
            found |= _fixed(f"{name}.bn1", inner) | _fixed(f"{name}.bn2", inner)
            found |= _fixed(f"{name}.bn3", out)
            if block == 0:
                found[f"{name}.downsample.0.weight"] = (out, into, 1, 1)
                found |= _fixed(f"{name}.downsample.1", out)
            into = out
    return found


def _efficientnet(model: EfficientNet) -> dict[str, Shape]:
    found: dict[str, Shape] = {"conv_stem.weight": (model.stem, 3, 3, 3)}
    found |= _fixed("bn1", model.stem)
    into = model.stem
    for number, stage in enumerate(model.stages):
        for block in range(stage.blocks):
            name = f"blocks.{number}.{block}"
            inner, gate = into * stage.expand, max(1, into // _SQUEEZE)
            found[f"{name}.conv_dw.weight"] = (inner, 1, stage.kernel, stage.kernel)
            found |= {f"{name}.se.conv_reduce.weight": (gate, inner, 1, 1)}
            found |= {f"{name}.se.conv_reduce.bias": (gate,)}
            found |= {f"{name}.se.conv_expand.weight": (inner, gate, 1, 1)}
            found |= {f"{name}.se.conv_expand.bias": (inner,)}
            if stage.expand > 1:
                found[f"{name}.conv_pw.weight"] = (inner, into, 1, 1)
                found[f"{name}.conv_pwl.weight"] = (stage.out, inner, 1, 1)
                norms = {"bn1": inner, "bn2": inner, "bn3": stage.out}
            else:
                found[f"{name}.conv_pw.weight"] = (stage.out, inner, 1, 1)
                norms = {"bn1": inner, "bn2": stage.out}
            for norm, channels in norms.items():
                found |= _fixed(f"{name}.{norm}", channels)
            into = stage.out
    return found


def _run_resnet(model: ResNet, weights: Weights, pixels: Tensor) -> Tensor:
    import torch.nn.functional as F

    stem = F.conv2d(pixels, weights[f"{BODY}conv1.weight"], stride=2, padding=3)
    rows = F.max_pool2d(_norm(weights, f"{BODY}bn1", stem).relu(), 3, stride=2, padding=1)
    for stage, blocks in enumerate(model.blocks):
        for block in range(blocks):
            name = f"{BODY}layer{stage + 1}.{block}"
            stride = 2 if stage and not block else 1
            kept = rows
            if not block:
                kept = F.conv2d(rows, weights[f"{name}.downsample.0.weight"], stride=stride)
                kept = _norm(weights, f"{name}.downsample.1", kept)
            inner = F.conv2d(rows, weights[f"{name}.conv1.weight"])
            inner = _norm(weights, f"{name}.bn1", inner).relu()
            # The stride is here rather than in the first convolution, as torchvision has it.
            inner = F.conv2d(inner, weights[f"{name}.conv2.weight"], stride=stride, padding=1)
            inner = _norm(weights, f"{name}.bn2", inner).relu()
            inner = F.conv2d(inner, weights[f"{name}.conv3.weight"])
            rows = (_norm(weights, f"{name}.bn3", inner) + kept).relu()
    return rows


def _run_efficientnet(model: EfficientNet, weights: Weights, pixels: Tensor) -> Tensor:
    import torch.nn.functional as F

    rows = _same(pixels, weights[f"{BODY}conv_stem.weight"], 2, 1)
    rows = F.silu(_norm(weights, f"{BODY}bn1", rows))
    for number, (stage, stride) in enumerate(zip(model.stages, _STRIDES, strict=True)):
        for block in range(stage.blocks):
            name = f"{BODY}blocks.{number}.{block}"
            found = _inverted(weights, name, rows, 1 if block else stride, stage.expand > 1)
            same = found.shape == rows.shape and (block or stride == 1)
            rows = found + rows if same else found
    return rows


def _inverted(weights: Weights, name: str, rows: Tensor, stride: int, expand: bool) -> Tensor:
    """What a block adds: wider if it expands, a depthwise convolution, a gate, narrower."""
    import torch.nn.functional as F

    norms = iter(("bn1", "bn2", "bn3"))
    if expand:
        rows = F.conv2d(rows, weights[f"{name}.conv_pw.weight"])
        rows = F.silu(_norm(weights, f"{name}.{next(norms)}", rows))
    rows = _same(rows, weights[f"{name}.conv_dw.weight"], stride, rows.shape[1])
    rows = F.silu(_norm(weights, f"{name}.{next(norms)}", rows))
    gate = rows.mean(dim=(2, 3), keepdim=True)
    for part in ("conv_reduce", "conv_expand"):
        weight, bias = weights[f"{name}.se.{part}.weight"], weights[f"{name}.se.{part}.bias"]
        gate = F.conv2d(gate, weight, bias)
        gate = F.silu(gate) if part == "conv_reduce" else gate.sigmoid()
    last = "conv_pwl" if expand else "conv_pw"
    rows = F.conv2d(rows * gate, weights[f"{name}.{last}.weight"])
    return _norm(weights, f"{name}.{next(norms)}", rows)


def _same(rows: Tensor, weight: Tensor, stride: int, groups: int) -> Tensor:
    """A convolution padded as TensorFlow pads: what is odd goes to the right and below."""
    import torch.nn.functional as F

    kernel, height, width = weight.shape[-1], rows.shape[2], rows.shape[3]
    down, across = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in (height, width))
    rows = F.pad(rows, (across // 2, across - across // 2, down // 2, down - down // 2))
    return F.conv2d(rows, weight, stride=stride, groups=groups)


def _norm(weights: Weights, name: str, rows: Tensor) -> Tensor:
    return rows * weights[f"{name}.factor"] + weights[f"{name}.summand"]
