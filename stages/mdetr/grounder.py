"""MDETR as a grounder of phrases.

A phrase inside its caption gets, for each box, the probability that the box means its tokens: the
sum over them, as the model was trained to spread one box's probability over all tokens of a phrase.
A phrase that is read by itself gets 1 less the probability of "nothing", the rule of the published
code for referring expressions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from grand_pipeline.types import FloatArray, Size
from stages import device, pixels
from stages.crops import workable
from stages.grounders import Grounded, Options, Span
from stages.mdetr import checkpoint, texts
from stages.mdetr.network import Network, Seen
from stages.mdetr.texts import Reader, Text

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
SHORT, LONG = 800, 1333
"""Pixels: the short side of an image, unless its long side would be longer than LONG."""
_IMAGES_AT_ONCE = 8
_TEXTS_AT_ONCE = 16

is_checkpoint = checkpoint.is_checkpoint


@dataclass(frozen=True)
class Mdetr:
    """A loaded model. With `alone`, each phrase is a text of its own, and its caption is not seen.

    Boxes of a phrase with a score under `least` are left out.
    """

    network: Network
    reader: Reader
    alone: bool
    least: float = 0.0
    short: int = SHORT
    long: int = LONG

    def ground(
        self,
        images: Sequence[Image],
        sizes: Sequence[Size],
        captions: Sequence[str],
        phrases: Sequence[Sequence[Span]],
    ) -> list[list[Grounded]]:
        """Boxes of every phrase; as `Grounder.ground`.

        An image that comes several times goes through the backbone once. A caption that is longer
        than the model reads is cut; see `texts`.
        """
        import torch

        read = self.reader.of_phrases if self.alone else self.reader.of_caption
        asked = [read(*pair) for pair in zip(captions, phrases, strict=True)]
        jobs = [(n, text) for n, some in enumerate(asked) for text in some]
        nothing = Grounded(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
        found = [[nothing] * len(spans) for spans in phrases]
        with torch.inference_mode():
            seen = self._look({id(images[n]): images[n] for n, _ in jobs})
            # Texts of a length together, so that little of a batch is filled up.
            order = sorted(jobs, key=lambda job: len(seen[id(images[job[0]])].tokens))
            answers = device.in_parts(
                order,
                _TEXTS_AT_ONCE,
                lambda part: self._answers([(seen[id(images[n])], text) for n, text in part]),
            )
        for (n, text), (boxes, chances) in zip(order, answers, strict=True):
            placed = pixels.to_pixels(boxes, sizes[n])
            for number, scores in zip(text.numbers, self._scores(chances, text), strict=True):
                kept = scores >= self.least
                found[n][number] = Grounded(placed[kept], scores[kept])
        return found

    def _answers(self, asked: Sequence[tuple[Seen, Text]]) -> list[tuple[Tensor, Tensor]]:
        """Boxes (queries, 4) and what they mean (queries, positions) for every image and text."""
        boxes, meant = self.network.answer(
            [seen for seen, _ in asked], [text.ids for _, text in asked]
        )
        return list(zip(boxes, meant, strict=True))

    def _scores(self, chances: Tensor, text: Text) -> list[FloatArray]:
        """Per phrase of the text, the score of every query, from (queries, positions)."""
        table = np.asarray(chances.cpu().numpy(), np.float32)
        if self.alone:
            return [1 - table[:, -1]]
        return [table[:, list(part)].sum(axis=1) for part in text.parts]

    def _look(self, images: dict[int, Image]) -> dict[int, Seen]:
        """Tokens of every image; those of one shape run together, because in a padded batch a
        convolution would see borders that are not there."""
        import torch

        shapes: dict[Size, list[int]] = {}
        for key, image in images.items():
            shapes.setdefault(self._size(workable(image)), []).append(key)
        found: dict[int, Seen] = {}
        for size, keys in shapes.items():

            def looked(part: Sequence[int], size: Size = size) -> list[Seen]:
                rows = torch.stack([_prepared(images[key], size) for key in part])
                return self.network.look(
                    device.placed(rows, self.network.device, self.network.dtype)
                )

            found.update(zip(keys, device.in_parts(keys, _IMAGES_AT_ONCE, looked), strict=True))
        return found

    def _size(self, image: Image) -> Size:
        """(height, width) that an image is brought to."""
        least, most = sorted(image.size)
        short = min(self.short, round(self.long * least / most))
        long = int(short * most / least)
        return (long, short) if image.width < image.height else (short, long)


def load(model: str, device: str, options: Options) -> Mdetr:
    """Load a published `.pth` file. Raises as `checkpoint.load` and `texts.reader` do."""
    network = checkpoint.load(model, device, options.dtype)
    design = network.design
    # The end of a text may stand where the head has "nothing"; no phrase has a token there.
    room = min(design.positions, design.text.places - 2) - 2
    reader = texts.reader(
        checkpoint.tokenizer(model), design.text.words, room, f"model file '{model}'"
    )
    return Mdetr(network, reader, options.prompt == "phrase", options.least)


def _prepared(image: Image, size: Size) -> Tensor:
    """(3, h, w) in units of ImageNet's mean and spread."""
    import torch
    from PIL.Image import Resampling

    fit = workable(image).convert("RGB").resize(size[::-1], Resampling.BILINEAR)
    array = ((np.asarray(fit, np.float32) / 255 - MEAN) / STD).astype(np.float32)
    return torch.from_numpy(array).permute(2, 0, 1)
