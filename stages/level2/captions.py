"""One short caption per image by a captioner (BLIP) or a vision-language model (LLaVA)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from grand_pipeline.columns import CAPTIONS
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from stages import hub
from stages.crops import workable
from stages.texts import tidy

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Captioner:
    """A loaded image-to-text model."""

    model: Any
    processor: Any
    device: str

    def write(self, images: Sequence[Image], prompt: str | None, **generation: Any) -> list[str]:
        """One text per image. A prompt that the model repeats as a whole conversation is cut."""
        import torch

        inputs = self._inputs([workable(image) for image in images], prompt)
        with torch.inference_mode():
            tokens = self.model.generate(**inputs.to(self.device), **generation)
        asked = inputs.get("input_ids")
        if self._chats and asked is not None:
            width = asked.shape[1]
            if tokens.shape[1] >= width and bool((tokens[:, :width] == asked).all()):
                tokens = tokens[:, width:]
        texts: list[str] = self.processor.batch_decode(tokens, skip_special_tokens=True)
        return texts

    @property
    def _chats(self) -> bool:
        return getattr(self.processor, "chat_template", None) is not None

    def _inputs(self, images: list[Image], prompt: str | None) -> Any:
        if not self._chats:
            text = None if prompt is None else [prompt] * len(images)
            return self.processor(images=images, text=text, return_tensors="pt")
        question = {"type": "text", "text": prompt or "Describe the image in one sentence."}
        turn = [{"role": "user", "content": [{"type": "image"}, question]}]
        text = self.processor.apply_chat_template(turn, add_generation_prompt=True)
        return self.processor(images=images, text=[text] * len(images), return_tensors="pt")


@dataclass(frozen=True, kw_only=True)
class Captions(Stage[Captioner]):
    """A caption as the model wrote it; greedy, so the same image always gets the same words."""

    level: ClassVar[int] = 2

    source: str
    """Name of the captioner in the column."""
    model: str = "Salesforce/blip-image-captioning-base"
    """Hub id, folder or `embedded:` name of an image-to-text checkpoint."""
    prompt: str | None = None
    """A captioner goes on from it and keeps it in the text; a chat model is asked it."""
    max_new_tokens: int = 40
    """Most tokens written."""
    num_beams: int = 1
    """Beams of the search; 1 is greedy."""
    no_repeat_ngram: int = 0
    """No run of this many tokens is written twice (small captioners repeat themselves); 0: free."""

    @property
    def reads(self) -> Reads:
        """Only the image."""
        return ()

    @property
    def writes(self) -> Writes:
        """The caption."""
        return (CAPTIONS.of(self.source),)

    def load(self, device: str) -> Captioner:
        """The model with its processor."""
        model = hub.pretrained("AutoModelForImageTextToText", self.model, device)
        processor = hub.preprocessor("AutoProcessor", self.model)
        return Captioner(model, processor, device)

    def annotate(self, model: Captioner, records: Sequence[Record]) -> list[Row]:
        """One caption per image."""
        texts = model.write(
            [record.image for record in records],
            self.prompt,
            max_new_tokens=self.max_new_tokens,
            num_beams=self.num_beams,
            no_repeat_ngram_size=self.no_repeat_ngram,
            do_sample=False,
        )
        return [{CAPTIONS.of(self.source): tidy(text)} for text in texts]
