"""A published row as training sees it: typed, decoded on access, in the frame of its augmentation.

Coordinates, masks and texts of a `Row` are those of its picture as it is shown: a transform
changes the frame and nothing else (`transforms`), and what a frame cuts away is gone from objects,
phrases, spans and relations alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

from grand_pipeline import codec, geometry
from grand_pipeline.columns import Annotation
from grand_pipeline.errors import GrandError
from grand_pipeline.types import (
    BoolArray,
    Box,
    Caption,
    Context,
    DenseCaption,
    FloatArray,
    Landmark,
    PhraseLink,
    Relation,
    Rle,
    Size,
    Span,
    Tag,
)
from training.data import sides
from training.data.frame import Frame, Pixels


@dataclass(frozen=True)
class Object:
    """An object of the picture; `box` in pixels of the view, inside it.

    `rle` is the mask on the whole upright image, null where there is none or it was not read; see
    `Row.mask` for the pixels of the view.
    """

    id: int
    status: str
    kind: str | None
    box: Box
    score: float | None
    label: str
    attributes: tuple[str, ...] = ()
    depth: float | None = None
    layer: str | None = None
    group: int | None = None
    rle: Rle | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Row:
    """One image with its annotation.

    `values` are plain Arrow values of the published row, `reads` the columns that were asked for.
    `open_smaller` gives the image at no less than a share of its sides, as `images.decode` with a
    `scale`; null where there is only the whole.
    `visible`: an object is there if more than this share of its box lies in the frame.
    """

    image_id: str
    uri: str
    frame: Frame
    values: Mapping[str, Any] = field(repr=False)
    reads: frozenset[str] = field(repr=False)
    open_image: Callable[[], Image.Image] = field(repr=False)
    visible: float = 0.0
    open_smaller: Callable[[float], Image.Image] | None = field(default=None, repr=False)

    @property
    def size(self) -> Size:
        """(height, width) of the view in pixels."""
        return self.frame.size

    @property
    def full(self) -> Size:
        """(height, width) of the whole upright image in pixels."""
        return self.values["height"], self.values["width"]

    @cached_property
    def image(self) -> Image.Image:
        """The whole EXIF-upright RGB image, decoded once. Raises ImageError."""
        return self.open_image()

    def pixels(self, resample: Image.Resampling = Image.Resampling.BICUBIC) -> Pixels:
        """The view, uint8 (h, w, 3), resampled once from the image. Raises ImageError.

        A JPEG that is shown at less than half its size is decoded smaller, unless `image` was
        decoded before: that is most of the time that a large photograph takes.
        """
        share = self.frame.share
        if self.open_smaller is None or share > 0.5 or "image" in self.__dict__:
            return self.frame.pixels(self.image, resample)
        return self.frame.pixels(self.open_smaller(share), resample, self.full)

    def seen(self, frame: Frame, visible: float | None = None) -> Row:
        """The row in another frame; what was decoded of the picture is kept."""
        shown = replace(self, frame=frame, visible=self.visible if visible is None else visible)
        if "image" in self.__dict__:
            shown.__dict__["image"] = self.image
        return shown

    @cached_property
    def objects(self) -> tuple[Object, ...]:
        """Those objects of which enough lies in the view, in the order of the row."""
        plain = self._plain("objects") or []
        if not plain:
            return ()
        full = self.frame.boxes(np.array([o["box"] for o in plain], np.float32).reshape(-1, 4))
        cut = geometry.clip(full, self.size)
        shares = geometry.area(cut) / np.maximum(geometry.area(full), 1e-6)
        kept = (shares > self.visible) & (geometry.area(cut) > 0)
        boxes = geometry.box_tuples(cut)
        return tuple(self._object(o, boxes[i]) for i, o in enumerate(plain) if kept[i])

    @cached_property
    def boxes(self) -> FloatArray:
        """Boxes of `objects`, float32 (n, 4) xyxy pixels of the view."""
        return geometry.as_boxes([thing.box for thing in self.objects])

    def mask(self, thing: Object) -> BoolArray | None:
        """Pixels (h, w) of an object in the view; None where it has no mask."""
        self._plain("objects", "objects.mask")
        return None if thing.rle is None else self.frame.mask(geometry.rle_decode(thing.rle))

    @cached_property
    def by_id(self) -> dict[int, Object]:
        """`objects` by their ids."""
        return {thing.id: thing for thing in self.objects}

    @cached_property
    def phrases(self) -> tuple[PhraseLink, ...]:
        """Phrases with those of their objects that are in the view; none without objects."""
        links: tuple[PhraseLink, ...] = self._decoded("phrases", tuple[PhraseLink, ...]) or ()
        kept = ((link, self._present(link.object_ids)) for link in links)
        return tuple(PhraseLink(self._text(k.text), ids, k.source) for k, ids in kept if ids)

    @cached_property
    def relations(self) -> tuple[Relation, ...]:
        """Relations whose subject and object are in the view."""
        found: tuple[Relation, ...] = self._decoded("relations", tuple[Relation, ...]) or ()
        present = self.by_id
        kept = (r for r in found if r.subject in present and r.object in present)
        if not self.frame.mirrored:
            return tuple(kept)
        return tuple(replace(r, predicate=sides.mirrored(r.predicate)) for r in kept)

    @cached_property
    def captions(self) -> tuple[Caption, ...]:
        """Captions; `text[start:end]` of a span names objects that are in the view.

        Without objects (they were not read) captions have no spans.
        """
        found: tuple[Caption, ...] = self._decoded("captions", tuple[Caption, ...]) or ()
        return tuple(Caption(c.source, *self._grounded(c.text, c.spans)) for c in found)

    @cached_property
    def dense_caption(self) -> DenseCaption | None:
        """The dense caption, its spans as in `captions`."""
        found: DenseCaption | None = self._decoded("dense_caption", DenseCaption)
        if found is None:
            return None
        text, spans = self._grounded(found.text, found.spans)
        return replace(found, text=text, spans=spans)

    @cached_property
    def tags(self) -> tuple[Tag, ...]:
        """Labels of the whole image, whatever the view shows of it."""
        found: tuple[Tag, ...] = self._decoded("tags", tuple[Tag, ...]) or ()
        return found

    @cached_property
    def landmark(self) -> Landmark | None:
        """The kind of place."""
        found: Landmark | None = self._decoded("landmark", Landmark)
        return found

    @cached_property
    def scene_graph(self) -> str | None:
        """The scene graph's text, about the whole image."""
        text = self._plain("scene_graph")
        return None if text is None else self._text(text)

    @cached_property
    def context(self) -> Context | None:
        """Extra context."""
        found: Context | None = self._decoded("context", Context)
        return None if found is None else replace(found, text=self._text(found.text))

    def _object(self, plain: Mapping[str, Any], box: Box) -> Object:
        return Object(
            id=plain["id"],
            status=plain["status"],
            kind=plain["kind"],
            box=box,
            score=plain["score"],
            label=self._text(plain["label"]),
            attributes=tuple(self._text(a["text"]) for a in plain["attributes"] or () if a["text"]),
            depth=plain["depth"],
            layer=plain["layer"],
            group=plain["group"],
            rle=codec.decode(Rle, plain.get("mask")),
        )

    def _text(self, text: str) -> str:
        return sides.mirrored(text) if self.frame.mirrored else text

    def _present(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        present = self.by_id
        return tuple([i for i in ids if i in present])

    def _grounded(self, text: str, spans: tuple[Span, ...]) -> tuple[str, tuple[Span, ...]]:
        there = (spans or ()) if "objects" in self.reads else ()
        present = (Span(s.start, s.end, self._present(s.object_ids)) for s in there)
        kept = tuple(span for span in present if span.object_ids)
        return sides.mirrored_spans(text, kept) if self.frame.mirrored else (text, kept)

    def _decoded(self, name: str, hint: Any) -> Any:
        return codec.decode(hint, self._plain(name))

    def _plain(self, name: str, read: str | None = None) -> Any:
        if (read or name) not in self.reads:
            raise GrandError(
                f"'{read or name}' of image {self.image_id} was not read, only "
                f"{', '.join(sorted(self.reads))}: name a view that needs it when opening the run"
            )
        return self.values[name]


READS = (
    *("tags", "landmark", "objects", "objects.mask", "phrases", "relations", "captions"),
    *("scene_graph", "dense_caption", "context"),
)
"""What can be read of a published row."""


def row_of(annotation: Annotation, open_image: Callable[[], Image.Image]) -> Row:
    """A published row, all of it, as a `Row`. Raises ValueError for an image without a size."""
    if annotation.width is None or annotation.height is None:
        raise ValueError(f"image {annotation.image_id} has no size")
    return Row(
        annotation.image_id,
        annotation.uri,
        Frame.whole((annotation.height, annotation.width)),
        codec.encode(annotation),
        frozenset(READS),
        open_image,
    )
