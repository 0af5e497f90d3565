"""Chat models that see: LLaVA, and others whose processor writes the prompt.

(Liu et al., Visual Instruction Tuning, 2023; Improved Baselines with Visual Instruction Tuning,
2023.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from grand_pipeline.errors import SettingsError
from stages import hub, vlm
from stages.crops import workable
from stages.vlm import Options, Writing

if TYPE_CHECKING:
    from PIL.Image import Image

CAPTION = "Describe the image in one sentence."

_LLAVA = (
    "{% for m in messages %}USER: {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>\n{% else %}{{ c['text'] }}{% endif %}"
    "{% endfor %} {% endfor %}ASSISTANT:"
)
"""For LLaVA 1.5 checkpoints that bring no chat template."""


class Asking(Protocol):
    """Makes a model's inputs of images and questions, padded at the left."""

    def __call__(self, images: Sequence[Image], questions: Sequence[str]) -> dict[str, Any]:
        """Tensors by the model's names for them; `input_ids` is among them."""
        ...


@dataclass(frozen=True)
class ChatVlm:
    """A loaded model."""

    model: Any
    tokenizer: Any
    asking: Asking
    answers: bool = True

    def ask(
        self, images: Sequence[Image], prompts: Sequence[str | None], writing: Writing
    ) -> list[str]:
        """As `Vlm.ask`."""
        import torch

        inputs = self._inputs(images, [prompt or CAPTION for prompt in prompts])
        with torch.inference_mode():
            tokens = self.model.generate(**inputs, **writing.options())
        start = inputs["input_ids"].shape[1]
        texts: list[str] = self.tokenizer.batch_decode(tokens[:, start:], skip_special_tokens=True)
        return [text.strip() for text in texts]

    def likeliest(
        self, images: Sequence[Image], prompts: Sequence[str], words: Sequence[Sequence[str]]
    ) -> list[int]:
        """As `Choosing.likeliest`; words are told apart by their first token, which may begin
        with a blank."""
        import torch

        inputs = self._inputs(images, prompts)
        with torch.inference_mode():
            told = self.model.generate(
                **inputs,
                **Writing(max_new_tokens=1).options(),
                return_dict_in_generate=True,
                output_logits=True,
            )
        logits = told.logits[0].float().cpu()
        return [
            max(range(len(some)), key=lambda n: max(float(row[i]) for i in self._starts(some[n])))
            for row, some in zip(logits, words, strict=True)
        ]

    def _starts(self, word: str) -> set[int]:
        ids = (
            self.tokenizer(text, add_special_tokens=False)["input_ids"]
            for text in (word, f" {word}")
        )
        # Some tokenizers write the blank as a token of its own.
        bare = set(self.tokenizer(" ", add_special_tokens=False)["input_ids"])
        return {next((i for i in row if i not in bare), row[0]) for row in ids}

    def _inputs(self, images: Sequence[Image], questions: Sequence[str]) -> dict[str, Any]:
        given = self.asking([workable(image) for image in images], questions)
        return vlm.placed(given, self.model)


@dataclass(frozen=True)
class ByProcessor:
    """The processor of a checkpoint does all: template, places for the image, padding."""

    processor: Any
    template: str | None

    def __call__(self, images: Sequence[Image], questions: Sequence[str]) -> dict[str, Any]:
        """As `Asking`."""
        texts = [
            self.processor.apply_chat_template(
                turn(question), add_generation_prompt=True, chat_template=self.template
            )
            for question in questions
        ]
        # A template may write the mark of the beginning, which the tokenizer would write again.
        start = self.processor.tokenizer.bos_token
        marked = bool(start) and texts[0].startswith(start)
        return dict(
            self.processor(
                images=list(images),
                text=texts,
                padding=True,
                add_special_tokens=not marked,
                return_tensors="pt",
            )
        )


def load(model: str, device: str, options: Options) -> ChatVlm:
    """Load a chat model.

    Raises SettingsError when its processor has no chat template, else as `hub.pretrained` does.
    """
    # Before the weights, which are large: most of what can be missing is found missing here.
    processor = hub.preprocessor("AutoProcessor", model)
    template = getattr(processor, "chat_template", None)
    if template is None and type(processor).__name__ == "LlavaProcessor":
        template = _LLAVA
    if template is None:
        raise SettingsError(
            f"model '{model}' brings no chat template ({type(processor).__name__}), so how it is "
            "to be asked is not known; name an instruction-tuned checkpoint"
        )
    live = vlm.pretrained(model, device, options)
    return ChatVlm(live, padded_left(processor.tokenizer), ByProcessor(processor, template))


def padded_left(tokenizer: Any) -> Any:
    """The tokenizer, set so that answers of a batch begin together."""
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def turn(question: str) -> list[dict[str, Any]]:
    """The chat in which a user asks `question` about one image."""
    content = [{"type": "image"}, {"type": "text", "text": question}]
    return [{"role": "user", "content": content}]
