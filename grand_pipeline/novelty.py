"""Are these images picture-book scenes? Asked before any work with the embedded models.

The score of an image is the share of its pixels that are *paper*: locally flat, and in one of the
colours of the world's ground (sky, grass, sand, water, road, wall, floor). Rendered scenes are
full of such pixels; photographs have smooth pixels and pale ones, but few of just these colours.

Measured when the check was made, with the threshold 0.2 per image:

* 400 scenes of an unseen seed: scores 0.33 to 0.74, no error; 100 of them as JPEG of quality 75
  and 30: lowest 0.30 and 0.26; 50 at half size, three times the size, 2.5 times and JPEG: lowest
  0.33; no error.
* 7 photographs: 0.00 to 0.02, no error; 420 random cuttings of them, from 15 % of the side to the
  whole: highest 0.15, no error.
* 20 drawn screenshots (white page, bars, lines of text): 0.00. They are flat but of other colours,
  so they are refused like photographs. So is any other cartoon with colours of its own. What can
  slip through is a picture that is mostly plain sky of just the world's blue.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from grand_pipeline.picturebook.ground import BASE

SAMPLE = 16
"""Images looked at."""
THRESHOLD = 0.2
"""Score from which an image counts as a picture-book scene."""
MAJORITY = 0.5
"""Share of the images that has to reach the threshold."""

_SIDE = 128  # pixels of the longer side on which the score is taken: size matters little
_FLAT = 8  # largest step to the upper and left neighbour, per channel of 255
_NEAR = 6  # largest distance from a ground colour, per channel: leaves room for JPEG
_SHADES = (-9, 8)  # the renderer makes ground colours darker or lighter by this much


@dataclass(frozen=True)
class Verdict:
    """Scores in the order of the images, the share that passed, and whether that is enough."""

    share: float
    scores: tuple[float, ...]
    ok: bool

    def describe(self) -> str:
        """The finding in a few words."""
        passed = sum(score >= THRESHOLD for score in self.scores)
        return f"{passed} of {len(self.scores)} looked at have the flat colours of that world"


def looks_like_picturebook(images: Iterable[Image.Image]) -> Verdict:
    """Judge the first 16 images; at least half of them must look like picture-book scenes.

    Without any image there is nothing to object to, and the verdict is ok.
    """
    scores = tuple(score(image) for image in islice(images, SAMPLE))
    if not scores:
        return Verdict(1.0, (), True)
    share = sum(value >= THRESHOLD for value in scores) / len(scores)
    return Verdict(share, scores, share >= MAJORITY)


def score(image: Image.Image) -> float:
    """Share of pixels in [0, 1] that are flat and in a colour of the world's ground."""
    pixels = _reduced(image)
    across = np.abs(np.diff(pixels, axis=1)).max(-1)[1:, :]
    down = np.abs(np.diff(pixels, axis=0)).max(-1)[:, 1:]
    flat = np.maximum(across, down) <= _FLAT
    return float((flat & _ground_colored(pixels[1:, 1:])).mean()) if flat.size else 0.0


def _reduced(image: Image.Image) -> NDArray[np.int16]:
    """(h, w, 3) with a longer side of 128 pixels; the mean of what falls together."""
    longer = max(image.size)
    width, height = (max(2, round(side * _SIDE / longer)) for side in image.size)
    method = Image.Resampling.BOX if longer > _SIDE else Image.Resampling.NEAREST
    return np.asarray(image.convert("RGB").resize((width, height), method), np.int16)


def _ground_colored(pixels: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Which of (h, w, 3) pixels are near a shade of a ground colour: (h, w)."""
    near = np.zeros(pixels.shape[:2], bool)
    for base in BASE.values():
        distance = pixels.astype(np.float32) - np.asarray(base, np.float32)
        shade = np.clip(distance.mean(-1, keepdims=True), *_SHADES)
        near |= np.abs(distance - shade).max(-1) <= _NEAR
    return near
