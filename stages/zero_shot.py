"""Zero-shot comparison of images with texts by a two-tower model of the CLIP or SigLIP kind.

`ZeroShot` is what stages use. The towers are transformers' (CLIP, SigLIP, SigLIP 2), or those of
the package open_clip (`stages.open_clip`), which has EVA-02-CLIP.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from stages import device, hub, open_clip
from stages.crops import workable

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


_CACHE_LIMIT = 20_000
_LISTS_LIMIT = 8
_CHUNK = 256
_PIXELS = 32 * 2**20


class Towers(Protocol):
    """A loaded model. Its embeddings are float32, of any length."""

    @property
    def side(self) -> int:
        """Pixels of the square input, or of a square of as many pixels."""

    @property
    def scale(self) -> Tensor:
        """What the product of unit embeddings is multiplied with."""

    @property
    def bias(self) -> Tensor | None:
        """What is then added, in a model that judges every text by itself."""

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings (n, d)."""

    def images(self, images: Sequence[Image]) -> Tensor:
        """Embeddings (b, d)."""


@dataclass(frozen=True)
class Pretrained:
    """CLIP, SigLIP or SigLIP 2 as transformers has them."""

    model: Any
    processor: Any
    device: str

    @property
    def side(self) -> int:
        """Pixels of the square input, or of a square of as many pixels."""
        vision = self.model.config.vision_config
        if hasattr(vision, "image_size"):
            return int(vision.image_size)
        return int(vision.patch_size * vision.num_patches**0.5)

    @property
    def scale(self) -> Tensor:
        """Of the logits."""
        scale: Tensor = self.model.logit_scale.detach().float().exp()
        return scale

    @property
    def bias(self) -> Tensor | None:
        """Of the logits; a CLIP has none."""
        bias: Tensor | None = getattr(self.model, "logit_bias", None)
        return None if bias is None else bias.detach().float()

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings (n, d); texts that are too long are cut."""
        tokenizer = self.processor.tokenizer
        inputs = tokenizer(
            list(texts),
            # SigLIP was trained on texts padded to full length, and reads others wrongly.
            padding="max_length" if self.bias is not None else True,
            truncation=True,
            # Some checkpoints' tokenizers know no limit, and would then neither pad nor cut.
            max_length=min(
                tokenizer.model_max_length, self.model.config.text_config.max_position_embeddings
            ),
            return_tensors="pt",
        )
        names = tokenizer.model_input_names
        kept = {name: device.placed(inputs[name], self.device) for name in names if name in inputs}
        return _embeddings(self.model.get_text_features(**kept))

    def images(self, images: Sequence[Image]) -> Tensor:
        """Embeddings (b, d)."""
        # Beside the pixels, processors that keep the aspect ratio give masks and shapes.
        inputs = self.processor.image_processor(images=list(images), return_tensors="pt")
        kept = {
            name: device.placed(value, self.device, self.model.dtype)
            for name, value in inputs.items()
        }
        return _embeddings(self.model.get_image_features(**kept))


@dataclass(frozen=True)
class ZeroShot:
    """A loaded two-tower model that remembers the embeddings of texts it has seen."""

    towers: Towers
    _texts: dict[str, Tensor] = field(default_factory=dict, repr=False)
    _lists: dict[tuple[str, ...], Tensor] = field(default_factory=dict, repr=False)

    @property
    def sigmoid(self) -> bool:
        """Tells a SigLIP (every text judged by itself) from a CLIP (texts compete)."""
        return self.towers.bias is not None

    def remember(self, texts: Iterable[str]) -> None:
        """Encode the texts not seen before."""
        import torch

        asked = list(dict.fromkeys(texts))
        new = [text for text in asked if text not in self._texts]
        if new and len(self._texts) + len(new) > _CACHE_LIMIT:
            self._texts.clear()
            new = asked

        def embedded(part: Sequence[str]) -> list[Tensor]:
            with torch.inference_mode():
                return list(_unit(self.towers.texts(part)))

        self._texts.update(zip(new, device.in_parts(new, _CHUNK, embedded), strict=True))

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Unit text embeddings (n, d)."""
        import torch

        key = tuple(texts)
        if key not in self._lists:
            self.remember(key)
            if len(self._lists) >= _LISTS_LIMIT:
                self._lists.clear()
            self._lists[key] = torch.stack([self._texts[text] for text in key])
        return self._lists[key]

    def images(self, images: Sequence[Image]) -> Tensor:
        """Unit image embeddings (b, d), as many at once as a bound on pixels allows."""
        import torch

        def embedded(part: Sequence[Image]) -> list[Tensor]:
            with torch.inference_mode():
                return list(_unit(self.towers.images([workable(image) for image in part])))

        most = max(1, min(_CHUNK, _PIXELS // self.towers.side**2))
        return torch.stack(device.in_parts(images, most, embedded))

    def logits(self, images: Tensor, texts: Tensor) -> Tensor:
        """The model's own logits (b, n) for unit embeddings."""
        import torch

        with torch.inference_mode():
            found = images @ texts.T * self.towers.scale
            bias = self.towers.bias
            return found if bias is None else found + bias

    def choice(self, images: Tensor, texts: Tensor) -> Tensor:
        """Probabilities (b, n) that sum to 1 over the texts: which one fits best."""
        return self.logits(images, texts).softmax(dim=-1)


def load(model: str, device: str, dtype: hub.Dtype = "float32") -> ZeroShot:
    """Load a CLIP or SigLIP checkpoint, or one of open_clip.

    Raises as `hub.pretrained` and `open_clip.load` do.
    """
    if open_clip.is_named(model):
        return ZeroShot(open_clip.load(model, device, dtype))
    live = hub.pretrained("AutoModel", model, device, dtype)
    return ZeroShot(Pretrained(live, hub.preprocessor("AutoProcessor", model), device))


def _embeddings(features: Any) -> Tensor:
    # Older releases of the library return the tensor itself.
    rows: Tensor = getattr(features, "pooler_output", features)
    return rows.float()


def _unit(rows: Tensor) -> Tensor:
    lengths: Tensor = rows.norm(dim=-1, keepdim=True)
    return rows / lengths.clamp(min=1e-12)
