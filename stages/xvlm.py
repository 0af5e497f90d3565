"""X-VLM as a grounder of phrases: what `grand train xvlm` has made, put to use.

Each phrase is read by itself, and gets the one box that the model gives for it in the whole image.
The model does not say how sure it is. Give the folder `grounding/model` of a training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from grand_pipeline import geometry, weights
from grand_pipeline.errors import SettingsError
from grand_pipeline.types import Size
from stages.grounders import Grounded, Options, Span

if TYPE_CHECKING:
    from PIL.Image import Image

    from training.models.xvlm.export import Trained

_AT_ONCE = 64


@dataclass(frozen=True)
class Xvlm:
    """A trained model."""

    trained: Trained

    def ground(
        self,
        images: Sequence[Image],
        sizes: Sequence[Size],
        captions: Sequence[str],
        phrases: Sequence[Sequence[Span]],
    ) -> list[list[Grounded]]:
        """One box of every phrase; as `Grounder.ground`. An image that comes several times goes
        through the model once."""
        from training.models.xvlm import scores

        shown = {id(image): image for image in images}
        place = {key: number for number, key in enumerate(shown)}
        patches = scores.see(self.trained, list(shown.values()))
        asked = [
            (n, captions[n][start:end]) for n, spans in enumerate(phrases) for start, end in spans
        ]
        found: list[list[Grounded]] = [[] for _ in phrases]
        for first in range(0, len(asked), _AT_ONCE):
            part = asked[first : first + _AT_ONCE]
            texts = [text for _, text in part]
            of = [place[id(images[n])] for n, _ in part]
            boxes = scores.boxes_of(self.trained, patches[of], texts)
            for (n, _), box in zip(part, boxes, strict=True):
                height, width = sizes[n]
                pixels = box[None] * np.array([width, height, width, height], np.float32)
                found[n].append(Grounded(geometry.clip(pixels, sizes[n]), None))
        return found


def load_grounder(model: str, device: str, options: Options) -> Xvlm:
    """Load the folder of a trained model.

    Raises SettingsError for `prompt = "caption"`, for numbers other than float32, and for a folder
    that holds something else.
    """
    from training.models.xvlm import export

    if options.prompt == "caption":
        raise SettingsError(
            f"model '{model}' reads every phrase by itself and can not see its caption; set "
            'prompt = "phrase", or name a Grounding DINO checkpoint'
        )
    if options.dtype != "float32":
        raise SettingsError(
            f"model '{model}' computes in float32 alone: leave dtype at its default"
        )
    return Xvlm(export.load(Path(weights.resolve(model)), device))
