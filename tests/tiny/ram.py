"""Tiny checkpoints of RAM, RAM++ and Tag2Text in the published layout, and what they should say.

Keys and shapes are written down here once more, apart from the code under test: the weights of a
published file at a hundredth of its width, with the captioning branch, the buffers and the
optimizer that lie in it too. `logits` runs such a state in plain numpy, window by window.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

KINDS = ("ram", "ram_plus", "tag2text")
TAGS = ("cat", "dog", "train", "red car", "train", "zoo")
"""Tag2Text's own list has words twice, too."""
CHANNELS, DEPTHS, HEADS, WINDOW, PATCH = 8, (2, 2, 1), (1, 2, 4), 4, 2
SIDE = PATCH * WINDOW * 2 ** (len(DEPTHS) - 1)
WIDTH, INNER, CONTEXT = 16, 24, 12
FEATURES = CHANNELS * 2 ** (len(DEPTHS) - 1)
Arrays = dict[str, Any]


def state(kind: str, seed: int = 0, old_names: bool = False) -> Arrays:
    """Numpy arrays by published key; `old_names` calls the decoder as Tag2Text once did."""
    random = np.random.default_rng([seed, KINDS.index(kind)])
    found: Arrays = {}
    for key, shape in _shapes(kind).items():
        scale = 1 / math.sqrt(max(1, shape[-1] if shape else 1))
        found[key] = random.normal(0, scale, shape).astype(np.float32)
        if key.endswith(("norm.weight", "norm1.weight", "norm2.weight", "LayerNorm.weight")):
            found[key] += 1
    found |= _buffers()
    old = {key.replace("tagging_head.", "vision_multi."): value for key, value in found.items()}
    return old if old_names else found


@cache
def checkpoint(kind: str) -> str:
    """Path of a `.pth` file as it is published: weights, optimizer, settings, epoch."""
    path = Path(mkdtemp(prefix=f"tiny-{kind}-")) / f"{kind}.pth"
    return save(state(kind), path)


def save(arrays: Arrays, path: Path) -> str:
    """Write a published file with these weights."""
    import torch

    weights = {key: torch.from_numpy(np.array(value)) for key, value in arrays.items()}
    optimizer = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-5}]}
    torch.save(
        {"model": weights, "optimizer": optimizer, "config": {"vit": "swin"}, "epoch": 1}, path
    )
    return str(path)


def logits(kind: str, arrays: Arrays, pixels: Any) -> Any:
    """Logits (tags,) for one image (3, side, side), by loops and matrix products alone."""
    tokens = swin(arrays, pixels)
    tokens = np.concatenate([tokens.mean(axis=0, keepdims=True), tokens])
    if kind == "tag2text":
        rows = arrays["label_embed.weight"]
    else:
        tokens = _linear(arrays, "image_proj", tokens)
        texts = arrays["label_embed"]
        if kind == "ram_plus":
            first = tokens[0] / np.linalg.norm(tokens[0])
            texts = np.stack(
                [
                    _softmax(np.exp(arrays["reweight_scale"]) * group @ first) @ group
                    for group in np.split(texts, len(TAGS))
                ]
            )
        rows = np.maximum(_linear(arrays, "wordvec_proj", texts), 0)
    for layer in range(2):
        name = f"tagging_head.encoder.layer.{layer}"
        query, key, value = (
            _linear(arrays, f"{name}.crossattention.self.{part}", of)
            for part, of in (("query", rows), ("key", tokens), ("value", tokens))
        )
        seen = np.concatenate(
            [
                _softmax(q @ k.T / math.sqrt(q.shape[1])) @ v
                for q, k, v in zip(
                    *(np.split(part, 4, axis=1) for part in (query, key, value)), strict=True
                )
            ],
            axis=1,
        )
        seen = _linear(arrays, f"{name}.crossattention.output.dense", seen)
        rows = _norm(arrays, f"{name}.crossattention.output.LayerNorm", seen + rows, 1e-12)
        inner = _gelu(_linear(arrays, f"{name}.intermediate.dense", rows))
        outer = _linear(arrays, f"{name}.output.dense", inner)
        rows = _norm(arrays, f"{name}.output.LayerNorm", outer + rows, 1e-12)
    if kind == "tag2text":
        return (rows * arrays["fc.W"][0]).sum(axis=1) + arrays["fc.b"][0]
    return _linear(arrays, "fc", rows)[:, 0]


def swin(arrays: Arrays, pixels: Any) -> Any:
    """Tokens (n, features) of one image (3, side, side), after the last norm."""
    root = "visual_encoder"
    grid = pixels.shape[1] // PATCH
    cut = pixels.reshape(3, grid, PATCH, grid, PATCH).transpose(1, 3, 0, 2, 4)
    kernel = arrays[f"{root}.patch_embed.proj.weight"].reshape(CHANNELS, -1)
    field = cut.reshape(grid, grid, -1) @ kernel.T + arrays[f"{root}.patch_embed.proj.bias"]
    field = _norm(arrays, f"{root}.patch_embed.norm", field)
    for stage, depth in enumerate(DEPTHS):
        for block in range(depth):
            name = f"{root}.layers.{stage}.blocks.{block}"
            # A stage that is a single window has nowhere to shift to.
            shift = WINDOW // 2 if block % 2 and len(field) > WINDOW else 0
            normed = _norm(arrays, f"{name}.norm1", field)
            field = field + _windows(arrays, f"{name}.attn", normed, HEADS[stage], shift)
            inner = _gelu(_linear(arrays, f"{name}.mlp.fc1", _norm(arrays, f"{name}.norm2", field)))
            field = field + _linear(arrays, f"{name}.mlp.fc2", inner)
        if stage + 1 < len(DEPTHS):
            name = f"{root}.layers.{stage}.downsample"
            # First down, then to the right.
            four = [field[0::2, 0::2], field[1::2, 0::2], field[0::2, 1::2], field[1::2, 1::2]]
            merged = _norm(arrays, f"{name}.norm", np.concatenate(four, axis=-1))
            field = merged @ arrays[f"{name}.reduction.weight"].T
    return _norm(arrays, f"{root}.norm", field).reshape(-1, FEATURES)


def _windows(arrays: Arrays, name: str, field: Any, heads: int, shift: int) -> Any:
    """Attention inside every window of a field (n, n, c) that is shifted up and to the left."""
    side, _, width = field.shape
    joint = _linear(arrays, f"{name}.qkv", np.roll(field, (-shift, -shift), (0, 1)))
    table = arrays[f"{name}.relative_position_bias_table"]
    span = np.arange(WINDOW)
    across = span[:, None] - span + WINDOW - 1
    # (row, column, row, column): how far apart in each direction, as a line of the table.
    places = across[:, None, :, None] * (2 * WINDOW - 1) + across[None, :, None, :]
    out = np.zeros_like(field)
    for top in range(0, side, WINDOW):
        for left in range(0, side, WINDOW):
            part = joint[top : top + WINDOW, left : left + WINDOW].reshape(WINDOW**2, 3, heads, -1)
            # What came in over one border does not look at what was there.
            rows, columns = (start + span >= side - shift for start in (top, left))
            origin = (2 * rows[:, None] + columns[None, :]).reshape(-1)
            apart = np.where(origin[:, None] == origin, 0.0, -100.0)
            seen = []
            for head in range(heads):
                q, k, v = part[:, 0, head], part[:, 1, head], part[:, 2, head]
                scores = q @ k.T / math.sqrt(q.shape[1])
                bias = table[places.reshape(WINDOW**2, WINDOW**2), head]
                seen.append(_softmax(scores + bias + apart) @ v)
            done = _linear(arrays, f"{name}.proj", np.concatenate(seen, axis=1))
            out[top : top + WINDOW, left : left + WINDOW] = done.reshape(WINDOW, WINDOW, width)
    return np.roll(out, (shift, shift), (0, 1))


def _linear(arrays: Arrays, name: str, rows: Any) -> Any:
    return rows @ arrays[f"{name}.weight"].T + arrays[f"{name}.bias"]


def _norm(arrays: Arrays, name: str, rows: Any, eps: float = 1e-5) -> Any:
    centred = rows - rows.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + eps)
    return scaled * arrays[f"{name}.weight"] + arrays[f"{name}.bias"]


def _softmax(scores: Any) -> Any:
    raised = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def _gelu(rows: Any) -> Any:
    from scipy.special import erf

    return rows * (1 + erf(rows / math.sqrt(2))) / 2


def _shapes(kind: str) -> dict[str, tuple[int, ...]]:
    """Learned weights by published key, the captioning branch by two of its keys."""
    root, head = "visual_encoder", "tagging_head.encoder.layer"
    context = FEATURES if kind == "tag2text" else CONTEXT
    linear = {f"{root}.patch_embed.proj": (CHANNELS, 3, PATCH, PATCH)}
    norms = {f"{root}.patch_embed.norm": CHANNELS, f"{root}.norm": FEATURES}
    plain: dict[str, tuple[int, ...]] = {}
    for stage, depth in enumerate(DEPTHS):
        width = CHANNELS * 2**stage
        for block in range(depth):
            name = f"{root}.layers.{stage}.blocks.{block}"
            norms |= {f"{name}.norm1": width, f"{name}.norm2": width}
            linear[f"{name}.attn.qkv"] = (3 * width, width)
            linear[f"{name}.attn.proj"] = (width, width)
            linear[f"{name}.mlp.fc1"] = (4 * width, width)
            linear[f"{name}.mlp.fc2"] = (width, 4 * width)
            places = (2 * WINDOW - 1) ** 2
            plain[f"{name}.attn.relative_position_bias_table"] = (places, HEADS[stage])
        if stage + 1 < len(DEPTHS):
            norms[f"{root}.layers.{stage}.downsample.norm"] = 4 * width
            plain[f"{root}.layers.{stage}.downsample.reduction.weight"] = (2 * width, 4 * width)
    for layer in range(2):
        cross = f"{head}.{layer}.crossattention"
        linear[f"{cross}.self.query"] = (WIDTH, WIDTH)
        linear |= {f"{cross}.self.{part}": (WIDTH, context) for part in ("key", "value")}
        linear[f"{cross}.output.dense"] = (WIDTH, WIDTH)
        linear[f"{head}.{layer}.intermediate.dense"] = (INNER, WIDTH)
        linear[f"{head}.{layer}.output.dense"] = (WIDTH, INNER)
        norms |= {f"{cross}.output.LayerNorm": WIDTH, f"{head}.{layer}.output.LayerNorm": WIDTH}
    if kind == "tag2text":
        plain |= {"label_embed.weight": (len(TAGS), WIDTH)}
        plain |= {"fc.W": (1, len(TAGS), WIDTH), "fc.b": (1, len(TAGS))}
    else:
        linear |= {"image_proj": (CONTEXT, FEATURES), "wordvec_proj": (WIDTH, CONTEXT)}
        linear["fc"] = (1, WIDTH)
        plain["label_embed"] = (len(TAGS) * (51 if kind == "ram_plus" else 1), CONTEXT)
    if kind == "ram_plus":
        plain["reweight_scale"] = ()
    else:
        plain["tag_encoder.embeddings.word_embeddings.weight"] = (7, WIDTH)
        plain["text_decoder.cls.predictions.bias"] = (7,)
    for name, shape in linear.items():
        plain |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for name, size in norms.items():
        plain |= {f"{name}.weight": (size,), f"{name}.bias": (size,)}
    return plain


def _buffers() -> Arrays:
    """What the published modules keep beside their weights; its content is never looked at."""
    found: Arrays = {}
    for stage, depth in enumerate(DEPTHS):
        windows = (SIDE // PATCH // 2**stage // WINDOW) ** 2
        for block in range(depth):
            name = f"visual_encoder.layers.{stage}.blocks.{block}"
            found[f"{name}.attn.relative_position_index"] = np.zeros((WINDOW**2, WINDOW**2), int)
            if block % 2 and windows > 1:
                found[f"{name}.attn_mask"] = np.zeros((windows, WINDOW**2, WINDOW**2), np.float32)
    return found
