"""BLIP and BLIP-2: captioners that go on from a text.

(Li et al., BLIP, 2022; Li et al., BLIP-2, 2023.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stages import hub, vlm
from stages.crops import workable
from stages.vlm import Options, Writing

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Captioner:
    """A loaded model. `empty` is what it is given where there is no text to go on from."""

    model: Any
    processor: Any
    empty: str | None = None
    answers: bool = False

    def ask(
        self, images: Sequence[Image], prompts: Sequence[str | None], writing: Writing
    ) -> list[str]:
        """As `Vlm.ask`. Prompts are not padded, which these models were not trained with: images
        of one prompt run together."""
        texts = [""] * len(images)
        groups: dict[str | None, list[int]] = {}
        for n, prompt in enumerate(prompts):
            groups.setdefault(self.empty if prompt is None else prompt, []).append(n)
        for given, members in groups.items():
            written = self._write([workable(images[n]) for n in members], given, writing)
            for n, text in zip(members, written, strict=True):
                texts[n] = text
        return texts

    def _write(self, images: list[Image], prompt: str | None, writing: Writing) -> list[str]:
        import torch

        text = None if prompt is None else [prompt] * len(images)
        inputs = vlm.placed(
            self.processor(images=images, text=text, return_tensors="pt"), self.model
        )
        with torch.inference_mode():
            tokens = self.model.generate(**inputs, **writing.options())
        tokenizer = self.processor.tokenizer
        texts: list[str] = tokenizer.batch_decode(tokens, skip_special_tokens=True)
        if "input_ids" not in inputs:
            return texts
        # A decoder repeats what it was given, an encoder-decoder does not.
        asked = tokenizer.decode(inputs["input_ids"][0], skip_special_tokens=True).strip()
        return [_without(text.strip(), asked) for text in texts]


def load_blip(model: str, device: str, options: Options) -> Captioner:
    """Load a BLIP. Raises as `hub.pretrained` does."""
    processor = hub.preprocessor("AutoProcessor", model)
    return Captioner(vlm.pretrained(model, device, options), processor)


def load_blip2(model: str, device: str, options: Options) -> Captioner:
    """Load a BLIP-2 of the OPT or the T5 kind. Raises as `hub.pretrained` does."""
    processor = hub.preprocessor("AutoProcessor", model)
    live = vlm.pretrained(model, device, options)
    # Older repositories leave it out, and the image would be left out of the prompt with it.
    processor.num_query_tokens = live.config.num_query_tokens
    return Captioner(live, processor, empty="")


def _without(text: str, prompt: str) -> str:
    return text[len(prompt) :].strip() if prompt and text.startswith(prompt) else text
