"""One short caption per image by a captioner (BLIP) or a vision-language model (LLaVA)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from grand_pipeline.columns import CAPTIONS
from grand_pipeline.record import Record
from grand_pipeline.stage import Failed, Questions, Reads, Row, Stage, Writes
from stages import vlm, vlm_served
from stages.chat import OPERATIONAL, Answer, served
from stages.texts import tidy
from stages.vlm import Question, Remote, Vlm, Writing
from stages.vlm_served import Looking


@dataclass(frozen=True, kw_only=True)
class Captions(Stage[Vlm | Remote], Looking):
    """A caption as the model wrote it; greedy, so the same image always gets the same words.

    The architecture of the checkpoint decides how it is asked: BLIP, BLIP-2, LLaVA, Florence-2,
    Kosmos-2, Qwen2.5-VL and Qwen3-VL are known, other chat models are tried.
    """

    version: ClassVar[int] = 2
    level: ClassVar[int] = 2
    operational: ClassVar[frozenset[str]] = Stage.operational | OPERATIONAL

    source: str
    """Name of the captioner in the column."""
    model: str = "Salesforce/blip-image-captioning-base"
    """Hub id, folder or `embedded:` name of a checkpoint that writes text about an image; with
    `endpoint` the name under which the server knows a chat model that sees."""
    prompt: str | None = None
    """A chat model is asked it, a captioner goes on from it, Florence-2 takes it as its task
    (`<DETAILED_CAPTION>`). It is no part of the caption. Unset: each model's own way."""
    max_new_tokens: int = 40
    """Most tokens written."""
    num_beams: int = 1
    """Beams of the search; 1 is greedy."""
    no_repeat_ngram: int = 0
    """No run of this many tokens is written twice (small captioners repeat themselves); 0: free."""

    def __post_init__(self) -> None:
        super().__post_init__()
        vlm_served.check_greedy(self, self.num_beams, self.no_repeat_ngram)

    @property
    def reads(self) -> Reads:
        """Only the image."""
        return ()

    @property
    def writes(self) -> Writes:
        """The caption."""
        return (CAPTIONS.of(self.source),)

    @property
    def needs_image(self) -> bool:
        """Decoded ahead for models in this process; for a server when their turn comes."""
        return not served(self)

    @property
    def whole_shards(self) -> bool:
        return served(self)

    @property
    def models(self) -> tuple[str, ...]:
        return vlm_served.models(self)

    @property
    def questions(self) -> Questions:
        """One about every image."""
        answers, frame = CAPTIONS.of(self.source), self.prompt or ""
        return Questions(frame=frame, sees=True, longest=self.max_new_tokens, answers=answers)

    def load(self, device: str) -> Vlm | Remote:
        """The model, in this process or behind a server."""
        return vlm_served.live(self, device)

    def annotate(self, model: Vlm | Remote, records: Sequence[Record]) -> list[Row | Failed]:
        """One caption per image."""
        writing = Writing(self.max_new_tokens, self.num_beams, self.no_repeat_ngram)
        questions = [Question(view, self.prompt) for view in vlm.views(model, records)]
        answers = vlm.ask_all(model, questions, writing, at_once=len(records))
        return [self._row(answer) for answer in answers]

    def _row(self, answer: Answer) -> Row | Failed:
        fault = vlm.fault(answer)
        return {CAPTIONS.of(self.source): tidy(answer.text)} if fault is None else Failed(fault)
