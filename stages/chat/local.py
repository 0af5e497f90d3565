"""Language models of transformers in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prompts import Message
from stages import hub
from stages.chat import batch, template
from stages.chat.interface import GREEDY, LENGTH, STOP, Answer, Decoding


@dataclass(frozen=True)
class TransformersChat:
    """A causal language model of transformers with its tokenizer; greedy answers in batches."""

    model: Any
    tokenizer: Any

    @property
    def context_length(self) -> int:
        """The smaller of what the model and the tokenizer declare; 2048 where neither does."""
        config = self.model.config.get_text_config()
        declared = (
            getattr(config, "max_position_embeddings", None),
            getattr(self.tokenizer, "model_max_length", None),
        )
        # Tokenizers without a limit declare an absurd one.
        return min([int(n) for n in declared if n and n < 10_000_000] or [2048])

    def prompt(self, messages: Sequence[Message]) -> str:
        """The chat in the model's own template."""
        return template.rendered(self.tokenizer, messages)

    def count(self, text: str) -> int:
        """Number of the model's own tokens in a text."""
        return template.count(self.tokenizer, text)

    def size(self, messages: Sequence[Message], room: int) -> int:
        """Tokens of a chat's prompt, exactly."""
        return self.count(self.prompt(messages))

    def complete(
        self,
        chats: Sequence[Sequence[Message]],
        max_new_tokens: int,
        decoding: Decoding = GREEDY,
    ) -> list[Answer]:
        """Answers of one batch. Where a batch fails (out of memory), its chats go one by one.

        Sampled answers are made one by one, so that a seed gives the same text in any batch. A
        schema is not enforced.
        """
        texts = [self.prompt(messages) for messages in chats]
        try:
            if decoding.temperature:
                return [self._sampled(text, max_new_tokens, decoding) for text in texts]
            return self._generate(texts, max_new_tokens)
        except RuntimeError as error:
            if len(texts) == 1:
                return [Answer("", type(error).__name__)]
        return [
            answer for chat in chats for answer in self.complete([chat], max_new_tokens, decoding)
        ]

    def _sampled(self, text: str, max_new_tokens: int, decoding: Decoding) -> Answer:
        import torch

        inputs = self.tokenizer([text], return_tensors="pt", add_special_tokens=False)
        given = inputs["input_ids"].to(self.model.device)
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(decoding.seed or 0)
            out = self.model.generate(
                input_ids=given,
                attention_mask=torch.ones_like(given),
                max_new_tokens=max_new_tokens,
                do_sample=True,
                temperature=decoding.temperature,
            )
        return self._answer(out[0, given.shape[1] :].tolist())

    def _generate(self, texts: Sequence[str], max_new_tokens: int) -> list[Answer]:
        import torch

        inputs = self.tokenizer(
            list(texts), return_tensors="pt", padding=True, add_special_tokens=False
        ).to(self.model.device)
        with torch.inference_mode():
            written = batch.write(
                self.model,
                inputs["input_ids"],
                inputs["attention_mask"],
                self._ends(),
                max_new_tokens,
            )
        return [
            Answer(self.tokenizer.decode(said, skip_special_tokens=True), STOP if ended else LENGTH)
            for said, ended in written
        ]

    def _answer(self, tokens: Sequence[int]) -> Answer:
        """The text up to the first token that ends answers."""
        end = next((n for n, token in enumerate(tokens) if token in self._ends()), None)
        text = self.tokenizer.decode(tokens[:end], skip_special_tokens=True)
        return Answer(text, LENGTH if end is None else STOP)

    def _ends(self) -> frozenset[int]:
        ends = self.model.generation_config.eos_token_id
        listed = ends if isinstance(ends, list) else [ends]
        return frozenset(n for n in (*listed, self.tokenizer.eos_token_id) if n is not None)


def load(model: str, device: str, dtype: hub.Dtype = "float32") -> TransformersChat:
    """The causal language model `model` on `device`.

    Raises MissingDependencyError or SettingsError like `hub.pretrained`.
    """
    live = hub.pretrained("AutoModelForCausalLM", model, device, dtype)
    tokenizer = hub.preprocessor("AutoTokenizer", model)
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    settings = live.generation_config
    # Checkpoints often ask for sampling; a data set must come out the same every time.
    settings.do_sample = False
    settings.temperature = settings.top_p = settings.top_k = None
    settings.pad_token_id = tokenizer.pad_token_id
    return TransformersChat(live, tokenizer)
