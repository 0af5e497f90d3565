"""Phrase grounders: boxes for phrases of a text. What they have in common.

A new kind needs one module with a class that keeps to `Grounder`, a function that loads it, and a
line in `BACKENDS`.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from grand_pipeline import weights
from grand_pipeline.errors import SettingsError, suggest
from grand_pipeline.types import FloatArray, Size
from stages import hub
from stages.detector import Detector

if TYPE_CHECKING:
    from PIL.Image import Image

Span = tuple[int, int]
"""`[start, end)` character offsets of a phrase in its caption."""

BACKENDS: Mapping[str, str] = {
    "owlvit": "stages.owl:grounder",
    "owlv2": "stages.owl:grounder",
    "grounding-dino": "stages.grounding_dino:load_grounder",
    "mm-grounding-dino": "stages.grounding_dino:load_grounder",
    "florence2": "stages.florence:load_grounder",
    "kosmos-2": "stages.kosmos:load_grounder",
    "mdetr": "stages.mdetr.grounder:load",
    "xvlm": "stages.xvlm:load_grounder",
}
"""`model_type` of a config, or "mdetr" for a `.pth` file -> function of (model, device, options)
that loads it."""

_TRAINED_HERE = frozenset({"xvlm"})
"""Kinds that `grand train` makes and the library does not know."""


@dataclass(frozen=True)
class Options:
    """How a grounder is loaded; each takes from it what concerns it."""

    dtype: str = "float32"
    prompt: str = "phrase"
    """"phrase" where the texts will be lists of phrases, "caption" where they are captions."""
    token_score: str = "mean"
    """"max" or "mean" of a phrase's tokens, where tokens are scored."""
    least: float = 0.0
    """Boxes whose best probability is less may be left out."""


@dataclass(frozen=True)
class Grounded:
    """Boxes (n, 4) of one phrase, inside the image, with probabilities (n,).

    A model that only says where a phrase is, and not how sure it is, has no `scores`; its boxes
    are in the order that it gave them.
    """

    boxes: FloatArray
    scores: FloatArray | None


class Grounder(Protocol):
    """What `phrase_grounding` needs of a model."""

    def ground(
        self,
        images: Sequence[Image],
        sizes: Sequence[Size],
        captions: Sequence[str],
        phrases: Sequence[Sequence[Span]],
    ) -> list[list[Grounded]]:
        """Boxes of every phrase of every caption.

        Args:
            images: one per caption; an image with several captions comes several times, as the
                same object.
            sizes: (height, width) in whose pixels the boxes are returned.
            captions: texts; a list of phrases is one too, each closed by a full stop.
            phrases: per caption, where its phrases stand.

        What is found for one caption does not depend on the others.
        """
        ...


@dataclass(frozen=True)
class ByPhrase:
    """A detector as a grounder: each phrase is a query of its own."""

    detector: Detector

    def ground(
        self,
        images: Sequence[Image],
        sizes: Sequence[Size],
        captions: Sequence[str],
        phrases: Sequence[Sequence[Span]],
    ) -> list[list[Grounded]]:
        """As `Grounder.ground`; all boxes of the image for every phrase."""
        texts = [
            [caption[start:end] for start, end in spans]
            for caption, spans in zip(captions, phrases, strict=True)
        ]
        scored = self.detector.score(images, sizes, texts)
        return [[Grounded(one.boxes, scores) for scores in one.scores.T] for one in scored]


def load(model: str, device: str, options: Options | None = None) -> Grounder:
    """Load a grounder.

    Raises SettingsError for a checkpoint of another kind or options that it can not follow, else
    as `hub.pretrained` does.
    """
    kind = _kind(model)
    if kind not in BACKENDS:
        raise SettingsError(
            f"model '{model}' can not be loaded as a phrase grounder: it is of the architecture "
            f"'{kind}'.{suggest(kind, BACKENDS)} Name for example "
            "google/owlv2-base-patch16-ensemble"
        )
    # By name, because every grounder's module looks at this one.
    module, _, function = BACKENDS[kind].partition(":")
    found: Grounder = getattr(importlib.import_module(module), function)(
        model, device, options or Options()
    )
    return found


def _kind(model: str) -> str:
    if model.endswith(".pth"):
        return "mdetr"
    config = Path(weights.resolve(model)) / "config.json"
    named = re.search(r'"model_type":\s*"(\w+)"', config.read_text()) if config.is_file() else None
    if named and named[1] in _TRAINED_HERE:
        return named[1]
    return str(hub.preprocessor("AutoConfig", model).model_type)
