"""Image taggers of the RAM family: RAM, RAM++ and Tag2Text, from their published `.pth` files.

A Swin looks at the image; a decoder of two layers lets every tag look at the image's tokens and
answers yes or no for each tag by itself. Tags do not see each other (Query2Label,
arXiv:2107.10834). RAM: arXiv:2306.03514; RAM++: arXiv:2310.15200; Tag2Text: arXiv:2303.05657.
Only tagging is here; the captions of Tag2Text are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grand_pipeline import weights
from grand_pipeline.types import FloatArray
from stages import device, published, ram_layout, ram_swin
from stages.ram_layout import Design

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

SUFFIX = ".pth"
HEADS = 4
"""Of the decoder's attention; no shape tells their number."""
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
_EPS = 1e-12
_AT_ONCE = 32
_FETCH = (
    "Fetch ram_swin_large_14m.pth, ram_plus_swin_large_14m.pth or tag2text_swin_14m.pth from the "
    "pages that github.com/xinyu1205/recognize-anything links, and give the path"
)


@dataclass(frozen=True)
class Tagger:
    """A loaded model; its weights have `dtype`, its probabilities are always float32."""

    design: Design
    swin: Any
    weights: Mapping[str, Tensor]
    """By their published names, those of the Swin left out."""
    device: str
    dtype: str = "float32"

    def chances(self, images: Sequence[Image]) -> FloatArray:
        """Probability of every tag in every image: (b, tags), in the checkpoint's order."""
        import torch

        def judged(part: Sequence[Image]) -> list[FloatArray]:
            with torch.inference_mode():
                return list(self._logits(self._pixels(part)).float().sigmoid().cpu().numpy())

        rows = device.in_parts(images, _AT_ONCE, judged)
        return np.array(rows, np.float32).reshape(-1, self.design.tags)

    def _pixels(self, images: Sequence[Image]) -> Tensor:
        """(b, 3, side, side): squashed to the square, bilinear, as the models were trained."""
        import torch
        from PIL.Image import Resampling

        size = (self.design.side, self.design.side)
        small = [image.convert("RGB").resize(size, Resampling.BILINEAR) for image in images]
        raw = torch.from_numpy(np.stack([np.asarray(image) for image in small]))
        pixels = device.placed(raw, self.device).permute(0, 3, 1, 2).float() / 255
        mean, spread = (torch.tensor(x, device=self.device).view(3, 1, 1) for x in (MEAN, STD))
        return ((pixels - mean) / spread).to(getattr(torch, self.dtype))

    def _logits(self, pixels: Tensor) -> Tensor:
        """(b, tags)."""
        import torch

        tokens = self.swin(pixels).last_hidden_state
        tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1)
        if self.design.kind != "tag2text":
            tokens = self._linear(tokens, "image_proj")
        queries = self._labels(tokens[:, 0])
        for layer in range(ram_layout.DECODER_LAYERS):
            queries = self._layer(queries, tokens, f"tagging_head.encoder.layer.{layer}")
        if self.design.kind == "tag2text":
            return (queries * self.weights["fc.W"]).sum(dim=-1) + self.weights["fc.b"]
        return self._linear(queries, "fc").squeeze(-1)

    def _labels(self, whole: Tensor) -> Tensor:
        """What stands for each tag, (1, tags, w), or (b, tags, w) where the image has a say.

        RAM++ has several texts per tag; those nearer to the image as a whole (b, c) weigh more.
        """
        if self.design.kind == "tag2text":
            return self.weights["label_embed.weight"][None]
        texts = self.weights["label_embed"]
        if self.design.kind == "ram_plus":
            near = whole / whole.norm(dim=-1, keepdim=True) @ texts.T
            near = near * self.weights["reweight_scale"].exp()
            shares = near.reshape(len(whole), self.design.tags, -1).softmax(dim=-1)
            grouped = texts.reshape(self.design.tags, -1, texts.shape[-1])
            # (tags, b, texts) @ (tags, texts, c), so that no (b, tags, texts, c) is ever made.
            texts = (shares.transpose(0, 1) @ grouped).transpose(0, 1)
        else:
            texts = texts[None]
        return self._linear(texts, "wordvec_proj").relu()

    def _layer(self, queries: Tensor, tokens: Tensor, name: str) -> Tensor:
        """One layer of a BERT decoder without its self-attention: (b, tags, w)."""
        import torch.nn.functional as F

        cross = f"{name}.crossattention"
        found = F.scaled_dot_product_attention(
            self._heads(self._linear(queries, f"{cross}.self.query"), len(tokens)),
            self._heads(self._linear(tokens, f"{cross}.self.key"), len(tokens)),
            self._heads(self._linear(tokens, f"{cross}.self.value"), len(tokens)),
        )
        seen = self._linear(found.transpose(1, 2).flatten(2), f"{cross}.output.dense")
        queries = self._norm(seen + queries, f"{cross}.output.LayerNorm")
        inner = F.gelu(self._linear(queries, f"{name}.intermediate.dense"))
        return self._norm(
            self._linear(inner, f"{name}.output.dense") + queries, f"{name}.output.LayerNorm"
        )

    def _heads(self, rows: Tensor, batch: int) -> Tensor:
        """(1 or b, n, w) to (b, heads, n, w / heads)."""
        apart = rows.reshape(*rows.shape[:2], HEADS, -1).transpose(1, 2)
        return apart.expand(batch, -1, -1, -1)

    def _linear(self, rows: Tensor, name: str) -> Tensor:
        import torch.nn.functional as F

        return F.linear(rows, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, rows: Tensor, name: str) -> Tensor:
        import torch.nn.functional as F

        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return F.layer_norm(rows, weight.shape, weight, bias, _EPS)


def is_checkpoint(model: str) -> bool:
    """Whether `model` names a file of this family rather than a folder or a hub id."""
    return model.endswith(SUFFIX)


def load(model: str, device: str, dtype: str = "float32") -> Tagger:
    """Load a published checkpoint, for example ram_swin_large_14m.pth.

    Raises SettingsError for a file that is not there, can not be read safely, or holds anything
    but exactly the published layout (see `ram_layout.UNUSED` for what is left aside on purpose).
    """
    import torch

    path = Path(weights.resolve(model)).expanduser()
    where = f"model file '{model}'"
    state = {
        ram_layout.renamed(key): value
        for key, value in published.state(path, where, _FETCH).items()
    }
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    design = ram_layout.design(shapes, where)
    ram_layout.check(shapes, design, where)
    kind = getattr(torch, dtype)
    return Tagger(
        design,
        ram_swin.load(design, _needed(state, design)).to(device, kind),
        {
            key: value.to(device, kind)
            for key, value in _needed(state, design).items()
            if not key.startswith(ram_swin.ROOT)
        },
        device,
        dtype,
    )


def _needed(state: Mapping[str, Tensor], design: Design) -> dict[str, Tensor]:
    return {key: state[key] for key in ram_layout.weights(design)}
