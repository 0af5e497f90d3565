"""Grounding DINO and MM-Grounding-DINO: one model sees the image and a whole text together.

Every box gets a score for every token of the text; a label's or a phrase's score is that of its
tokens. Labels that are asked for together are put into one prompt, "cat. red car.", so what one of
them gets depends a little on the others: the groups are part of the result. A text is split where
the model's own tokenizer says that it is too long.
(Liu et al., Grounding DINO, 2023; Zhao et al., An Open and Comprehensive Pipeline for Unified
Object Grounding and Detection, 2024.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from grand_pipeline.errors import SettingsError
from grand_pipeline.types import FloatArray, Size
from stages import device, grounders, hub, label_prompts, pixels
from stages.detector import Options, Scored
from stages.grounders import Grounded, Span
from stages.label_prompts import Prompt, Prompter

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


@dataclass(frozen=True)
class GroundingDino:
    """A loaded model. `token_score` is "max" or "mean" of a label's tokens; boxes whose best label
    scores under `least` are left out.

    What is found in an image depends on its neighbours in the batch by rounding only, with one
    exception: where places of an image are exactly alike (it has a single colour), rounding decides
    which of them become boxes.
    """

    model: Any
    processor: Any
    device: str
    prompter: Prompter
    token_score: str = "max"
    least: float = 0.0

    def remember(self, queries: Iterable[str]) -> None:
        """Tokenize the queries not seen before."""
        self.prompter.remember(queries)

    def score(
        self, images: Sequence[Image], sizes: Sequence[Size], queries: Sequence[Sequence[str]]
    ) -> list[Scored]:
        """Boxes of every image scored against its own queries; as `Detector.score`.

        Each prompt has boxes of its own, which know nothing of the queries of other prompts: their
        scores for those are 0.
        """
        prompts = [self.prompter.of_labels(asked) for asked in queries]
        answers = self._ask_all(images, sizes, prompts)
        return [
            _joined(some, found, len(asked))
            for some, found, asked in zip(prompts, answers, queries, strict=True)
        ]

    def ground(
        self,
        images: Sequence[Image],
        sizes: Sequence[Size],
        captions: Sequence[str],
        phrases: Sequence[Sequence[Span]],
    ) -> list[list[Grounded]]:
        """Boxes of every phrase inside its caption; as `Grounder.ground`.

        A caption that is longer than a prompt is cut, between its sentences where it can be.
        """
        prompts = [
            self.prompter.of_caption(caption, spans)
            for caption, spans in zip(captions, phrases, strict=True)
        ]
        answers = self._ask_all(images, sizes, prompts)
        nothing = Grounded(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
        grounded = [[nothing] * len(spans) for spans in phrases]
        for found, some, parts in zip(grounded, prompts, answers, strict=True):
            for prompt, answer in zip(some, parts, strict=True):
                for number, scores in zip(prompt.numbers, answer.scores.T, strict=True):
                    found[number] = Grounded(answer.boxes, scores)
        return grounded

    def _ask_all(
        self,
        images: Sequence[Image],
        sizes: Sequence[Size],
        prompts: Sequence[Sequence[Prompt]],
    ) -> list[list[Scored]]:
        """Per image, the answers to its prompts. An image that comes twice is prepared once."""
        asked = [n for n, some in enumerate(prompts) if some]
        distinct = list({id(images[n]): n for n in asked}.values())
        place = {id(images[n]): i for i, n in enumerate(distinct)}
        jobs = [(place[id(images[n])], prompt) for n in asked for prompt in prompts[n]]
        answers = iter(self._ask([images[n] for n in distinct], [sizes[n] for n in distinct], jobs))
        return [[next(answers) for _ in some] for some in prompts]

    def _ask(
        self, images: Sequence[Image], sizes: Sequence[Size], jobs: Sequence[tuple[int, Prompt]]
    ) -> list[Scored]:
        """The answer to each (place of an image, prompt): boxes, and scores (n, parts)."""
        import torch

        answers: dict[int, Scored] = {}
        for batch in pixels.by_shape(
            self.processor.image_processor, images, self.device, self.model.dtype
        ):
            row = {index: n for n, index in enumerate(batch.indices)}
            mine = [number for number, (index, _) in enumerate(jobs) if index in row]

            def asked(
                part: Sequence[int], batch: pixels.Batch = batch, row: dict[int, int] = row
            ) -> list[Scored]:
                rows = torch.tensor([row[jobs[n][0]] for n in part], device=self.device)
                inputs = {name: value[rows] for name, value in batch.inputs.items()}
                return self._forward(inputs, [(sizes[jobs[n][0]], jobs[n][1]) for n in part])

            # A prompt more costs what an image more costs: no more of them than images at once.
            answers.update(zip(mine, device.in_parts(mine, len(images), asked), strict=True))
        return [answers[number] for number in range(len(jobs))]

    def _forward(
        self, inputs: dict[str, Tensor], asked: Sequence[tuple[Size, Prompt]]
    ) -> list[Scored]:
        import torch

        longest = max(len(prompt.ids) for _, prompt in asked)
        pad = self.processor.tokenizer.pad_token_id
        ids = [[*prompt.ids, *[pad] * (longest - len(prompt.ids))] for _, prompt in asked]
        seen = [[int(n < len(prompt.ids)) for n in range(longest)] for _, prompt in asked]
        with torch.inference_mode():
            out = self.model(
                **inputs,
                input_ids=torch.tensor(ids, device=self.device),
                attention_mask=torch.tensor(seen, device=self.device),
            )
            chances = out.logits.float().sigmoid()
        return [
            self._answer(out.pred_boxes[n], chances[n], size, prompt)
            for n, (size, prompt) in enumerate(asked)
        ]

    def _answer(self, boxes: Tensor, chances: Tensor, size: Size, prompt: Prompt) -> Scored:
        scores = _of_parts(chances, prompt.parts, self.token_score)
        kept = np.flatnonzero(scores.max(axis=1, initial=0.0) >= self.least)
        return Scored(pixels.to_pixels(boxes, size)[kept], scores[kept])


def load(model: str, device: str, options: Options) -> GroundingDino:
    """Load a checkpoint as a detector.

    Raises SettingsError when its tokenizer does not fit the model, else as `hub.pretrained`.
    """
    live = hub.pretrained("AutoModelForZeroShotObjectDetection", model, device, options.dtype)
    processor = hub.preprocessor("AutoProcessor", model)
    tokenizer, config = processor.tokenizer, live.config
    # The model knows the marks by their numbers; another vocabulary would run, and take all
    # labels of a prompt for one.
    marks = tokenizer.convert_tokens_to_ids(["[CLS]", "[SEP]", ".", "?"])
    if not label_prompts.MARKS.issuperset(marks):
        raise SettingsError(
            f"model '{model}' has a tokenizer with the marks {marks}, but divides texts at "
            f"{sorted(label_prompts.MARKS)}; its tokenizer has to be that of bert-base-uncased"
        )
    longest = (
        config.max_text_len,
        config.text_config.max_position_embeddings,
        tokenizer.model_max_length,
    )
    prompter = Prompter(tokenizer, int(min(longest)) - 2, options.labels_per_prompt)
    return GroundingDino(live, processor, device, prompter, options.token_score, options.least)


def load_grounder(model: str, device: str, options: grounders.Options) -> GroundingDino:
    """Load a checkpoint as a grounder. Raises as `load` does."""
    shared = Options(dtype=options.dtype, token_score=options.token_score, least=options.least)
    return load(model, device, shared)


def _joined(prompts: Sequence[Prompt], found: Sequence[Scored], queries: int) -> Scored:
    """Answers to the prompts of one image as one, in which every query has its column."""
    if not prompts:
        return Scored(np.zeros((0, 4), np.float32), np.zeros((0, queries), np.float32))
    parts = []
    for prompt, answer in zip(prompts, found, strict=True):
        scores = np.zeros((len(answer.boxes), queries), np.float32)
        scores[:, list(prompt.numbers)] = answer.scores
        parts.append(scores)
    groups = tuple(len(prompt.parts) for prompt in prompts)
    return Scored(np.concatenate([a.boxes for a in found]), np.concatenate(parts), groups)


def _of_parts(chances: Tensor, parts: Sequence[Sequence[int]], how: str) -> FloatArray:
    """Scores (n, parts) from those of tokens (n, t): their maximum or mean; 0 without a token."""
    import torch

    tokens = [token for part in parts for token in part]
    owners = [number for number, part in enumerate(parts) for _ in part]
    source = chances[:, torch.tensor(tokens, dtype=torch.long, device=chances.device)]
    target = torch.tensor(owners, dtype=torch.long, device=chances.device).expand_as(source)
    scores = chances.new_zeros((len(chances), len(parts)))
    reduce = "amax" if how == "max" else "mean"
    scores = scores.scatter_reduce(1, target, source, reduce=reduce, include_self=False)
    return np.asarray(scores.cpu().numpy())
