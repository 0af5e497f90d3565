"""Frozen values that flow between stages.

Conventions, stated once:

* A box is `xyxy` in absolute pixels of the EXIF-upright original image, float, half-open
  (`x1 <= x < x2`), inside the image.
* A mask at rest is a COCO compressed run-length encoding.
* Depth is relative inverse depth: unitless, larger = nearer, comparable within one image only. A
  map of a metric model is one over metres, and says so.
* A span is a pair of character offsets `[start, end)` into the stored text.
* Object ids are given once per image and never renumbered.

The Arrow types of the dataset are derived from the annotations of these classes (see `codec`), so
a field added here is a field added to the dataset.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NewType

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

Box = tuple[float, float, float, float]
"""`(x1, y1, x2, y2)` in pixels."""

Size = tuple[int, int]
"""`(height, width)` in pixels."""

Status = Literal["object", "floating"]
Kind = Literal["thing", "stuff"]
MaskSource = Literal["auto", "box", "detector", "given"]
FinishReason = NewType("FinishReason", str)
"""Why a language model stopped: "stop", "length", or an error class."""

LAYERS = ("Immediate Foreground", "Foreground", "Midground", "Background")
"""Depth layers from near to far (GLaMM supplement A.4)."""


@dataclass(frozen=True)
class Rle:
    """A binary mask as COCO compressed RLE: `size` is (height, width), `counts` ASCII."""

    size: Size
    counts: str


@dataclass(frozen=True)
class Detection:
    """One box of one model, as the model gave it (raw label spelling)."""

    box: Box
    score: float
    label: str
    mask: Rle | None = None


@dataclass(frozen=True)
class RegionText:
    """What a model said of one box: a description, or the label it chose there."""

    box: Box
    text: str
    score: float | None = None


@dataclass(frozen=True)
class Segment:
    """One class-agnostic automatic mask with the segmenter's own quality estimates in [0, 1]."""

    box: Box
    mask: Rle
    predicted_iou: float
    stability: float


@dataclass(frozen=True)
class Tag:
    """An image-level label; `source` names the tagger."""

    name: str
    score: float
    source: str


@dataclass(frozen=True)
class Landmark:
    """Two-level scene category (GLaMM supplement, Table 7)."""

    category: str
    fine_category: str
    source: str


@dataclass(frozen=True)
class Vote:
    """One detector's (or phrase grounder's) word for an object."""

    source: str
    label: str
    score: float | None


@dataclass(frozen=True)
class Instance:
    """An object of the image. `score` is null for objects born from a caption."""

    id: int
    status: Status
    kind: Kind | None
    box: Box
    score: float | None
    label: str
    votes: tuple[Vote, ...] = ()


@dataclass(frozen=True)
class Attribute:
    """A text about one object, for example "red" or "a man in a blue coat"."""

    object_id: int
    source: str
    text: str


@dataclass(frozen=True)
class Affordance:
    """A use that objects offer, such as to sit on; `labels` are the words that say so.

    `description` is a sentence about the use, null where the table has none.
    """

    category: str
    description: str | None
    object_ids: tuple[int, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class AssignedLabel:
    """The label chosen for one object among its votes, with the chooser's probability.

    `score` is null where the label was imported without one.
    """

    object_id: int
    label: str
    score: float | None


@dataclass(frozen=True)
class ObjectMask:
    """The mask of one object and where it came from; `score` is the segmenter's own quality.

    `score` is null where the mask was imported without one.
    """

    object_id: int
    mask: Rle
    source: MaskSource
    score: float | None
    box: Box | None = None
    """Published in place of the object's own box, where the stage that made the mask says so."""


@dataclass(frozen=True)
class Placement:
    """Depth statistic inside the object's mask, its depth layer and its group."""

    object_id: int
    depth: float
    layer: str
    group: int


@dataclass(frozen=True)
class Phrase:
    """A noun phrase of a caption; `text == caption[start:end]`, `head` is its head noun."""

    caption: str
    text: str
    head: str
    start: int
    end: int


@dataclass(frozen=True)
class PhraseBox:
    """A box that a phrase grounder gives to a phrase text.

    `score` is null where the grounder only says yes (MDETR predictions that keep no score).
    """

    text: str
    box: Box
    score: float | None


@dataclass(frozen=True)
class PhraseLink:
    """A phrase tied to objects; `source` names the caption or model it came from."""

    text: str
    object_ids: tuple[int, ...]
    source: str


@dataclass(frozen=True)
class Relation:
    """`subject predicate object`, by object ids."""

    subject: int
    predicate: str
    object: int
    source: str


@dataclass(frozen=True)
class Span:
    """Characters `[start, end)` of a text that speak of `object_ids`."""

    start: int
    end: int
    object_ids: tuple[int, ...]


@dataclass(frozen=True)
class Caption:
    """A text about the image with its grounded spans."""

    source: str
    text: str
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True)
class DenseCaption:
    """The grounded dense caption; `verified`: every claim was checked against the graph."""

    text: str
    spans: tuple[Span, ...]
    source: str
    finish_reason: str
    verified: bool


@dataclass(frozen=True)
class Context:
    """Extra context: general knowledge about what is in the image."""

    text: str
    source: str
    finish_reason: str


@dataclass(frozen=True)
class SourceFile:
    """A file that was imported, verbatim."""

    uri: str
    text: str


@dataclass(frozen=True)
class DepthMap:
    """Relative inverse depth on the model's own grid, to be stretched over the whole image.

    `values` are the bytes of a C-ordered little-endian float16 array of shape `grid` (h, w).
    Keeping the model's grid loses nothing and keeps large photographs small. `metric`: the values
    are one over metres, of a model that predicts distances; else they have no unit.
    """

    grid: Size
    values: bytes
    metric: bool = False

    def array(self) -> FloatArray:
        """The map as float32, shape (h, w) = `grid`."""
        flat = np.frombuffer(self.values, dtype="<f2")
        return flat.reshape(self.grid).astype(np.float32)

    def metres(self) -> FloatArray | None:
        """Distances (h, w) in metres, right to 1 in 2000 and infinite where the map is 0; None if
        the map is relative."""
        if not self.metric:
            return None
        values = self.array()
        far = np.full_like(values, np.inf)
        return np.asarray(np.divide(1.0, values, out=far, where=values > 0))

    @staticmethod
    def of(array: NDArray[np.floating], metric: bool = False) -> DepthMap:
        """Pack a (h, w) array."""
        height, width = array.shape
        packed = np.ascontiguousarray(array, "<f2").tobytes()
        return DepthMap((int(height), int(width)), packed, metric)
