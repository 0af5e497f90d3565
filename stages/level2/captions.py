"""One short caption per image by a captioner (BLIP) or a vision-language model (LLaVA)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from grand_pipeline.columns import CAPTIONS
from grand_pipeline.record import Record
from grand_pipeline.stage import Questions, Reads, Row, Stage, Writes
from stages import hub, vlm
from stages.texts import tidy
from stages.vlm import Options, Question, Vlm, Writing


@dataclass(frozen=True, kw_only=True)
class Captions(Stage[Vlm]):
    """A caption as the model wrote it; greedy, so the same image always gets the same words.

    The architecture of the checkpoint decides how it is asked: BLIP, BLIP-2, LLaVA, Florence-2,
    Kosmos-2, Qwen2.5-VL and Qwen3-VL are known, other chat models are tried.
    """

    version: ClassVar[int] = 2
    level: ClassVar[int] = 2

    source: str
    """Name of the captioner in the column."""
    model: str = "Salesforce/blip-image-captioning-base"
    """Hub id, folder or `embedded:` name of a checkpoint that writes text about an image."""
    prompt: str | None = None
    """A chat model is asked it, a captioner goes on from it, Florence-2 takes it as its task
    (`<DETAILED_CAPTION>`). It is no part of the caption. Unset: each model's own way."""
    max_new_tokens: int = 40
    """Most tokens written."""
    num_beams: int = 1
    """Beams of the search; 1 is greedy."""
    no_repeat_ngram: int = 0
    """No run of this many tokens is written twice (small captioners repeat themselves); 0: free."""
    min_pixels: int | None = None
    """Models with a token per so many pixels (Qwen): smaller images are enlarged to as many.
    Unset: what the checkpoint says."""
    max_pixels: int | None = 1_003_520
    """Models with a token per so many pixels (Qwen): larger images are shrunk to as many. Unset:
    what the checkpoint says, which can be 16 million."""
    dtype: hub.Dtype = "float32"
    """Numbers the model computes in; "bfloat16" halves its memory."""

    @property
    def reads(self) -> Reads:
        """Only the image."""
        return ()

    @property
    def writes(self) -> Writes:
        """The caption."""
        return (CAPTIONS.of(self.source),)

    @property
    def questions(self) -> Questions:
        """One about every image."""
        answers, frame = CAPTIONS.of(self.source), self.prompt or ""
        return Questions(frame=frame, sees=True, longest=self.max_new_tokens, answers=answers)

    def load(self, device: str) -> Vlm:
        """The model."""
        options = Options(self.dtype, self.min_pixels, self.max_pixels)
        return vlm.load(self.model, device, options)

    def annotate(self, model: Vlm, records: Sequence[Record]) -> list[Row]:
        """One caption per image."""
        writing = Writing(self.max_new_tokens, self.num_beams, self.no_repeat_ngram)
        questions = [Question(partial(getattr, one, "image"), self.prompt) for one in records]
        texts = vlm.ask_all(model, questions, writing, at_once=len(records))
        return [{CAPTIONS.of(self.source): tidy(text)} for text in texts]
