"""What a run knows of its images beside the published rows, as far as GranD's files have it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from grand_pipeline import geometry, publication
from grand_pipeline.columns import (
    AFFORDANCES,
    ATTRIBUTES,
    DESCRIPTIONS,
    DETECTIONS,
    FUSED,
    Annotation,
)
from grand_pipeline.errors import RunError
from grand_pipeline.explain.evidence import Evidence, Made
from grand_pipeline.explain.fates import fates
from grand_pipeline.exporters.grand_annotation import Beside
from grand_pipeline.store import Run
from grand_pipeline.types import RegionText

_SAME_PLACE = 0.65
"""IoU from which on a text that an object has as an attribute was said of that object."""


@dataclass(frozen=True)
class Reader:
    """Reads fragments of a run; `writers` are columns by name with the step that wrote them."""

    run: Run
    writers: Mapping[str, str]

    @staticmethod
    def of(run: Run) -> Reader:
        """The reader of a run: its steps are those of the preset that it has recorded."""
        writers: dict[str, str] = {}
        for key in run.info()["preset"].get("stages", {}):
            for path in (run.fragment(key, shard) for shard in run.shards()[:1]):
                if path.exists():
                    writers |= dict.fromkeys(publication.look(path, pq.read_schema).names, key)
        return Reader(run, writers)

    @property
    def has_affordances(self) -> bool:
        """Whether a step has written affordances."""
        return AFFORDANCES.name in self.writers

    def beside(self, shard: str, rows: Sequence[Annotation]) -> Iterator[Beside]:
        """What there is of each image of a shard, in order; `rows` are its published rows.

        Raises RunError for a fragment that is not there.
        """
        made = self._fusion(shard)
        wanted = [n for n in self.writers if n == AFFORDANCES.name or DESCRIPTIONS.owns(n)]
        told = _describers(made)
        said = [n for n in self.writers if DETECTIONS.owns(n) and _folded(n) in told]
        about = [ATTRIBUTES.of(DETECTIONS.source(name)).name for name in said]
        wanted += [*said, FUSED.name] if said else []
        wanted += [name for name in about if name in self.writers]
        columns = {name: self._read(shard, name) for name in wanted}
        stages = {} if made is None else {made.key: made}
        for n, (image, row) in enumerate(zip(self.run.shard_images(shard), rows, strict=True)):
            values = {name: found[n] for name, found in columns.items()}
            evidence = Evidence(str(self.run.root), shard, image, stages, values, self.writers)
            yield Beside(evidence.value(AFFORDANCES) or (), _regions(evidence, row))

    def _read(self, shard: str, name: str) -> list[Any]:
        key = self.writers[name]
        if not self.run.fragment(key, shard).exists():
            raise RunError(
                f"'{self.run.root}' has no fragment of '{key}' for shard {shard}; "
                f"finish the run first: grand build --out {self.run.root}"
            )
        return self.run.read(key, shard, [name])[name]

    def _fusion(self, shard: str) -> Made | None:
        """The stage that fused a shard, with the options that it has recorded there."""
        key = self.writers.get(FUSED.name)
        footer = publication.metadata(self.run.fragment(key, shard)) if key else None
        if key is None or footer is None:
            return None
        identity = json.loads(footer.get("identity", "{}"))
        return Made(key, "done", options=identity.get("options", {}))


def _describers(made: Made | None) -> frozenset[str]:
    """Columns, folded, of the sources whose labels fusion has taken for descriptions."""
    sources = (made.options or {}).get("describers", ()) if made else ()
    return frozenset(_folded(DETECTIONS.of(source).name) for source in sources)


def _folded(name: str) -> str:
    return name.replace("-", "_")


def _regions(evidence: Evidence, row: Annotation) -> tuple[RegionText, ...]:
    """Texts about boxes that no object has: of describers that found no object, and of models that
    were imported."""
    loose = [
        RegionText(seen.detection.box, seen.detection.label, seen.detection.score)
        for seen in fates(evidence)
        if seen.fate == "unused"
    ]
    for source, found in evidence.members(DESCRIPTIONS).items():
        loose += [text for text in found if not _taken(text, source, row)]
    return tuple(loose)


def _taken(region: RegionText, source: str, row: Annotation) -> bool:
    """Whether an object there has the text as an attribute."""
    boxes = [
        one.box
        for one in row.objects
        if any((a.source, a.text) == (source, region.text) for a in one.attributes)
    ]
    overlap = geometry.iou(geometry.as_boxes([region.box]), geometry.as_boxes(boxes))
    return bool((overlap >= _SAME_PLACE).any())
