"""The data dictionary: every column of a dataset, in one place.

A stage reads and writes `Column` values. A `Family` has one member per source, written as
`DETECTIONS.of("owl_vit")`; a stage that reads the family reads every member of the plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pyarrow as pa

from grand_pipeline import codec
from grand_pipeline.generation import Generation
from grand_pipeline.types import (
    Affordance,
    AssignedLabel,
    Attribute,
    Box,
    Caption,
    Context,
    DenseCaption,
    DepthMap,
    Detection,
    Instance,
    Landmark,
    ObjectMask,
    Phrase,
    PhraseBox,
    PhraseLink,
    Placement,
    RegionText,
    Relation,
    Rle,
    Segment,
    SourceFile,
    Tag,
    Vote,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Column(Generic[T]):
    """A named, typed value per image. `hint` is the annotation the Arrow type is derived from."""

    name: str
    hint: Any
    doc: str

    @property
    def type(self) -> pa.DataType:
        """Arrow type in fragments."""
        return codec.arrow_type(self.hint)

    def encode(self, value: T) -> Any:
        """Plain Python value that Arrow accepts."""
        return codec.encode(value)

    def decode(self, plain: Any) -> T:
        """Inverse of `encode`."""
        value: T = codec.decode(self.hint, plain)
        return value


@dataclass(frozen=True)
class Family(Generic[T]):
    """Columns of one meaning and type, one per source; member names are `family.source`."""

    name: str
    hint: Any
    doc: str

    def of(self, source: str) -> Column[T]:
        """The member written by `source`."""
        return Column(f"{self.name}.{source}", self.hint, self.doc)

    def owns(self, column: str) -> bool:
        """Whether the column named `column` is a member."""
        return column.startswith(f"{self.name}.")

    def source(self, column: str) -> str:
        """The source of a member's name."""
        return column.removeprefix(f"{self.name}.")


TAGS: Family[tuple[Tag, ...]] = Family(
    "tags", tuple[Tag, ...], "Image-level labels with scores, best first."
)
LANDMARK: Column[Landmark] = Column("landmark", Landmark, "Two-level scene category.")
DEPTH_MAP: Column[DepthMap] = Column(
    "depth_map",
    DepthMap,
    "Inverse depth, larger = nearer, on the model's grid: relative, or 1 / metres where `metric`.",
)
DETECTIONS: Family[tuple[Detection, ...]] = Family(
    "detections", tuple[Detection, ...], "Raw boxes (pixels) with scores and labels as given."
)
QUERY_GROUPS: Family[tuple[int, ...]] = Family(
    "query_groups",
    tuple[int, ...],
    "How many of a detector's queries, in order, shared each prompt; empty where none is shared.",
)
DESCRIPTIONS: Family[tuple[RegionText, ...]] = Family(
    "descriptions", tuple[RegionText, ...], "Imported: what a model said of boxes (pixels)."
)
LABEL_CHOICES: Family[tuple[RegionText, ...]] = Family(
    "label_choices", tuple[RegionText, ...], "Imported: the label a model chose for a box (pixels)."
)
SOURCES: Family[tuple[SourceFile, ...]] = Family(
    "sources",
    tuple[SourceFile, ...],
    "Imported files, verbatim, where the other columns can not give everything back.",
)
SEGMENTS: Column[tuple[Segment, ...]] = Column(
    "segments", tuple[Segment, ...], "Class-agnostic automatic masks, best first."
)
FUSED: Column[tuple[Instance, ...]] = Column(
    "fused", tuple[Instance, ...], "Objects after voting among detectors, before captions."
)
CAPTIONS: Family[str] = Family("captions", str, "One short caption, as the model wrote it.")
PHRASES: Column[tuple[Phrase, ...]] = Column(
    "phrases", tuple[Phrase, ...], "Noun phrases of the short captions (character offsets)."
)
PHRASE_BOXES: Family[tuple[PhraseBox, ...]] = Family(
    "phrase_boxes", tuple[PhraseBox, ...], "Boxes (pixels) that a grounder gives to each phrase."
)
INSTANCES: Column[tuple[Instance, ...]] = Column(
    "instances", tuple[Instance, ...], "Final objects: fused ones, promoted and caption-born ones."
)
LINKS: Column[tuple[PhraseLink, ...]] = Column(
    "links", tuple[PhraseLink, ...], "Caption phrases tied to object ids."
)
GROUNDED_CAPTIONS: Column[tuple[Caption, ...]] = Column(
    "grounded_captions", tuple[Caption, ...], "Short captions with grounded spans."
)
MASKS: Column[tuple[ObjectMask, ...]] = Column(
    "masks",
    tuple[ObjectMask, ...],
    "One mask per object with its source, its quality and the box it gives the object.",
)
ATTRIBUTES: Family[tuple[Attribute, ...]] = Family(
    "attributes", tuple[Attribute, ...], "Texts about single objects."
)
ASSIGNED: Column[tuple[AssignedLabel, ...]] = Column(
    "assigned", tuple[AssignedLabel, ...], "The label chosen for each object among its votes."
)
AFFORDANCES: Column[tuple[Affordance, ...]] = Column(
    "affordances", tuple[Affordance, ...], "What objects, by id, are good for. Not published."
)
PLACEMENTS: Column[tuple[Placement, ...]] = Column(
    "placements", tuple[Placement, ...], "Depth, depth layer and group of each object."
)
RELATIONS: Column[tuple[Relation, ...]] = Column(
    "relations", tuple[Relation, ...], "Relations between objects by id."
)
SCENE_GRAPH: Column[str] = Column(
    "scene_graph", str, "The scene graph as text, exactly as the language model reads it."
)
DENSE_DRAFT: Column[Generation] = Column(
    "dense_draft", Generation, "The language model's answer for the dense caption, verbatim."
)
DENSE_CAPTION: Column[DenseCaption] = Column(
    "dense_caption", DenseCaption, "Dense caption with grounded spans on the stored text."
)
CONTEXT: Column[Generation] = Column(
    "context", Generation, "Extra context written by a language model."
)
UNUSABLE: Family[Generation | None] = Family(
    "unusable",
    Generation,
    "Where `_error` says that a language model gave no usable answer: prompt and answer, verbatim.",
)

COLUMNS: tuple[Column[Any] | Family[Any], ...] = (
    TAGS,
    LANDMARK,
    DEPTH_MAP,
    DETECTIONS,
    QUERY_GROUPS,
    DESCRIPTIONS,
    LABEL_CHOICES,
    SEGMENTS,
    FUSED,
    CAPTIONS,
    PHRASES,
    PHRASE_BOXES,
    INSTANCES,
    LINKS,
    GROUNDED_CAPTIONS,
    MASKS,
    ATTRIBUTES,
    ASSIGNED,
    AFFORDANCES,
    PLACEMENTS,
    RELATIONS,
    SCENE_GRAPH,
    DENSE_DRAFT,
    DENSE_CAPTION,
    CONTEXT,
    UNUSABLE,
    SOURCES,
)
"""All columns, in the order of the pipeline."""

IMPORTED: tuple[Column[Any] | Family[Any], ...] = (DESCRIPTIONS, LABEL_CHOICES, SOURCES)
"""Columns that only an import writes; an import can write the others too."""


def named(name: str) -> Column[Any]:
    """The column of the data dictionary called `name`. Raises KeyError."""
    for known in COLUMNS:
        if isinstance(known, Family) and known.owns(name):
            return known.of(known.source(name))
        if isinstance(known, Column) and known.name == name:
            return known
    raise KeyError(name)


@dataclass(frozen=True)
class NamedAttribute:
    """An attribute inside a published object."""

    source: str
    text: str


@dataclass(frozen=True)
class PublishedObject:
    """An object of the published row, everything known about it in one place."""

    id: int
    status: str
    kind: str | None
    box: Box
    score: float | None
    label: str
    votes: tuple[Vote, ...]
    attributes: tuple[NamedAttribute, ...]
    mask: Rle | None
    mask_source: str | None
    mask_score: float | None
    depth: float | None
    layer: str | None
    group: int | None


@dataclass(frozen=True)
class StageError:
    """Why a stage has no annotation for this image."""

    stage: str
    message: str


@dataclass(frozen=True)
class Annotation:
    """The published row (contract): one per image in `annotations/`."""

    image_id: str
    uri: str
    width: int | None
    height: int | None
    tags: tuple[Tag, ...]
    landmark: Landmark | None
    objects: tuple[PublishedObject, ...]
    phrases: tuple[PhraseLink, ...]
    relations: tuple[Relation, ...]
    captions: tuple[Caption, ...]
    scene_graph: str | None
    dense_caption: DenseCaption | None
    context: Context | None
    errors: tuple[StageError, ...]


ANNOTATION_SCHEMA: pa.Schema = pa.schema(list(codec.arrow_type(Annotation)))


@dataclass(frozen=True)
class ImageRow:
    """A row of `images/`: one distinct content. `error` says why it can not be read."""

    image_id: str
    uri: str
    duplicates: tuple[str, ...]
    width: int | None
    height: int | None
    format: str | None
    error: str | None
    bytes: bytes | None


IMAGE_SCHEMA: pa.Schema = pa.schema(list(codec.arrow_type(ImageRow)))
