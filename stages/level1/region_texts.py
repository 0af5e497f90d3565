"""A text about every object by a vision-language model: what it looks like, or what it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from grand_pipeline.columns import ATTRIBUTES, INSTANCES
from grand_pipeline.errors import SettingsError
from grand_pipeline.record import Record
from grand_pipeline.stage import Questions, Reads, Row, Stage, Writes
from grand_pipeline.types import Attribute, Box, Instance, Size
from stages import hub, vlm
from stages.crops import crop
from stages.texts import plain, tidy
from stages.vlm import Locating, Options, Question, Task, Vlm, Writing

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
class RegionTexts(Stage[Vlm]):
    """One text per object, as the model wrote it; an object of which nothing is said has none.

    Florence-2 and Kosmos-2 read the object's box as location tokens; other models see the object
    cut out, or the whole image with a red rectangle around it.
    """

    level: ClassVar[int] = 1
    operational: ClassVar[frozenset[str]] = Stage.operational | {"at_once"}

    source: str
    """Name of the model in the column."""
    model: str = "florence-community/Florence-2-large"
    """Hub id, folder or `embedded:` name of a checkpoint that writes text about an image."""
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
    min_pixels: int | None = None
    """Models with a token per so many pixels (Qwen): smaller views are enlarged to as many.
    Unset: what the checkpoint says."""
    max_pixels: int | None = 1_003_520
    """Models with a token per so many pixels (Qwen): larger views are shrunk to as many. Unset:
    what the checkpoint says, which can be 16 million."""
    dtype: hub.Dtype = "float32"
    """Numbers the model computes in; "bfloat16" halves its memory."""
    at_once: int = 16
    """Objects, of all images of a batch, given to the model at once."""

    def __post_init__(self) -> None:
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
    def questions(self) -> Questions:
        """One about every object."""
        return Questions(
            per_object=True,
            frame=self.prompt or "",
            sees=True,
            longest=self.max_new_tokens,
            answers=ATTRIBUTES.of(self.source),
        )

    def load(self, device: str) -> Vlm:
        """The model. Raises SettingsError when it can not be asked as the options say."""
        model = vlm.load(self.model, device, Options(self.dtype, self.min_pixels, self.max_pixels))
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

    def annotate(self, model: Vlm, records: Sequence[Record]) -> list[Row]:
        """Texts about the objects of every image."""
        asked = [
            (n, instance)
            for n, record in enumerate(records)
            for instance in record[INSTANCES]
            if self._wanted(instance, record.size)
        ]
        questions = [self._question(model, records[n], instance) for n, instance in asked]
        writing = Writing(self.max_new_tokens, self.num_beams)
        texts = vlm.ask_all(model, questions, writing, self.at_once) if questions else []
        found: list[list[Attribute]] = [[] for _ in records]
        for (n, instance), text in zip(asked, map(tidy, texts), strict=True):
            if text:
                found[n].append(Attribute(instance.id, self.source, text))
        return [{ATTRIBUTES.of(self.source): tuple(attributes)} for attributes in found]

    def _view(self, model: Vlm) -> View:
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

    def _question(self, model: Vlm, record: Record, instance: Instance) -> Question:
        view, whole = self._view(model), partial(getattr, record, "image")
        if view == "box" and isinstance(model, Locating):
            return Question(whole, model.region_prompt(self.task, _share(instance.box, record)))
        prompt = self.prompt
        if prompt is None and model.answers:
            prompt = QUESTIONS[view, self.task]
        if prompt is not None:
            prompt = prompt.replace("{}", plain(instance.label) or "object")
        seen = partial(_cut, record, instance.box, self.margin)
        return Question(seen if view == "crop" else partial(_framed, record, instance.box), prompt)


def _cut(record: Record, box: Box, margin: float) -> Image:
    return crop(record.image, box, margin)


def _framed(record: Record, box: Box) -> Image:
    """A copy of the image with a red rectangle along the box."""
    from PIL import ImageDraw

    image = record.image.copy()
    stroke = max(2, round(max(image.size) / 250))
    x1, y1, x2, y2 = (round(side) for side in box)
    # The last row and column of the box are drawn on, those behind it are not.
    corners = (x1, y1, max(x1, x2 - 1), max(y1, y2 - 1))
    ImageDraw.Draw(image).rectangle(corners, outline=(255, 0, 0), width=stroke)
    return image


def _share(box: Box, record: Record) -> Box:
    x1, y1, x2, y2 = box
    return x1 / record.width, y1 / record.height, x2 / record.width, y2 / record.height
