"""Chat models that see, behind a server: every question is one request with its picture.

The picture goes along as JPEG inside the message (`image_url` with a `data:` URI), as OpenAI's
interface has it. It is sized here, by the options that bound pixels for a model in this process.
"""

from __future__ import annotations

import base64
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grand_pipeline.errors import ImageError
from stages import vlm, vlm_chat
from stages.chat import GREEDY, Answer, Decoding, Dialog, EndpointChat, Request, Serving, served
from stages.chat.serving import known, launched, server
from stages.crops import workable
from stages.vlm import Options, Question, Remote, Vlm, Writing

if TYPE_CHECKING:
    from PIL.Image import Image

QUALITY = 95
"""Of JPEG, with colours at full resolution: a fifth of PNG's size, and nothing that one sees."""

_CHOICE = 32
"""Most tokens of a choice as JSON."""


@dataclass(frozen=True, kw_only=True)
class Looking(Serving):
    """Options of a stage that asks a model about images, listed beside `Stage` among its bases."""

    min_pixels: int | None = None
    """Models with a token per so many pixels (Qwen), and all behind servers: what is smaller is
    enlarged to as many. Unset: what the checkpoint says; as it is."""

    max_pixels: int | None = 1_003_520
    """Models with a token per so many pixels (Qwen), and all behind servers: what is larger is
    shrunk to as many. Unset: what the checkpoint says, which can be 16 million; as it is."""


def live(stage: Looking, device: str, environment: Mapping[str, str] = os.environ) -> Vlm | Remote:
    """The stage's model, in this process or behind a server.

    Raises SettingsError or MissingDependencyError that says what to do.
    """
    if not served(stage):
        options = Options(stage.dtype, stage.min_pixels, stage.max_pixels)
        return vlm.load(stage.model, device, options)
    reached = launched(stage, (), environment) if stage.vllm else server(stage, environment)
    if not stage.context_length:
        known(reached)
    chat = EndpointChat(reached, stage.context_length)
    return ServedVlm(chat, stage.min_pixels, stage.max_pixels)


def models(stage: Looking) -> tuple[str, ...]:
    """What identifies the weights. A server's are known by their name alone, an option anyway."""
    return () if stage.endpoint else (stage.model,)


def check_greedy(stage: Looking, beams: int, no_repeat_ngram: int = 0) -> None:
    """Raises ValueError where a server is to search as only models in this process can."""
    if served(stage) and (beams != 1 or no_repeat_ngram):
        raise ValueError(
            f"num_beams = {beams} and no_repeat_ngram = {no_repeat_ngram} are for models in this "
            "process; servers are asked greedily: set num_beams = 1 and no_repeat_ngram = 0"
        )


@dataclass(frozen=True)
class ServedVlm:
    """A chat model that sees, as `vlm.Remote` has it. Pictures have from `min_pixels` to
    `max_pixels` pixels when they are sent."""

    chat: EndpointChat
    min_pixels: int | None = None
    max_pixels: int | None = None
    answers: bool = True

    def told(self, questions: Sequence[Question], writing: Writing) -> list[Answer]:
        """As `vlm.Remote.told`. A picture is opened, sized and written when its turn comes."""
        most = writing.max_new_tokens
        return self.chat.hold(self._asking(question, most) for question in questions)

    def chosen(
        self, questions: Sequence[Question], words: Sequence[Sequence[str]]
    ) -> list[int | None]:
        """As `vlm.choose_all`: the answer is asked for as JSON under a schema that has no others;
        None where the server does not keep to it, or fails."""
        pairs = zip(questions, words, strict=True)
        asked = (self._asking(one, _CHOICE, Decoding(schema=_schema(some))) for one, some in pairs)
        return [_place(*pair) for pair in zip(self.chat.hold(asked), words, strict=True)]

    def _asking(self, question: Question, most: int, decoding: Decoding = GREEDY) -> Dialog[Answer]:
        try:
            picture = written(sized(question.image(), self.min_pixels, self.max_pixels))
        except ImageError as error:
            return Answer("", f"{type(error).__name__} ({error})")
        words = [{"role": "user", "content": question.prompt or vlm_chat.CAPTION}]
        return (yield Request(words, most, decoding, picture))


def sized(image: Image, min_pixels: int | None, max_pixels: int | None) -> Image:
    """`image` as models can take it, with as many pixels as that; its shape stays."""
    image = workable(image)
    pixels = image.width * image.height
    wanted = min(max(pixels, min_pixels or 0), max_pixels or math.inf)
    if wanted == pixels:
        return image
    scale = math.sqrt(wanted / pixels)
    # Down where it must not be more, up where it must not be less.
    whole = math.floor if scale < 1 else math.ceil
    return image.resize((max(1, whole(image.width * scale)), max(1, whole(image.height * scale))))


def written(image: Image) -> str:
    """A JPEG of `image` as a `data:` URI."""
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=QUALITY, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _schema(words: Sequence[str]) -> str:
    answer = {"type": "string", "enum": list(words)}
    return json.dumps(
        {
            "type": "object",
            "properties": {"answer": answer},
            "required": ["answer"],
            "additionalProperties": False,
        }
    )


def _place(answer: Answer, words: Sequence[str]) -> int | None:
    try:
        return list(words).index(json.loads(answer.text)["answer"])
    except (ValueError, KeyError, TypeError):
        return None
