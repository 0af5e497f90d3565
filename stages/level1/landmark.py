"""The kind of place: a category and one of its finer categories.

A CLIP or SigLIP compares the image with the names; a chat model that sees is asked two questions
with given answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from grand_pipeline.columns import LANDMARK
from grand_pipeline.errors import SettingsError
from grand_pipeline.record import Record
from grand_pipeline.stage import Failed, Questions, Reads, Row, Stage, Writes
from grand_pipeline.types import FloatArray, Landmark
from stages import vlm, vlm_options, vlm_served, zero_shot
from stages.chat import OPERATIONAL, served
from stages.texts import check_template, fill, tidy
from stages.vlm import Choosing, Question, Remote, Writing
from stages.vlm_served import Looking
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


@dataclass(frozen=True)
class _Choice:
    """Which of the options was chosen, or why none was, and what is to be said of the answer."""

    options: tuple[str, ...]
    place: int | None
    fault: str = ""
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The chosen option."""
        return self.options[self.place or 0]


@dataclass(frozen=True, kw_only=True)
class LandmarkStage(Stage[ZeroShot | Choosing | Remote], Looking):
    """First the category, then the finer category among those of the chosen one.

    A chat model's answer counts if it names one of the kinds, by letter or name. If it can not be
    read, the kind whose letter the model finds likeliest as its next word is taken (a server is
    asked again under a schema that has only the letters), and the landmark's source says so and
    quotes the answer.
    """

    version: ClassVar[int] = 2
    level: ClassVar[int] = 1
    operational: ClassVar[frozenset[str]] = Stage.operational | OPERATIONAL

    model: str = "openai/clip-vit-large-patch14-336"
    """Hub id, folder or `embedded:` name of a CLIP, a SigLIP, or a chat model that sees (LLaVA,
    Qwen2.5-VL, Qwen3-VL); with `endpoint` the name under which the server knows such a chat
    model."""
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

    def __post_init__(self) -> None:
        super().__post_init__()
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

    def load(self, device: str) -> ZeroShot | Choosing | Remote:
        """The model; a CLIP or SigLIP with all texts already encoded.

        Raises SettingsError for a model that answers no questions, and for a prompt that is more
        than one question about the options.
        """
        if served(self) or vlm.is_vlm(self.model):
            return self._chat(device)
        model = zero_shot.load(self.model, device, self.dtype)
        for texts in self._texts():
            model.remember(texts)
        return model

    def annotate(
        self, model: ZeroShot | Choosing | Remote, records: Sequence[Record]
    ) -> list[Row | Failed]:
        """One landmark per image."""
        if isinstance(model, Choosing | Remote):
            return self._by_questions(model, records)
        images = model.images([record.image for record in records])
        coarse, fine = (
            model.logits(images, model.texts(texts)).double().cpu().numpy()
            for texts in self._texts()
        )
        return [{LANDMARK: self._landmark(*pair)} for pair in zip(coarse, fine, strict=True)]

    def _chat(self, device: str) -> Choosing | Remote:
        self._question(self._names)
        model = vlm_served.live(self, device)
        if not isinstance(model, Choosing | Remote):
            raise SettingsError(
                f"stage '{self.key}': model '{self.model}' answers no questions; name a chat model "
                "such as llava-hf/llava-1.5-7b-hf, or a CLIP or SigLIP"
            )
        return model

    def _by_questions(
        self, model: Choosing | Remote, records: Sequence[Record]
    ) -> list[Row | Failed]:
        """The finer category is asked for among those of the category that was answered."""
        finer = dict(self.categories)
        coarse = self._choices(model, records, [self._names] * len(records))
        known = [n for n, choice in enumerate(coarse) if not choice.fault]
        fine = self._choices(
            model, [records[n] for n in known], [finer[coarse[n].name] for n in known]
        )
        rows: list[Row | Failed] = [Failed(choice.fault) for choice in coarse]
        for n, choice in zip(known, fine, strict=True):
            source = "; ".join([self.model, *coarse[n].notes, *choice.notes])
            found = Landmark(coarse[n].name, choice.name, source)
            rows[n] = Failed(choice.fault) if choice.fault else {LANDMARK: found}
        return rows

    def _choices(
        self,
        model: Choosing | Remote,
        records: Sequence[Record],
        options: Sequence[tuple[str, ...]],
    ) -> list[_Choice]:
        """The chosen option of every image."""
        asked = [self._question(some) for some in options]
        pairs = zip(vlm.views(model, records), asked, strict=True)
        questions = [Question(view, text) for view, text in pairs]
        answers = vlm.ask_all(model, questions, Writing(self.max_new_tokens), len(questions))
        found = [
            _Choice(some, vlm_options.chosen(answer.text, some), vlm.fault(answer) or "")
            for answer, some in zip(answers, options, strict=True)
        ]
        unclear = [n for n, one in enumerate(found) if one.place is None and not one.fault]
        letters = [vlm_options.LETTERS[: len(options[n])] for n in unclear]
        likeliest = vlm.choose_all(model, [questions[n] for n in unclear], letters)
        for n, place in zip(unclear, likeliest, strict=True):
            said = f'unreadable answer "{tidy(answers[n].text)[:_QUOTED]}"'
            note, fault = f"likeliest letter, {said}", f"{said}, and no letter when asked for one"
            found[n] = _Choice(options[n], place, fault if place is None else "", (note,))
        return found

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
