"""Zero-shot comparison of images with texts by a two-tower model of the CLIP or SigLIP kind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stages import hub
from stages.crops import workable

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

_CACHE_LIMIT = 20_000
_CHUNK = 256


@dataclass(frozen=True)
class ZeroShot:
    """A loaded two-tower model that remembers the embeddings of texts it has seen.

    `sigmoid` tells a SigLIP (every text judged by itself) from a CLIP (texts compete).
    """

    model: Any
    processor: Any
    device: str
    sigmoid: bool
    _texts: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def remember(self, texts: Iterable[str]) -> None:
        """Encode the texts not seen before."""
        import torch

        asked = list(dict.fromkeys(texts))
        if len(self._texts) + len(asked) > _CACHE_LIMIT:
            self._texts.clear()
        new = [text for text in asked if text not in self._texts]
        for start in range(0, len(new), _CHUNK):
            part = new[start : start + _CHUNK]
            inputs = self.processor.tokenizer(
                part,
                # SigLIP was trained on texts padded to full length, and reads others wrongly.
                padding="max_length" if self.sigmoid else True,
                truncation=True,
                return_tensors="pt",
            )
            names = self.processor.tokenizer.model_input_names
            kept = {name: inputs[name].to(self.device) for name in names if name in inputs}
            with torch.inference_mode():
                rows = _unit(self.model.get_text_features(**kept))
            self._texts.update(zip(part, rows, strict=True))

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Unit text embeddings (n, d)."""
        import torch

        self.remember(texts)
        return torch.stack([self._texts[text] for text in texts])

    def images(self, images: Sequence[Image]) -> Tensor:
        """Unit image embeddings (b, d)."""
        import torch

        rows = []
        for start in range(0, len(images), _CHUNK):
            part = [workable(image) for image in images[start : start + _CHUNK]]
            # Beside the pixels, processors that keep the aspect ratio give masks and shapes.
            inputs = self.processor.image_processor(images=part, return_tensors="pt")
            with torch.inference_mode():
                rows.append(_unit(self.model.get_image_features(**inputs.to(self.device))))
        return torch.cat(rows)

    def logits(self, images: Tensor, texts: Tensor) -> Tensor:
        """The model's own logits (b, n) for unit embeddings."""
        import torch

        with torch.inference_mode():
            found = images @ texts.T * self.model.logit_scale.exp()
            logits: Tensor = found + self.model.logit_bias if self.sigmoid else found
            return logits

    def choice(self, images: Tensor, texts: Tensor) -> Tensor:
        """Probabilities (b, n) that sum to 1 over the texts: which one fits best."""
        return self.logits(images, texts).softmax(dim=-1)


def load(model: str, device: str) -> ZeroShot:
    """Load a CLIP or SigLIP checkpoint. Raises as `hub.pretrained` does."""
    live = hub.pretrained("AutoModel", model, device)
    processor = hub.preprocessor("AutoProcessor", model)
    return ZeroShot(live, processor, device, sigmoid=hasattr(live, "logit_bias"))


def _unit(features: Any) -> Tensor:
    # Older releases of the library return the tensor itself.
    rows: Tensor = getattr(features, "pooler_output", features)
    lengths: Tensor = rows.norm(dim=-1, keepdim=True)
    return rows / lengths.clamp(min=1e-12)
