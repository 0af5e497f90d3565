"""Kosmos-2: a language model that reads and writes places as tokens of a grid of 32 x 32 patches.

(Peng et al., Kosmos-2: Grounding Multimodal Large Language Models to the World, 2023.)
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from grand_pipeline import geometry
from grand_pipeline.errors import SettingsError
from grand_pipeline.types import Box, FloatArray, Size
from stages import device, grounders, hub, vlm
from stages.crops import workable
from stages.grounders import Grounded, Span
from stages.vlm import Options, Task, Writing

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

CAPTION = "<grounding>An image of"

_OBJECT = re.compile(r"<object>(.*?)</object>")
_PLACES = re.compile(r"<object>.*?(?:</object>|$)")
_PATCH = re.compile(r"<patch_index_(\d+)>")
_MARKS = re.compile(
    r"</?(?:phrase|image|chunk|line|doc|object|grounding|s|pad|unk)>|<patch_index_\d+>"
    r"|</delimiter_of_multi_objects/>"
)
_BOXES = Writing(max_new_tokens=64)


@dataclass(frozen=True)
class Kosmos:
    """A loaded model. `alone`: as a grounder it sees every phrase without its caption."""

    model: Any
    processor: Any
    alone: bool = False
    answers: bool = False

    def ask(
        self, images: Sequence[Image], prompts: Sequence[str | None], writing: Writing
    ) -> list[str]:
        """As `Vlm.ask`; a prompt is gone on from. An image that comes several times is encoded
        once."""
        told = self._write(images, [prompt or CAPTION for prompt in prompts], writing)
        return [" ".join(_MARKS.sub("", _PLACES.sub("", text)).split()) for text in told]

    def region_prompt(self, task: Task, box: Box) -> str:
        """As `Locating.region_prompt`. Raises SettingsError for categories."""
        if task != "description":
            raise SettingsError(
                f"Kosmos-2 was not trained on the task '{task}' of regions; it has: description. "
                "Florence-2 has both"
            )
        first, last = _patches(box, self._side)
        place = f"<object><patch_index_{first:04d}><patch_index_{last:04d}></object>"
        return f"<grounding><phrase> It</phrase>{place} is"

    def ground(
        self,
        images: Sequence[Image],
        sizes: Sequence[Size],
        captions: Sequence[str],
        phrases: Sequence[Sequence[Span]],
    ) -> list[list[Grounded]]:
        """As `Grounder.ground`, without scores. The model reads a caption up to the end of a
        phrase, or the phrase alone, and goes on with its boxes."""
        jobs = [
            (n, "" if self.alone else caption[:start], caption[start:end])
            for n, (caption, spans) in enumerate(zip(captions, phrases, strict=True))
            for start, end in spans
        ]
        prompts = [
            f"<grounding>{f' {before.rstrip()}' if before else ''}<phrase> {phrase}</phrase>"
            for _, before, phrase in jobs
        ]
        told = self._write([images[n] for n, _, _ in jobs], prompts, _BOXES)
        found: list[list[Grounded]] = [[] for _ in captions]
        for (n, _, _), text in zip(jobs, told, strict=True):
            found[n].append(Grounded(placed_boxes(text, self._side, sizes[n]), None))
        return found

    @property
    def _side(self) -> int:
        return math.isqrt(self.processor.num_patch_index_tokens)

    def _write(self, images: Sequence[Image], prompts: list[str], writing: Writing) -> list[str]:
        """What is written, marks included. Prompts of one length run together: the positions of
        what is written count padding, so padded ones would be read differently."""
        if not images:
            return []
        told = [""] * len(images)
        ids = self._ids(prompts)
        groups: dict[int, list[int]] = {}
        for n, row in enumerate(ids):
            groups.setdefault(len(row), []).append(n)
        once, places = vlm.distinct(images)
        seen = self._see(once)
        for members in groups.values():
            rows = [places[n] for n in members]
            some = self._go_on([ids[n] for n in members], seen, rows, writing)
            for n, text in zip(members, some, strict=True):
                told[n] = text
        return told

    def _ids(self, prompts: list[str]) -> list[list[int]]:
        """Tokens of the prompts, each behind the places of an image."""
        tokenizer, count = self.processor.tokenizer, self.model.config.latent_query_num
        # The processor wants images here only to see that there are any.
        texts = self.processor.preprocess_examples(prompts, list(prompts), num_image_tokens=count)
        rows = tokenizer(
            [f"{tokenizer.bos_token}{text}" for text in texts], add_special_tokens=False
        )["input_ids"]
        first = tokenizer.unk_token_id + 1
        image = list(range(first, first + count))
        return [[*row[:2], *image, *row[2 + count :]] for row in rows]

    def _see(self, images: Sequence[Image]) -> Tensor:
        """The images as the language model reads them (n, t, d)."""
        import torch
        from torch.nn.functional import normalize

        given = self.processor.image_processor(
            images=[workable(image) for image in images], return_tensors="pt"
        )
        pixels = device.placed(given["pixel_values"], self.model.device, self.model.dtype)
        with torch.inference_mode():
            states = self.model.vision_model(pixels)[0]
            states = self.model.vision_model.model.post_layernorm(states)
            seen: Tensor = self.model.image_to_text_projection(normalize(states, dim=-1))[0]
        return seen

    def _go_on(
        self, ids: list[list[int]], seen: Tensor, rows: list[int], writing: Writing
    ) -> list[str]:
        import torch

        given = torch.tensor(ids, device=self.model.device)
        here = torch.zeros_like(given, dtype=torch.bool)
        here[:, 2 : 2 + self.model.config.latent_query_num] = True
        with torch.inference_mode():
            tokens = self.model.generate(
                input_ids=given,
                attention_mask=torch.ones_like(given),
                image_embeds=seen[rows],
                image_embeds_position_mask=here,
                **writing.options(),
            )
        texts: list[str] = self.processor.tokenizer.batch_decode(
            tokens[:, given.shape[1] :], skip_special_tokens=True
        )
        return texts


def placed_boxes(text: str, side: int, size: Size) -> FloatArray:
    """Boxes (n, 4), in pixels of `size` (height, width), of the first object of a text such as
    "<object><patch_index_0044><patch_index_0863></object>"; none where the text begins otherwise.
    """
    match = _OBJECT.match(text.strip().replace(" ", ""))
    places = [int(place) for place in _PATCH.findall(match.group(1))] if match else []
    height, width = size
    boxes = [
        _box(first, last, side)
        for first, last in zip(places[::2], places[1::2], strict=False)
        if max(first, last) < side * side
    ]
    scale = np.array([width, height, width, height], np.float32)
    return geometry.clip(np.array(boxes, np.float32).reshape(-1, 4) * scale, size)


def load(model: str, device: str, options: Options) -> Kosmos:
    """Load a checkpoint. Raises as `hub.pretrained` does."""
    processor = hub.preprocessor("AutoProcessor", model)
    return Kosmos(vlm.pretrained(model, device, options), processor)


def load_grounder(model: str, device: str, options: grounders.Options) -> Kosmos:
    """Load a checkpoint as a grounder. Raises as `hub.pretrained` does."""
    processor = hub.preprocessor("AutoProcessor", model)
    live = vlm.pretrained(model, device, Options(dtype=options.dtype))
    return Kosmos(live, processor, alone=options.prompt == "phrase")


def _patches(box: Box, side: int) -> tuple[int, int]:
    """The first and the last patch that a box touches, counted row by row."""
    x1, y1, x2, y2 = (min(1.0, max(0.0, share)) * side for share in box)
    left, top = min(side - 1, int(x1)), min(side - 1, int(y1))
    right, bottom = max(left, math.ceil(x2) - 1), max(top, math.ceil(y2) - 1)
    return top * side + left, bottom * side + right


def _box(first: int, last: int, side: int) -> Box:
    """From two patches to shares of the image: from the middle of one to that of the other, or
    all of them where they lie in one row or column, as the model's authors read them."""
    (top, left), (bottom, right) = divmod(first, side), divmod(last, side)
    near, far = (0.0, 1.0) if top == bottom or left == right else (0.5, 0.5)
    return (left + near) / side, (top + near) / side, (right + far) / side, (bottom + far) / side
