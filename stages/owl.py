"""Open-vocabulary detection by OWL-ViT and OWLv2: boxes of images scored against free texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from grand_pipeline import geometry
from grand_pipeline.errors import SettingsError
from grand_pipeline.types import FloatArray, Size
from stages import device, grounders, hub
from stages.crops import workable
from stages.detector import Options, Scored
from stages.grounders import ByPhrase

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

_CACHE_LIMIT = 20_000


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
        asked = list(dict.fromkeys(queries))
        if len(self._queries) + len(asked) > _CACHE_LIMIT:
            self._queries.clear()
        new = [query for query in asked if query not in self._queries]
        rows = device.in_parts(new, self.texts_per_call, self._encoded)
        self._queries.update(zip(new, rows, strict=True))

    def _encoded(self, queries: Sequence[str]) -> list[Tensor]:
        import torch

        inputs = self.processor.tokenizer(
            queries, padding="max_length", truncation=True, return_tensors="pt"
        )
        with torch.inference_mode():
            found = self.model.base_model.get_text_features(
                input_ids=device.placed(inputs["input_ids"], self.device),
                attention_mask=device.placed(inputs["attention_mask"], self.device),
            )
        # Older releases of the library return the tensor itself.
        return list(getattr(found, "pooler_output", found))

    def score(
        self, images: Sequence[Image], sizes: Sequence[Size], queries: Sequence[Sequence[str]]
    ) -> list[Scored]:
        """Boxes of every image scored against its own queries; as `Detector.score`."""
        import torch

        self.remember(query for asked in queries for query in asked)
        inputs = self.processor.image_processor(
            images=[workable(image) for image in images], return_tensors="pt"
        )
        pixels = device.placed(inputs["pixel_values"], self.device, self.model.dtype)
        with torch.inference_mode():
            features, _ = self.model.image_embedder(pixels)
            tokens = features.flatten(1, 2)
            relative = self.model.box_predictor(tokens, features)
            boxes = self._in_pixels(relative.float(), sizes)
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
        return np.asarray(logits[0].float().sigmoid().cpu().numpy())

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


def load(model: str, device: str, options: Options) -> Owl:
    """Load a checkpoint. Raises as `hub.pretrained` does."""
    live = hub.pretrained("AutoModelForZeroShotObjectDetection", model, device, options.dtype)
    processor = hub.preprocessor("AutoProcessor", model)
    return Owl(live, processor, device, options.texts_per_call)


def grounder(model: str, device: str, options: grounders.Options) -> ByPhrase:
    """A checkpoint as a grounder. Raises SettingsError for `prompt = "caption"`."""
    if options.prompt == "caption":
        raise SettingsError(
            f"model '{model}' reads every phrase by itself and can not see its caption; set "
            'prompt = "phrase", or name a Grounding DINO checkpoint'
        )
    return ByPhrase(load(model, device, Options(dtype=options.dtype)))
