"""Florence-2: one model for captions, texts about regions, and boxes of phrases.

What it is to do is a task token, such as `<DETAILED_CAPTION>`, which stands for a fixed sentence;
places are tokens too, a thousand for each side of the image. (Xiao et al., Florence-2, 2023.)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from grand_pipeline import geometry
from grand_pipeline.types import Box, FloatArray, Size
from stages import device, grounders, hub, vlm
from stages.crops import workable
from stages.grounders import Grounded, Span
from stages.texts import tidy
from stages.vlm import Options, Task, Writing

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

CAPTION = "<CAPTION>"
REGIONS: dict[Task, str] = {
    "description": "<REGION_TO_DESCRIPTION>",
    "category": "<REGION_TO_CATEGORY>",
}
PHRASES = "<CAPTION_TO_PHRASE_GROUNDING>"
BINS = 1000
"""Location tokens: how many parts a side is divided into."""

_FRAME = re.compile(r"</?s>|<pad>")
_MARKS = re.compile(r"<loc_\d+>|</?(?:od|box|bbox|poly|sep|ground|obj)>")
_PLACED = re.compile(r"([^<]*)((?:<loc_\d+>){4,})")
_LOCATION = re.compile(r"<loc_(\d+)>")
_WORDS = Writing(max_new_tokens=1024)


@dataclass(frozen=True)
class Florence:
    """A loaded model. `alone`: as a grounder it is asked for every phrase by itself."""

    model: Any
    processor: Any
    alone: bool = False
    answers: bool = False

    def ask(
        self, images: Sequence[Image], prompts: Sequence[str | None], writing: Writing
    ) -> list[str]:
        """As `Vlm.ask`; a prompt is a task token, with what the task needs behind it. An image
        that comes several times is encoded once."""
        told = self._write(images, [prompt or CAPTION for prompt in prompts], writing)
        return [_MARKS.sub("", text).strip() for text in told]

    def region_prompt(self, task: Task, box: Box) -> str:
        """As `Locating.region_prompt`."""
        places = (min(BINS - 1, max(0, int(side * BINS))) for side in box)
        return REGIONS[task] + "".join(f"<loc_{place}>" for place in places)

    def ground(
        self,
        images: Sequence[Image],
        sizes: Sequence[Size],
        captions: Sequence[str],
        phrases: Sequence[Sequence[Span]],
    ) -> list[list[Grounded]]:
        """As `Grounder.ground`, without scores: it says where phrases are, not how surely.

        Which words of a caption are a phrase is its own opinion; each of them gives its boxes to
        the asked phrase that it shares most letters with.
        """
        jobs = [
            (n, caption[start:end], ((0, end - start),))
            if self.alone
            else (n, caption, tuple(spans))
            for n, (caption, spans) in enumerate(zip(captions, phrases, strict=True))
            for start, end in (spans if self.alone else spans[:1])
        ]
        told = self._write(
            [images[n] for n, _, _ in jobs], [f"{PHRASES}{text}" for _, text, _ in jobs], _WORDS
        )
        found: list[list[Grounded]] = [[] for _ in captions]
        for (n, text, spans), answer in zip(jobs, told, strict=True):
            found[n] += placed_phrases(answer, text, spans, sizes[n])
        return found

    def _write(self, images: Sequence[Image], prompts: list[str], writing: Writing) -> list[str]:
        """What is written, marks of places included."""
        import torch
        from transformers.modeling_outputs import BaseModelOutput

        if not images:
            return []
        # The decoder has no positions for more than these tokens and its start.
        longest = self.model.config.text_config.max_position_embeddings - 1
        writing = replace(writing, max_new_tokens=min(writing.max_new_tokens, longest))
        words = self.processor.tokenizer(
            self._texts(prompts), padding=True, add_special_tokens=False, return_tensors="pt"
        ).to(self.model.device)
        with torch.inference_mode():
            read = self._read(words["input_ids"], words["attention_mask"], images)
            tokens = self.model.generate(
                encoder_outputs=BaseModelOutput(last_hidden_state=read),
                attention_mask=words["attention_mask"],
                **writing.options(),
            )
        told = self.processor.tokenizer.batch_decode(tokens, skip_special_tokens=False)
        return [_FRAME.sub("", text).strip() for text in told]

    def _read(self, ids: Tensor, mask: Tensor, images: Sequence[Image]) -> Tensor:
        """The encoder's states (b, t, d) for texts in which the images have their places."""
        once, places = vlm.distinct(images)
        given = self.processor.image_processor(
            images=[workable(image) for image in once], return_tensors="pt"
        )
        pixels = device.placed(given["pixel_values"], self.model.device, self.model.dtype)
        features = self.model.get_image_features(pixels).pooler_output[places]
        embedded = self.model.get_input_embeddings()(ids)
        here = (ids == self.model.config.image_token_id).unsqueeze(-1)
        embedded = embedded.masked_scatter(here, features.to(embedded.dtype))
        states: Tensor = self.model.get_encoder()(
            attention_mask=mask, inputs_embeds=embedded
        ).last_hidden_state
        return states

    def _texts(self, prompts: Sequence[str]) -> list[str]:
        """Prompts as the model was trained to read them: sentences for tasks, an image's place."""
        processor, tokenizer = self.processor, self.processor.tokenizer
        image = processor.image_token * processor.num_image_tokens
        fixed, filled = processor.task_prompts_without_inputs, processor.task_prompts_with_input
        texts = []
        for prompt in prompts:
            mark, _, rest = prompt.partition(">")
            task = f"{mark}>"
            sentence = fixed.get(prompt) or filled.get(task, prompt).replace("{input}", rest)
            texts.append(f"{image}{tokenizer.bos_token}{sentence}{tokenizer.eos_token}")
        return texts


def placed_phrases(answer: str, text: str, spans: Sequence[Span], size: Size) -> list[Grounded]:
    """Boxes, in pixels of `size` (height, width), for every span of `text` from an answer such
    as "a cat<loc_1><loc_2><loc_3><loc_4>"."""
    boxes: list[list[FloatArray]] = [[] for _ in spans]
    begin = 0
    lowered = text.lower()
    for words, marks in _PLACED.findall(answer):
        phrase = tidy(words).lower()
        at = lowered.find(phrase, begin)
        # It may come back to what it named before.
        at = lowered.find(phrase) if at < 0 else at
        if at < 0 or not phrase:
            continue
        begin = at + len(phrase)
        shared = [min(end, begin) - max(start, at) for start, end in spans]
        best = int(np.argmax(shared)) if shared else 0
        if shared and shared[best] > 0:
            boxes[best].append(_boxes(marks, size))
    nothing = np.zeros((0, 4), np.float32)
    return [Grounded(np.concatenate([nothing, *some]), None) for some in boxes]


def load(model: str, device: str, options: Options) -> Florence:
    """Load a checkpoint of transformers' own class; the first ones, microsoft/Florence-2-*, come
    with code of their own and are not loaded. Raises as `hub.pretrained` does."""
    processor = hub.preprocessor("AutoProcessor", model)
    processor.tokenizer.padding_side = "right"
    return Florence(vlm.pretrained(model, device, options), processor)


def load_grounder(model: str, device: str, options: grounders.Options) -> Florence:
    """Load a checkpoint as a grounder. Raises as `hub.pretrained` does."""
    processor = hub.preprocessor("AutoProcessor", model)
    processor.tokenizer.padding_side = "right"
    live = vlm.pretrained(model, device, Options(dtype=options.dtype))
    return Florence(live, processor, alone=options.prompt == "phrase")


def _boxes(marks: str, size: Size) -> FloatArray:
    """Boxes (n, 4) in pixels from location tokens, each taken for the middle of its part."""
    places = [min(BINS - 1, int(place)) for place in _LOCATION.findall(marks)]
    shares = np.array(places[: len(places) // 4 * 4], np.float32).reshape(-1, 4) + 0.5
    height, width = size
    scale = np.array([width, height, width, height], np.float32) / BINS
    return geometry.clip((shares * scale).astype(np.float32), size)
