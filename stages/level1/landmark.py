"""The kind of place: a category and one of its finer categories.

A CLIP or SigLIP compares the image with the names; a chat model that sees is asked two questions
with given answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from grand_pipeline.columns import LANDMARK
from grand_pipeline.errors import SettingsError
from grand_pipeline.record import Record
from grand_pipeline.stage import Questions, Reads, Row, Stage, Writes
from grand_pipeline.types import FloatArray, Landmark
from stages import hub, vlm, vlm_options, zero_shot
from stages.texts import check_template, fill, tidy
from stages.vlm import Choosing, Options, Question, Writing
from stages.zero_shot import ZeroShot

CATEGORIES: dict[str, tuple[str, ...]] = {
    "Indoor scene": ("Living space", "Work space", "Public space", "Industrial space"),
    "Outdoor scene": ("Urban landscape", "Rural landscape", "Natural landscape"),
    "Transportation scene": ("Road", "Airport", "Train station", "Port and harbor"),
    "Sports and recreation scene": (
        "Sporting venue",
        "Recreational area",
        "Gym and fitness center",
    ),
}
"""The categories of the GLaMM supplement, Table 7, each with its finer ones."""

_QUOTED = 80
"""Characters of an unreadable answer that are kept."""


@dataclass(frozen=True, kw_only=True)
class LandmarkStage(Stage[ZeroShot | Choosing]):
    """First the category, then the finer category among those of the chosen one.

    A chat model's answer counts if it names one of the kinds, by letter or name. If it can not be
    read, the kind whose letter the model finds likeliest as its next word is taken, and the
    landmark's source says so and quotes the answer.
    """

    version: ClassVar[int] = 2
    level: ClassVar[int] = 1

    model: str = "openai/clip-vit-large-patch14-336"
    """Hub id, folder or `embedded:` name of a CLIP, a SigLIP, or a chat model that sees (LLaVA,
    Qwen2.5-VL, Qwen3-VL)."""
    categories: tuple[tuple[str, tuple[str, ...]], ...] = tuple(CATEGORIES.items())
    """Pairs of a category and its finer categories; those of the GLaMM supplement, Table 7."""
    template: str = "a photo of a {}"
    """CLIP, SigLIP: text for a category; `{}` is its name in lower case."""
    fine_template: str = "a photo of a {}"
    """CLIP, SigLIP: text for a finer category; `{}` is its name in lower case."""
    joint: bool = False
    """CLIP, SigLIP: choose the pair with the highest product of both probabilities, so that a sure
    finer category can overrule an unsure category. False: the category is settled first."""
    prompt: str = "landmark/default"
    """Chat model: folder under `prompts/` with the question; `{options}` is the list of kinds."""
    max_new_tokens: int = 16
    """Chat model: most tokens of an answer."""
    min_pixels: int | None = None
    """Models with a token per so many pixels (Qwen): smaller images are enlarged to as many.
    Unset: what the checkpoint says."""
    max_pixels: int | None = 1_003_520
    """Models with a token per so many pixels (Qwen): larger images are shrunk to as many. Unset:
    what the checkpoint says, which can be 16 million."""
    dtype: hub.Dtype = "float32"
    """Numbers the model computes in; "bfloat16" halves its memory."""

    def __post_init__(self) -> None:
        check_template(self.template, 1)
        check_template(self.fine_template, 1)
        names = [name for name, _ in self.categories]
        if (
            not names
            or len(names) != len(set(names))
            or not all(fine for _, fine in self.categories)
        ):
            raise ValueError("'categories' must name each category once, with its finer ones")

    @property
    def reads(self) -> Reads:
        """Only the image."""
        return ()

    @property
    def writes(self) -> Writes:
        """The landmark."""
        return (LANDMARK,)

    @property
    def prompts(self) -> tuple[str, ...]:
        """The question."""
        return (self.prompt,)

    @property
    def questions(self) -> Questions:
        """Two about every image, if the model is one that writes."""
        return Questions(
            times=2,
            frame=self._question(self._names),
            sees=True,
            longest=self.max_new_tokens,
            answers=LANDMARK,
        )

    def load(self, device: str) -> ZeroShot | Choosing:
        """The model; a CLIP or SigLIP with all texts already encoded.

        Raises SettingsError for a model that answers no questions, and for a prompt that is more
        than one question about the options.
        """
        if vlm.is_vlm(self.model):
            return self._chat(device)
        model = zero_shot.load(self.model, device, self.dtype)
        for texts in self._texts():
            model.remember(texts)
        return model

    def annotate(self, model: ZeroShot | Choosing, records: Sequence[Record]) -> list[Row]:
        """One landmark per image."""
        if isinstance(model, Choosing):
            return self._by_questions(model, records)
        images = model.images([record.image for record in records])
        coarse, fine = (
            model.logits(images, model.texts(texts)).double().cpu().numpy()
            for texts in self._texts()
        )
        return [{LANDMARK: self._landmark(*pair)} for pair in zip(coarse, fine, strict=True)]

    def _chat(self, device: str) -> Choosing:
        self._question(self._names)
        model = vlm.load(self.model, device, Options(self.dtype, self.min_pixels, self.max_pixels))
        if not isinstance(model, Choosing):
            raise SettingsError(
                f"stage '{self.key}': model '{self.model}' answers no questions; name a chat model "
                "such as llava-hf/llava-1.5-7b-hf, or a CLIP or SigLIP"
            )
        return model

    def _by_questions(self, model: Choosing, records: Sequence[Record]) -> list[Row]:
        """The finer category is asked for among those of the category that was answered."""
        finer = dict(self.categories)
        coarse = self._choices(model, records, [self._names] * len(records))
        fine = self._choices(model, records, [finer[name] for name, _ in coarse])
        return [
            {LANDMARK: Landmark(category, name, "; ".join([self.model, *first, *second]))}
            for (category, first), (name, second) in zip(coarse, fine, strict=True)
        ]

    def _choices(
        self, model: Choosing, records: Sequence[Record], options: Sequence[tuple[str, ...]]
    ) -> list[tuple[str, list[str]]]:
        """The chosen option of every image, with what is to be said of an unreadable answer."""
        images = [partial(getattr, record, "image") for record in records]
        asked = [self._question(some) for some in options]
        questions = [Question(image, text) for image, text in zip(images, asked, strict=True)]
        answers = vlm.ask_all(model, questions, Writing(self.max_new_tokens), len(questions))
        places = [vlm_options.chosen(*pair) for pair in zip(answers, options, strict=True)]
        unclear = [n for n, place in enumerate(places) if place is None]
        notes: list[list[str]] = [[] for _ in records]
        for n in unclear:
            letters = vlm_options.LETTERS[: len(options[n])]
            (places[n],) = model.likeliest([images[n]()], [asked[n]], [letters])
            notes[n] = [f'likeliest letter, unreadable answer "{tidy(answers[n])[:_QUOTED]}"']
        chosen = zip(options, places, notes, strict=True)
        return [(some[place or 0], note) for some, place, note in chosen]

    def _question(self, options: Sequence[str]) -> str:
        return vlm_options.question(self.prompt, options=vlm_options.listed(options))

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.categories)

    def _texts(self) -> tuple[list[str], list[str]]:
        coarse = [fill(self.template, name.lower()) for name in self._names]
        names = (name for _, group in self.categories for name in group)
        return coarse, [fill(self.fine_template, name.lower()) for name in names]

    def _landmark(self, coarse: FloatArray, fine: FloatArray) -> Landmark:
        category_chances = _softmax(coarse)
        ends = np.cumsum([len(group) for _, group in self.categories])
        groups = [_softmax(part) for part in np.split(fine, ends[:-1])]
        if self.joint:
            best = [c * g.max() for c, g in zip(category_chances, groups, strict=True)]
            chosen = int(np.argmax(best))
        else:
            chosen = int(np.argmax(category_chances))
        category, finer = self.categories[chosen]
        return Landmark(category, finer[int(np.argmax(groups[chosen]))], source=self.model)


def _softmax(logits: FloatArray) -> FloatArray:
    chances = np.exp(logits - logits.max())
    return np.asarray(chances / chances.sum())
