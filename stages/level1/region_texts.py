"""A text about every object by a vision-language model: what it looks like, or what it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from grand_pipeline.columns import ATTRIBUTES, INSTANCES
from grand_pipeline.errors import SettingsError
from grand_pipeline.record import Record
from grand_pipeline.stage import Failed, Questions, Reads, Row, Stage, Writes
from grand_pipeline.types import Attribute, Box, Instance, Size
from stages import vlm, vlm_served
from stages.chat import OPERATIONAL, served
from stages.crops import crop
from stages.texts import plain, tidy
from stages.vlm import Locating, Question, Remote, Task, Vlm, Writing
from stages.vlm_served import Looking

if TYPE_CHECKING:
    from PIL.Image import Image

View = Literal["auto", "box", "crop", "mark"]

QUESTIONS: dict[tuple[str, Task], str] = {
    ("crop", "description"): "Describe the {} in this picture in a few words.",
    ("crop", "category"): "What is shown in this picture? Answer with one or two words.",
    ("mark", "description"): "Describe the {} inside the red rectangle in a few words.",
    ("mark", "category"): "What is inside the red rectangle? Answer with one or two words.",
}
"""What chat models are asked where no prompt is given."""


@dataclass(frozen=True, kw_only=True)
class RegionTexts(Stage[Vlm | Remote], Looking):
    """One text per object, as the model wrote it; an object of which nothing is said has none.

    Florence-2 and Kosmos-2 read the object's box as location tokens; other models see the object
    cut out, or the whole image with a red rectangle around it. Where questions about an image's
    objects fail, the image is an error row that names them and keeps the other objects' texts.
    """

    level: ClassVar[int] = 1
    operational: ClassVar[frozenset[str]] = Stage.operational | OPERATIONAL | {"at_once"}

    source: str
    """Name of the model in the column."""
    model: str = "florence-community/Florence-2-large"
    """Hub id, folder or `embedded:` name of a checkpoint that writes text about an image; with
    `endpoint` the name under which the server knows a chat model that sees."""
    task: Task = "description"
    """"description": what the object looks like; "category": what it is."""
    view: View = "auto"
    """How the object is shown: "box" by the model's location tokens, "crop" cut out, "mark" with a
    red rectangle in the whole image. "auto": "box" where the model has such tokens, else "crop"."""
    prompt: str | None = None
    """With "crop" and "mark": what is asked, `{}` for the object's label. Unset: a chat model is
    asked for the task, others caption the crop."""
    margin: float = 0.1
    """A crop is the object's box widened by this share of its sides."""
    least_area: float = 0.0
    """Objects whose box takes less of the image than this share are left out (GranD: 0.02)."""
    stuff: bool = False
    """Ask about stuff (sky, grass) too."""
    floating: bool = True
    """Ask about floating objects too."""
    max_new_tokens: int = 30
    """Most tokens written."""
    num_beams: int = 1
    """Beams of the search; 1 is greedy."""
    at_once: int = 16
    """Objects, of all images of a batch, given to a model in this process at once."""

    def __post_init__(self) -> None:
        super().__post_init__()
        vlm_served.check_greedy(self, self.num_beams)
        if self.prompt is not None and self.prompt.replace("{}", "", 1).count("{}"):
            raise ValueError("option 'prompt' holds `{}` more than once; it stands for the label")

    @property
    def reads(self) -> Reads:
        """Objects."""
        return (INSTANCES,)

    @property
    def writes(self) -> Writes:
        """At most one text per object."""
        return (ATTRIBUTES.of(self.source),)

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
        """One about every object."""
        return Questions(
            per_object=True,
            frame=self.prompt or "",
            sees=True,
            longest=self.max_new_tokens,
            answers=ATTRIBUTES.of(self.source),
        )

    def load(self, device: str) -> Vlm | Remote:
        """The model. Raises SettingsError when it can not be asked as the options say."""
        model = vlm_served.live(self, device)
        view = self._view(model)
        if view == "box" and not isinstance(model, Locating):
            raise SettingsError(
                f"stage '{self.key}': model '{self.model}' has no location tokens for "
                'view = "box"; set "crop" or "mark", or name a Florence-2 or Kosmos-2'
            )
        if view == "box" and self.prompt is not None:
            raise SettingsError(
                f"stage '{self.key}': 'prompt' is for the views \"crop\" and \"mark\"; what "
                f"'{self.model}' is told about a box follows from 'task'"
            )
        if isinstance(model, Locating) and view == "box":
            model.region_prompt(self.task, (0.0, 0.0, 1.0, 1.0))
        return model

    def annotate(self, model: Vlm | Remote, records: Sequence[Record]) -> list[Row | Failed]:
        """Texts about the objects of every image."""
        asked = [
            (n, instance)
            for n, record in enumerate(records)
            for instance in record[INSTANCES]
            if self._wanted(instance, record.size)
        ]
        seen = vlm.views(model, records)
        questions = [self._question(model, records[n], seen[n], one) for n, one in asked]
        writing = Writing(self.max_new_tokens, self.num_beams)
        answers = vlm.ask_all(model, questions, writing, self.at_once) if questions else []
        found: list[list[Attribute]] = [[] for _ in records]
        faults: list[list[str]] = [[] for _ in records]
        for (n, instance), answer in zip(asked, answers, strict=True):
            text, fault = tidy(answer.text), vlm.fault(answer)
            if fault is not None:
                faults[n].append(f"object {instance.id}: {fault}")
            elif text:
                found[n].append(Attribute(instance.id, self.source, text))
        return [self._row(*pair) for pair in zip(found, faults, strict=True)]

    def _row(self, found: Sequence[Attribute], faults: Sequence[str]) -> Row | Failed:
        row = {ATTRIBUTES.of(self.source): tuple(found)}
        if not faults:
            return row
        more = f"; and {len(faults) - 1} more" if len(faults) > 1 else ""
        return Failed(f"{faults[0]}{more}", row)

    def _view(self, model: Vlm | Remote) -> View:
        if self.view != "auto":
            return self.view
        return "box" if isinstance(model, Locating) else "crop"

    def _wanted(self, instance: Instance, size: Size) -> bool:
        x1, y1, x2, y2 = instance.box
        share = (x2 - x1) * (y2 - y1) / (size[0] * size[1])
        return (
            (self.stuff or instance.kind != "stuff")
            and (self.floating or instance.status != "floating")
            and share >= self.least_area
        )

    def _question(
        self,
        model: Vlm | Remote,
        record: Record,
        whole: Callable[[], Image],
        instance: Instance,
    ) -> Question:
        view = self._view(model)
        if view == "box" and isinstance(model, Locating):
            return Question(whole, model.region_prompt(self.task, _share(instance.box, record)))
        prompt = self.prompt
        if prompt is None and model.answers:
            prompt = QUESTIONS[view, self.task]
        if prompt is not None:
            prompt = prompt.replace("{}", plain(instance.label) or "object")
        if view == "crop":
            return Question(partial(_cut, whole, instance.box, self.margin), prompt)
        return Question(partial(_framed, whole, instance.box), prompt)


def _cut(whole: Callable[[], Image], box: Box, margin: float) -> Image:
    return crop(whole(), box, margin)


def _framed(whole: Callable[[], Image], box: Box) -> Image:
    """A copy of the image with a red rectangle along the box."""
    from PIL import ImageDraw

    image = whole().copy()
    stroke = max(2, round(max(image.size) / 250))
    x1, y1, x2, y2 = (round(side) for side in box)
    # The last row and column of the box are drawn on, those behind it are not.
    corners = (x1, y1, max(x1, x2 - 1), max(y1, y2 - 1))
    ImageDraw.Draw(image).rectangle(corners, outline=(255, 0, 0), width=stroke)
    return image


def _share(box: Box, record: Record) -> Box:
    x1, y1, x2, y2 = box
    return x1 / record.width, y1 / record.height, x2 / record.width, y2 / record.height
