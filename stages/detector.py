"""Open-vocabulary detection by the OWL family: boxes of images scored against free texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from grand_pipeline import geometry
from grand_pipeline.errors import SettingsError
from grand_pipeline.types import FloatArray, Size
from stages import hub
from stages.crops import workable

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

_CACHE_LIMIT = 20_000
_ROUNDS = 3


@dataclass(frozen=True)
class Scored:
    """Every box of an image, (n, 4) inside the image, with its probability (n, q) per query."""

    boxes: FloatArray
    scores: FloatArray


@dataclass(frozen=True)
class Owl:
    """A loaded OWL-ViT or OWLv2 that remembers the embeddings of queries it has seen.

    The towers meet only in the class head, so an image is encoded once whatever it is asked,
    and a query is encoded once whatever image it is put to.
    """

    model: Any
    processor: Any
    device: str
    texts_per_call: int = 64
    _queries: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def remember(self, queries: Iterable[str]) -> None:
        """Encode the queries not seen before."""
        import torch

        asked = list(dict.fromkeys(queries))
        if len(self._queries) + len(asked) > _CACHE_LIMIT:
            self._queries.clear()
        new = [query for query in asked if query not in self._queries]
        for start in range(0, len(new), self.texts_per_call):
            part = new[start : start + self.texts_per_call]
            inputs = self.processor.tokenizer(
                part, padding="max_length", truncation=True, return_tensors="pt"
            )
            with torch.inference_mode():
                found = self.model.base_model.get_text_features(
                    input_ids=inputs["input_ids"].to(self.device),
                    attention_mask=inputs["attention_mask"].to(self.device),
                )
            # Older releases of the library return the tensor itself.
            rows = getattr(found, "pooler_output", found)
            self._queries.update(zip(part, rows, strict=True))

    def score(
        self, images: Sequence[Image], sizes: Sequence[Size], queries: Sequence[Sequence[str]]
    ) -> list[Scored]:
        """Boxes of every image scored against its own queries.

        Args:
            images: a batch; encoded together.
            sizes: (height, width) in whose pixels the boxes are returned.
            queries: texts per image; none gives scores of shape (n, 0).
        """
        import torch

        self.remember(query for asked in queries for query in asked)
        inputs = self.processor.image_processor(
            images=[workable(image) for image in images], return_tensors="pt"
        )
        with torch.inference_mode():
            features, _ = self.model.image_embedder(inputs["pixel_values"].to(self.device))
            tokens = features.flatten(1, 2)
            relative = self.model.box_predictor(tokens, features)
            boxes = self._in_pixels(relative, sizes)
            return [
                Scored(geometry.clip(boxes[i], size), self._chances(tokens[i : i + 1], asked))
                for i, (size, asked) in enumerate(zip(sizes, queries, strict=True))
            ]

    def _chances(self, tokens: Tensor, queries: Sequence[str]) -> FloatArray:
        import torch

        if not queries:
            return np.zeros((tokens.shape[1], 0), np.float32)
        embedded = torch.stack([self._queries[query] for query in queries])[None]
        logits, _ = self.model.class_predictor(tokens, embedded)
        return np.asarray(logits[0].sigmoid().float().cpu().numpy())

    def _in_pixels(self, relative: Tensor, sizes: Sequence[Size]) -> list[FloatArray]:
        """Boxes (n, 4) per image; the processor knows whether its images were padded."""
        import torch

        output = SimpleNamespace(logits=torch.zeros_like(relative[..., :1]), pred_boxes=relative)
        found = self.processor.image_processor.post_process_object_detection(
            output,
            threshold=-1.0,  # keep every box in its place
            target_sizes=torch.tensor(sizes, device=relative.device),
        )
        return [np.asarray(one["boxes"].float().cpu().numpy()) for one in found]


def vote(boxes: FloatArray, voters: FloatArray, scores: FloatArray, least: float) -> FloatArray:
    """Boxes (n, 4) moved to where all boxes around them see the same thing.

    Neighbouring tokens of a detector describe one object by slightly different boxes; their mean
    is better than the best of them. Each round weighs a voter by the square of score x IoU.

    Args:
        boxes: (n, 4), for example the ones that suppression kept.
        voters: (m, 4), all boxes of the image.
        scores: (n, m), what voter m gives to the label of box n.
        least: a voter counts from this IoU on.
    """
    for _ in range(_ROUNDS):
        overlap = geometry.iou(boxes, voters)
        weights = np.square(np.where(overlap >= least, overlap * scores, 0.0))
        total = weights.sum(axis=1, keepdims=True)
        means = weights @ voters / np.maximum(total, 1e-12)
        boxes = np.where(total > 1e-12, means, boxes).astype(np.float32)
    return boxes


def load(model: str, device: str, texts_per_call: int = 64) -> Owl:
    """Load an OWL checkpoint. Raises SettingsError for another kind, else as `hub.pretrained`."""
    live = hub.pretrained("AutoModelForZeroShotObjectDetection", model, device)
    if not hasattr(live, "image_embedder"):
        raise SettingsError(
            f"model '{model}' is a {type(live).__name__}; open-vocabulary stages take OWL-ViT "
            "and OWLv2 checkpoints, for example google/owlv2-base-patch16-ensemble"
        )
    processor = hub.preprocessor("AutoProcessor", model)
    return Owl(live, processor, device, texts_per_call)
