"""A loaded MDETR: from pixels and tokens to boxes and what each of them means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stages.mdetr import convolutions, transformer
from stages.mdetr.layout import Design

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PAD = 1
"""RoBERTa's filling token; its positions are counted from behind it."""
_RESIZER_EPS = 1e-12


@dataclass(frozen=True)
class Seen:
    """Tokens of one image (n, d), and where they are (n, d)."""

    tokens: Tensor
    places: Tensor


@dataclass(frozen=True)
class Network:
    """Weights by published key, norms of the backbone `folded`, and the text encoder."""

    design: Design
    weights: Mapping[str, Tensor]
    text: Any
    """transformers' RobertaModel."""
    device: str
    dtype: torch.dtype

    def look(self, pixels: Tensor) -> list[Seen]:
        """Tokens of images of one shape, (b, 3, h, w), scaled and in ImageNet's units."""
        import torch.nn.functional as F

        field = convolutions.features(self.design.backbone, self.weights, pixels)
        weight, bias = self.weights["input_proj.weight"], self.weights["input_proj.bias"]
        field = F.conv2d(field, weight, bias)
        places = transformer.positions(field.shape[2], field.shape[3], self.design.width)
        places = places.to(field)
        return [Seen(tokens, places) for tokens in field.flatten(2).transpose(1, 2)]

    def answer(
        self, images: Sequence[Seen], texts: Sequence[Sequence[int]]
    ) -> tuple[Tensor, Tensor]:
        """Boxes for pairs of image and text, and what in the text each means.

        Args:
            images: one per text.
            texts: token ids with both ends.

        Returns:
            boxes: (b, queries, 4), centre, width, height as shares of the image, float32.
            meant: (b, queries, positions), probabilities of each position of the text, and of
                nothing at the end, float32. Rows sum to 1.
        """
        words, read = self._read(texts)
        tokens, places, seen = self._side_by_side(images)
        import torch

        tokens = torch.cat([tokens, words], dim=1)
        places = torch.cat([places, torch.zeros_like(words)], dim=1)
        real = torch.cat([seen, read], dim=1)
        memory = transformer.encode(self.weights, tokens, places, real, self.design.encoder)
        queries = self.weights["query_embed.weight"]
        if self.design.answers:
            queries = torch.cat([queries, self.weights["qa_embed.weight"]])
        found = transformer.decode(
            self.weights, memory, places, real, queries, self.design.decoder
        )[:, : self.design.queries]
        return self._boxes(found), self._linear("class_embed", found).float().softmax(dim=-1)

    def _read(self, texts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Tokens of texts (b, t, d), and which of them are real (b, t)."""
        import torch

        longest = max(len(text) for text in texts)
        rows = [[*text, *[PAD] * (longest - len(text))] for text in texts]
        known = [[n < len(text) for n in range(longest)] for text in texts]
        real = torch.tensor(known, device=self.device)
        ids = torch.tensor(rows, device=self.device)
        words = self.text(input_ids=ids, attention_mask=real.long()).last_hidden_state
        words = self._linear("transformer.resizer.fc", words)
        name = "transformer.resizer.layer_norm"
        return transformer.norm(self.weights, name, words, _RESIZER_EPS), real

    def _side_by_side(self, images: Sequence[Seen]) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens and places (b, n, d) of images of any shape, and which are real (b, n)."""
        import torch
        from torch.nn.utils.rnn import pad_sequence

        sizes = torch.tensor([len(image.tokens) for image in images], device=self.device)
        tokens = pad_sequence([image.tokens for image in images], batch_first=True)
        places = pad_sequence([image.places for image in images], batch_first=True)
        return tokens, places, torch.arange(tokens.shape[1], device=self.device) < sizes[:, None]

    def _boxes(self, found: Tensor) -> Tensor:
        for layer in range(2):
            found = self._linear(f"bbox_embed.layers.{layer}", found).relu()
        return self._linear("bbox_embed.layers.2", found).float().sigmoid()

    def _linear(self, name: str, rows: Tensor) -> Tensor:
        return transformer.linear(self.weights, name, rows)


def roberta(model: Design) -> Any:
    """A `RobertaModel` of the sizes of `model`, without weights of its own, for evaluation."""
    import transformers

    text = model.text
    config = transformers.RobertaConfig(
        vocab_size=text.words,
        hidden_size=text.width,
        intermediate_size=text.inner,
        num_hidden_layers=text.layers,
        # Heads of RoBERTa have 64 channels at every size.
        num_attention_heads=text.width // 64,
        max_position_embeddings=text.places,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        pad_token_id=PAD,
        bos_token_id=0,
        eos_token_id=2,
    )
    return transformers.RobertaModel(config, add_pooling_layer=False).eval()
