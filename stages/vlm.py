"""Vision-language models that write text about an image. What they have in common.

Stages ask them by `ask_all` and `choose_all`, wherever they run: in this process, or behind a
server (`vlm_served`). A new kind needs one module with a class that keeps to `Vlm`, a function that
loads it, and a line in `BACKENDS`. Architectures of transformers that are not listed are taken for
chat models, which most new ones are.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from grand_pipeline import weights
from grand_pipeline.errors import SettingsError, suggest
from grand_pipeline.record import Record
from grand_pipeline.types import Box
from stages import device, hub
from stages.chat import LENGTH, STOP, Answer

if TYPE_CHECKING:
    from PIL.Image import Image

Task = Literal["description", "category"]

QUOTED = 200
"""Characters of an unusable answer that are quoted."""

BACKENDS: Mapping[str, str] = {
    "blip": "stages.vlm_captioners:load_blip",
    "blip-2": "stages.vlm_captioners:load_blip2",
    "florence2": "stages.florence:load",
    "kosmos-2": "stages.kosmos:load",
    "llava": "stages.vlm_chat:load",
    "qwen2_5_vl": "stages.vlm_qwen:load",
    "qwen3_vl": "stages.vlm_qwen:load",
}
"""`model_type` of a config -> function of (model, device, options) that loads it."""


@dataclass(frozen=True)
class Options:
    """How a model is loaded; each takes from it what concerns it."""

    dtype: str = "float32"
    min_pixels: int | None = None
    """An image is enlarged to as many pixels, where a larger one makes more tokens."""
    max_pixels: int | None = None
    """An image is shrunk to as many pixels, where a larger one makes more tokens."""


@dataclass(frozen=True)
class Writing:
    """How a text is written; the same image always gets the same words."""

    max_new_tokens: int = 40
    num_beams: int = 1
    no_repeat_ngram: int = 0

    def options(self) -> dict[str, Any]:
        """What `generate` is given, so that nothing of a checkpoint's own habits is left."""
        return {
            "max_new_tokens": self.max_new_tokens,
            "num_beams": self.num_beams,
            "no_repeat_ngram_size": self.no_repeat_ngram,
            "do_sample": False,
        }


class Vlm(Protocol):
    """What stages need of a model."""

    @property
    def answers(self) -> bool:
        """Whether it answers questions in words; others go on from a text or know tasks."""

    def ask(
        self, images: Sequence[Image], prompts: Sequence[str | None], writing: Writing
    ) -> list[str]:
        """One text per image, without the prompt and without marks of the model.

        Args:
            images: one per prompt; an image that is asked about several times may come several
                times as the same object.
            prompts: what is asked or gone on from; None is the model's way to caption.
            writing: how long, and how it is searched.

        What is written for one image does not depend on the others.
        """
        ...


@runtime_checkable
class Locating(Protocol):
    """A model that reads boxes inside prompts."""

    def region_prompt(self, task: Task, box: Box) -> str:
        """The prompt about `box`, whose sides are shares of the image's sides in [0, 1].

        Raises SettingsError for a task that the model was not trained on.
        """
        ...


@runtime_checkable
class Choosing(Vlm, Protocol):
    """A model that can be held to given answers."""

    def likeliest(
        self, images: Sequence[Image], prompts: Sequence[str], words: Sequence[Sequence[str]]
    ) -> list[int]:
        """Per prompt the place, among its `words`, of the one that the model would most probably
        begin its answer with."""
        ...


@runtime_checkable
class Remote(Protocol):
    """A model behind a server. It takes any number of questions, bounds by itself how many are
    under way, and each fails alone."""

    @property
    def answers(self) -> bool:
        """As `Vlm.answers`."""

    def told(self, questions: Sequence[Question], writing: Writing) -> list[Answer]:
        """One answer per question, in order; one that failed is empty and says why."""
        ...

    def chosen(
        self, questions: Sequence[Question], words: Sequence[Sequence[str]]
    ) -> list[int | None]:
        """As `choose_all`."""
        ...


@dataclass(frozen=True)
class Question:
    """A prompt about an image, which is opened or cut out only when its turn comes."""

    image: Callable[[], Image]
    prompt: str | None


def views(model: object, records: Sequence[Record]) -> list[Callable[[], Image]]:
    """How the image of every record is opened when its turn comes.

    A server is asked about whole shards, which do not fit into memory decoded. So there only the
    last image is kept: questions are made one after the other, those about one image together.
    """
    if not isinstance(model, Remote):
        return [partial(getattr, record, "image") for record in records]
    last = lru_cache(maxsize=1)(lambda n: records[n].open_image())
    return [partial(last, n) for n in range(len(records))]


def ask_all(
    model: Vlm | Remote, questions: Sequence[Question], writing: Writing, at_once: int
) -> list[Answer]:
    """The answer to every question: `at_once` at a time, or fewer where memory is full; of a
    server as many as it is said to take."""
    if isinstance(model, Remote):
        return model.told(questions, writing)

    def asked(part: Sequence[Question]) -> list[str]:
        images = [question.image() for question in part]
        return model.ask(images, [question.prompt for question in part], writing)

    return [Answer(text, STOP) for text in device.in_parts(questions, at_once, asked)]


def choose_all(
    model: Choosing | Remote, questions: Sequence[Question], words: Sequence[Sequence[str]]
) -> list[int | None]:
    """Per question the place, among its `words`, of the likeliest answer; None where there is none
    to be had."""
    if isinstance(model, Remote):
        return model.chosen(questions, words)
    asked = zip(questions, words, strict=True)
    return [model.likeliest([one.image()], [one.prompt or ""], [some])[0] for one, some in asked]


def fault(answer: Answer) -> str | None:
    """Why an answer is none, or None. One that was cut short is one: `max_new_tokens` is how much
    is wanted."""
    if answer.finish_reason in (STOP, LENGTH):
        return None
    said = f". Its answer: {answer.text[:QUOTED]}" if answer.text else ""
    return f"the model gave no usable answer: {answer.finish_reason}{said}"


def is_vlm(model: str) -> bool:
    """Whether the checkpoint's architecture writes text about images. Raises as `hub` does."""
    if model.startswith(weights.OPEN_CLIP):
        return False
    return _kind(model) in _known()


def load(model: str, device: str, options: Options | None = None) -> Vlm:
    """Load a model.

    Raises SettingsError for a checkpoint of another kind, else as `hub.pretrained` does.
    """
    kind = _kind(model)
    if kind not in _known():
        raise SettingsError(
            f"model '{model}' can not be loaded as a vision-language model: it is of the "
            f"architecture '{kind}'.{suggest(kind, BACKENDS)} Name for example "
            "Salesforce/blip-image-captioning-base"
        )
    # By name, because every model's module looks at this one.
    module, _, function = BACKENDS.get(kind, BACKENDS["llava"]).partition(":")
    found: Vlm = getattr(importlib.import_module(module), function)(
        model, device, options or Options()
    )
    return found


def pretrained(model: str, device: str, options: Options) -> Any:
    """The model alone, and what its checkpoint says about sampling forgotten."""
    live = hub.pretrained("AutoModelForImageTextToText", model, device, options.dtype)
    settings = getattr(live, "generation_config", None)
    if settings is not None:
        settings.do_sample = False
        settings.temperature = settings.top_p = settings.top_k = None
    return live


def placed(inputs: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """Tensors on the model's device, those of fractions in its number format."""
    return {name: device.placed(value, model.device, model.dtype) for name, value in inputs.items()}


def distinct(images: Sequence[Image]) -> tuple[list[Image], list[int]]:
    """The images without repeated objects, and where each of the given ones stands among them."""
    first = {id(image): image for image in images}
    place = {key: n for n, key in enumerate(first)}
    return list(first.values()), [place[id(image)] for image in images]


def _kind(model: str) -> str:
    return str(hub.preprocessor("AutoConfig", model).model_type)


def _known() -> frozenset[str]:
    from transformers.models.auto import modeling_auto

    return frozenset(modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES) | frozenset(BACKENDS)
