"""Tiny MDETR checkpoints in the published layout, and what they should say.

`Reference` is the published architecture once more, of torch's own modules and apart from the code
under test: the names of its attributes make the published keys, and `forward` runs one image and
one text, without batches, padding or masks.
"""

from __future__ import annotations

import argparse
import math
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.tiny.words import roberta_tokenizer

KINDS = ("resnet", "efficientnet")
WIDTH, INNER, LAYERS, QUERIES, POSITIONS = 32, 48, 2, 10, 64
TEXT_WIDTH, TEXT_PLACES = 64, 80
STEM, BLOCKS = 4, (1, 2, 1, 1)
STAGES = (
    *((2, 8, 3, 1, 1), (2, 8, 3, 6, 2), (1, 12, 5, 6, 2), (1, 12, 3, 6, 2)),
    *((1, 16, 5, 6, 1), (2, 16, 5, 6, 2), (1, 20, 3, 6, 1)),
)
"""Blocks, channels, kernel, widening, stride."""
TEXT = "transformer.text_encoder."
State = dict[str, Tensor]


@cache
def reference(kind: str, answers: int = 0) -> Any:
    """The published architecture with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(KINDS.index(kind) + 10 * answers)
        model: Any = Reference(kind, answers).eval()
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    for value in (module.weight, module.running_var):
                        assert value is not None
                        value.uniform_(0.5, 1.5)
                    for value in (module.bias, module.running_mean):
                        assert value is not None
                        value.normal_(0, 0.2)
            model.class_embed.weight.mul_(5)
            model.bbox_embed.layers[-1].weight.mul_(10)
    return model


def state(kind: str, answers: int = 0) -> State:
    """Published weights: without counters, which its norms do not have."""
    found = reference(kind, answers).state_dict()
    return {
        **{k: v.clone() for k, v in found.items() if not k.endswith("num_batches_tracked")},
        f"{TEXT}embeddings.position_ids": torch.arange(TEXT_PLACES)[None],
    }


@cache
def checkpoint(kind: str, answers: int = 0) -> str:
    """Path of a `.pth` file as it is published, its tokenizer beside it."""
    folder = Path(mkdtemp(prefix=f"tiny-mdetr-{kind}-"))
    roberta_tokenizer().save_pretrained(folder)
    return save(state(kind, answers), folder / f"{kind}.pth")


def save(weights: State, path: Path) -> str:
    """Write a published file with these weights."""
    table = {
        "model": weights,
        "model_ema": {key: torch.zeros_like(value) for key, value in weights.items()},
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-5}]},
        "epoch": 3,
        "args": argparse.Namespace(backbone="resnet101", lr=1e-4, masks=False, coco_path=None),
    }
    torch.save(table, path)
    return str(path)


class Reference(nn.Module):
    """MDETR as its repository names its parts."""

    def __init__(self, kind: str, answers: int = 0) -> None:
        super().__init__()
        body = _resnet() if kind == "resnet" else _efficientnet()
        self.backbone = nn.ModuleList([nn.ModuleDict({"body": body})])
        channels = STEM * 8 * 4 if kind == "resnet" else STAGES[-1][1]
        self.kind = kind
        self.input_proj = nn.Conv2d(channels, WIDTH, 1)
        self.query_embed = nn.Embedding(QUERIES, WIDTH)
        if answers:
            self.qa_embed = nn.Embedding(answers, WIDTH)
            self.answer_obj_head = nn.Linear(WIDTH, 3)
        self.transformer = _transformer()
        self.class_embed = nn.Linear(WIDTH, POSITIONS)
        sizes = (WIDTH, WIDTH, WIDTH, 4)
        layers = [nn.Linear(a, b) for a, b in pairwise(sizes)]
        self.bbox_embed = nn.ModuleDict({"layers": nn.ModuleList(layers)})
        self.contrastive_align_projection_image = nn.Linear(WIDTH, 6)
        self.contrastive_align_projection_text = nn.Linear(WIDTH, 6)

    def forward(self, pixels: Tensor, ids: list[int]) -> tuple[Tensor, Tensor]:
        """Boxes (queries, 4) and probabilities (queries, positions) for (3, h, w) and one text."""
        parts: Any = self
        body = parts.backbone[0]["body"]
        run = _run_resnet if self.kind == "resnet" else _run_efficientnet
        field = self.input_proj(run(body, pixels[None]))[0]
        places = torch.cat([places_of(*field.shape[1:]), torch.zeros(len(ids), WIDTH)])
        inside = parts.transformer
        words = inside["text_encoder"](torch.tensor([ids])).last_hidden_state[0]
        words = inside["resizer"]["layer_norm"](inside["resizer"]["fc"](words))
        rows = torch.cat([field.flatten(1).T, words])
        for layer in inside["encoder"]["layers"]:
            rows = encoder_layer(layer, rows, places)
        asked = parts.query_embed.weight
        if hasattr(self, "qa_embed"):
            asked = torch.cat([asked, parts.qa_embed.weight])
        found = torch.zeros_like(asked)
        for layer in inside["decoder"]["layers"]:
            found = decoder_layer(layer, found, asked, rows, places)
        found = inside["decoder"]["norm"](found)[:QUERIES]
        chances = self.class_embed(found).softmax(dim=1)
        first, second, third = parts.bbox_embed["layers"]
        return third(second(first(found).relu()).relu()).sigmoid(), chances


def encoder_layer(layer: Any, rows: Tensor, places: Tensor) -> Tensor:
    """One layer of DETR's encoder on (n, d)."""
    seen, _ = layer["self_attn"](rows + places, rows + places, rows)
    rows = layer["norm1"](rows + seen)
    out: Tensor = layer["norm2"](rows + layer["linear2"](layer["linear1"](rows).relu()))
    return out


def decoder_layer(layer: Any, found: Tensor, asked: Tensor, rows: Tensor, places: Tensor) -> Tensor:
    """One layer of DETR's decoder: queries (q, d) look at rows (n, d)."""
    seen, _ = layer["self_attn"](found + asked, found + asked, found)
    found = layer["norm1"](found + seen)
    seen, _ = layer["cross_attn_image"](found + asked, rows + places, rows)
    found = layer["norm3"](found + seen)
    out: Tensor = layer["norm4"](found + layer["linear2"](layer["linear1"](found).relu()))
    return out


def places_of(height: int, width: int, channels: int = WIDTH) -> Tensor:
    """DETR's sine embedding, number by number: (height * width, channels)."""
    half = channels // 2
    found = torch.zeros(height, width, channels)
    for y in range(height):
        for x in range(width):
            for i in range(half):
                wave = 10_000 ** (2 * (i // 2) / half)
                wind = math.cos if i % 2 else math.sin
                found[y, x, i] = wind((y + 1) / (height + 1e-6) * 2 * math.pi / wave)
                found[y, x, half + i] = wind((x + 1) / (width + 1e-6) * 2 * math.pi / wave)
    return found.flatten(0, 1)


def _transformer() -> Any:
    from transformers import RobertaConfig, RobertaModel

    def layer(attentions: tuple[str, ...], norms: tuple[str, ...]) -> Any:
        return nn.ModuleDict(
            {
                **{name: nn.MultiheadAttention(WIDTH, 8) for name in attentions},
                **{name: nn.LayerNorm(WIDTH) for name in norms},
                "linear1": nn.Linear(WIDTH, INNER),
                "linear2": nn.Linear(INNER, WIDTH),
            }
        )

    encoder = [layer(("self_attn",), ("norm1", "norm2")) for _ in range(LAYERS)]
    both = ("self_attn", "cross_attn_image")
    decoder = [layer(both, ("norm1", "norm3", "norm4")) for _ in range(LAYERS)]
    config = RobertaConfig(
        vocab_size=len(roberta_tokenizer()),
        hidden_size=TEXT_WIDTH,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=1,
        max_position_embeddings=TEXT_PLACES,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        # Small random words would all look alike.
        initializer_range=0.2,
    )
    resizer = {"fc": nn.Linear(TEXT_WIDTH, WIDTH), "layer_norm": nn.LayerNorm(WIDTH, eps=1e-12)}
    return nn.ModuleDict(
        {
            "encoder": nn.ModuleDict({"layers": nn.ModuleList(encoder)}),
            "decoder": nn.ModuleDict(
                {"layers": nn.ModuleList(decoder), "norm": nn.LayerNorm(WIDTH)}
            ),
            "text_encoder": RobertaModel(config),
            "resizer": nn.ModuleDict(resizer),
        }
    )


def _conv(into: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(into, out, kernel, stride, kernel // 2, groups=groups, bias=False)


def _resnet() -> Any:
    found: dict[str, Any] = {"conv1": _conv(3, STEM, 7, 2), "bn1": nn.BatchNorm2d(STEM)}
    into = STEM
    for stage, blocks in enumerate(BLOCKS):
        rows = []
        for block in range(blocks):
            inner, stride = STEM * 2**stage, 2 if stage and not block else 1
            parts: dict[str, Any] = {"conv1": _conv(into, inner, 1)}
            parts |= {"conv2": _conv(inner, inner, 3, stride), "conv3": _conv(inner, 4 * inner, 1)}
            norms = zip(("bn1", "bn2", "bn3"), (inner, inner, 4 * inner), strict=True)
            parts |= {name: nn.BatchNorm2d(size) for name, size in norms}
            if not block:
                side = (_conv(into, 4 * inner, 1, stride), nn.BatchNorm2d(4 * inner))
                parts["downsample"] = nn.Sequential(*side)
            rows.append(nn.ModuleDict(parts))
            into = 4 * inner
        found[f"layer{stage + 1}"] = nn.ModuleList(rows)
    return nn.ModuleDict(found)


def _run_resnet(body: Any, rows: Tensor) -> Tensor:
    rows = F.max_pool2d(body["bn1"](body["conv1"](rows)).relu(), 3, 2, 1)
    for stage in range(len(BLOCKS)):
        for block in body[f"layer{stage + 1}"]:
            inner = block["bn1"](block["conv1"](rows)).relu()
            inner = block["bn2"](block["conv2"](inner)).relu()
            inner = block["bn3"](block["conv3"](inner))
            kept = block["downsample"](rows) if "downsample" in block else rows
            rows = (inner + kept).relu()
    return rows


def _efficientnet() -> Any:
    into, stages = 2 * STEM, []
    for blocks, out, kernel, widen, stride in STAGES:
        rows = []
        for block in range(blocks):
            inner = into * widen
            gate = {
                "conv_reduce": nn.Conv2d(inner, max(1, into // 4), 1),
                "conv_expand": nn.Conv2d(max(1, into // 4), inner, 1),
            }
            parts: dict[str, Any] = {"se": nn.ModuleDict(gate)}
            parts["conv_dw"] = _conv(inner, inner, kernel, 1 if block else stride, inner)
            if widen > 1:
                parts |= {"conv_pw": _conv(into, inner, 1), "conv_pwl": _conv(inner, out, 1)}
                parts |= {"bn1": nn.BatchNorm2d(inner), "bn2": nn.BatchNorm2d(inner)}
                parts["bn3"] = nn.BatchNorm2d(out)
            else:
                parts |= {"conv_pw": _conv(inner, out, 1)}
                parts |= {"bn1": nn.BatchNorm2d(inner), "bn2": nn.BatchNorm2d(out)}
            rows.append(nn.ModuleDict(parts))
            into = out
        stages.append(nn.ModuleList(rows))
    stem, bn1 = _conv(3, 2 * STEM, 3, 2), nn.BatchNorm2d(2 * STEM)
    return nn.ModuleDict({"conv_stem": stem, "bn1": bn1, "blocks": nn.ModuleList(stages)})


def _run_efficientnet(body: Any, rows: Tensor) -> Tensor:
    rows = F.silu(body["bn1"](_as_tensorflow(body["conv_stem"], rows)))
    for stage in body["blocks"]:
        for block in stage:
            inner = rows
            if "conv_pwl" in block:
                inner = F.silu(block["bn1"](block["conv_pw"](inner)))
            norm = block["bn2" if "conv_pwl" in block else "bn1"]
            inner = F.silu(norm(_as_tensorflow(block["conv_dw"], inner)))
            gate = block["se"]["conv_reduce"](inner.mean(dim=(2, 3), keepdim=True))
            inner = inner * block["se"]["conv_expand"](F.silu(gate)).sigmoid()
            if "conv_pwl" in block:
                inner = block["bn3"](block["conv_pwl"](inner))
            else:
                inner = block["bn2"](block["conv_pw"](inner))
            alike = block["conv_dw"].stride == (1, 1) and inner.shape == rows.shape
            rows = inner + rows if alike else inner
    return rows


def _as_tensorflow(conv: Any, rows: Tensor) -> Tensor:
    """A convolution with padding "SAME", as TensorFlow's documentation defines it."""
    (kernel, _), (stride, _) = conv.kernel_size, conv.stride
    pads = []
    for side in (rows.shape[3], rows.shape[2]):
        total = max(kernel - (side % stride or stride), 0)
        pads += [total // 2, total - total // 2]
    return F.conv2d(F.pad(rows, pads), conv.weight, stride=stride, groups=conv.groups)
