"""Detections of all models become objects: suppression per model, voting among models, ids.

Two models that put the same label on the same place make an object; where they disagree about the
label, the votes decide and every vote is kept. What only one model saw stays as a floating object
that a caption can confirm later. Labels are compared in normalised form (`labels.Lexicon`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from grand_pipeline import geometry, matching
from grand_pipeline.columns import DETECTIONS, FUSED
from grand_pipeline.labels import Lexicon, normalize
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import Box, Detection, FloatArray, Instance, Kind, Size, Status, Vote


@dataclass(frozen=True)
class _Candidate:
    """A usable detection: `key` is the canonical label, `label` the detector's spelling."""

    source: str
    key: str
    label: str
    box: Box
    score: float


@dataclass(frozen=True)
class _Cluster:
    """Candidates of one place; `box` and `score` are those of the winning label."""

    members: tuple[_Candidate, ...]
    key: str
    box: Box
    score: float

    @property
    def voters(self) -> int:
        """Number of different sources."""
        return len({member.source for member in self.members})


@dataclass(frozen=True, kw_only=True)
class Fusion(Stage[None]):
    """Group the boxes of all detectors into voted and floating objects."""

    level: ClassVar[int] = 1

    threshold: float = 0.1
    """Detections below this score are ignored."""

    thresholds: tuple[tuple[str, float], ...] = ()
    """(source, threshold) pairs that replace `threshold` for single detectors."""

    nms_iou: float = 0.6
    """Of two boxes of one detector and one label, the weaker is dropped above this IoU."""

    agreeing_iou: float = 0.5
    """Boxes of different detectors with agreeing labels are one object from this IoU on."""

    group_iou: float = 0.65
    """Boxes with different labels are one object from this IoU on; the votes decide the label."""

    conflict_iou: float = 0.85
    """From this IoU on, two objects with different labels are one even if each label has enough
    votes of its own."""

    min_votes: int = 2
    """Detectors that must agree on a place to make an object; below, it floats."""

    single_vote_score: float | None = None
    """A floating thing of at least this score is an object on one vote (null: never)."""

    stuff: tuple[str, ...] = ()
    """Labels of uncountable regions; each gives at most one region. Empty: kinds are unknown."""

    max_floating: int = 100
    """Floating objects kept per image, best first."""

    lexicon: Lexicon = field(default_factory=Lexicon)
    """Synonyms and hypernyms beside the built-in ones."""

    @property
    def reads(self) -> Reads:
        return (DETECTIONS,)

    @property
    def mentions(self) -> Writes:
        return tuple(DETECTIONS.of(source) for source, _ in self.thresholds)

    @property
    def writes(self) -> Writes:
        return (FUSED,)

    @property
    def needs_image(self) -> bool:
        return False

    def load(self, device: str) -> None:
        """Nothing to load."""

    def annotate(self, model: None, records: Sequence[Record]) -> list[Row]:
        rows: list[Row] = []
        for record in records:
            detections = record.members(DETECTIONS)
            rows.append({FUSED: self.fuse(detections, record.size)})
        return rows

    def fuse(
        self, detections: Mapping[str, Sequence[Detection]], size: Size
    ) -> tuple[Instance, ...]:
        """Objects (voted first, each part best first) of an image of `size` (height, width)."""
        stuff = frozenset(self.lexicon.key(label) for label in self.stuff)
        candidates = self._candidates(detections, size)
        things = self._clusters([c for c in candidates if c.key not in stuff])
        regions = self._clusters([c for c in candidates if c.key in stuff])
        ranked = sorted((*things, *_best_per_label(regions)), key=_rank)
        voted = [c for c in ranked if self._is_object(c, stuff)]
        floating = [c for c in ranked if not self._is_object(c, stuff)][: self.max_floating]
        return tuple(
            _instance(
                index,
                "object" if index < len(voted) else "floating",
                self._kind(cluster.key, stuff),
                cluster,
            )
            for index, cluster in enumerate((*voted, *floating))
        )

    def _is_object(self, cluster: _Cluster, stuff: frozenset[str]) -> bool:
        sure = self.single_vote_score is not None and cluster.score >= self.single_vote_score
        return cluster.voters >= self.min_votes or (sure and cluster.key not in stuff)

    def _kind(self, key: str, stuff: frozenset[str]) -> Kind | None:
        if not stuff:
            return None
        return "stuff" if key in stuff else "thing"

    def _candidates(
        self, detections: Mapping[str, Sequence[Detection]], size: Size
    ) -> list[_Candidate]:
        """Detections above threshold, inside the image, suppressed per source, best first."""
        thresholds = dict(self.thresholds)
        found: list[_Candidate] = []
        for source in sorted(detections):
            limit = thresholds.get(source, self.threshold)
            usable = self._usable(source, detections[source], limit, size)
            usable.sort(key=_order)
            kept = matching.suppress(*_arrays(usable), _codes(c.key for c in usable), self.nms_iou)
            found += [usable[index] for index in kept]
        return sorted(found, key=_order)

    def _usable(
        self, source: str, detections: Sequence[Detection], limit: float, size: Size
    ) -> list[_Candidate]:
        boxes = geometry.clip(geometry.as_boxes([d.box for d in detections]), size)
        # NaN survives clipping and compares false here, so broken boxes fall out too.
        whole = np.all(boxes[:, 2:] > boxes[:, :2], axis=1).tolist()
        return [
            _Candidate(source, key, d.label, geometry.as_box(box), d.score)
            for d, box, fits in zip(detections, boxes, whole, strict=True)
            if fits and math.isfinite(d.score) and d.score >= limit
            if (key := self.lexicon.key(d.label))
        ]

    def _clusters(self, candidates: list[_Candidate]) -> list[_Cluster]:
        """Same label first, then whatever lies on the same place."""
        if not candidates:
            return []
        boxes, scores = _arrays(candidates)
        keys, sources = (_codes(c.key for c in candidates), _codes(c.source for c in candidates))
        groups = matching.voting_groups(boxes, scores, keys, sources, self.agreeing_iou)
        clusters = sorted((self._cluster([candidates[i] for i in g]) for g in groups), key=_rank)
        merged = matching.absorb(
            geometry.as_boxes([c.box for c in clusters]), self._limits(clusters)
        )
        return [
            self._cluster([m for index in part for m in clusters[index].members])
            if len(part) > 1
            else clusters[part[0]]
            for part in merged
        ]

    def _limits(self, clusters: Sequence[_Cluster]) -> FloatArray:
        """IoU (n, n) from which cluster j (column) joins the better ranked cluster i (row)."""
        codes = _codes(c.key for c in clusters)
        names = list(dict.fromkeys(c.key for c in clusters))
        agree = np.array([[a != b and self.lexicon.agree(a, b) for b in names] for a in names])
        voted = np.array([c.voters >= self.min_votes for c in clusters], bool)
        limits = np.full((len(clusters), len(clusters)), self.group_iou, np.float32)
        limits[agree[codes[:, None], codes[None, :]]] = self.agreeing_iou
        limits[voted[:, None] & voted[None, :]] = self.conflict_iou
        return limits

    def _cluster(self, members: Sequence[_Candidate]) -> _Cluster:
        """Decide label, box and score of candidates on one place."""
        if len(members) == 1:
            (only,) = members
            return _Cluster((only,), only.key, only.box, min(1.0, only.score))
        weights: dict[str, float] = {}
        for member in members:
            weights[member.key] = weights.get(member.key, 0.0) + member.score
        key = min(weights, key=lambda k: (-weights[k], k))
        narrower = [k for k in weights if self.lexicon.is_a(k, key)]
        key = min(narrower, key=lambda k: (-weights[k], k)) if narrower else key
        agreeing = [m for m in members if m.key == key or self.lexicon.is_a(key, m.key)]
        # Squares: of two detectors of unlike quality, the surer one draws the better box.
        box = matching.weighted_box([m.box for m in agreeing], [m.score**2 for m in agreeing])
        best: dict[str, float] = {}
        for member in agreeing:
            best[member.source] = max(member.score, best.get(member.source, 0.0))
        score = matching.noisy_or([best[source] for source in sorted(best)])
        return _Cluster(tuple(members), key, box, score)


def _order(candidate: _Candidate) -> tuple[float, str, str, Box]:
    return -candidate.score, candidate.source, candidate.label, candidate.box


def _rank(cluster: _Cluster) -> tuple[int, float, str, Box]:
    return -cluster.voters, -cluster.score, cluster.key, cluster.box


def _arrays(candidates: Sequence[_Candidate]) -> tuple[FloatArray, FloatArray]:
    boxes = geometry.as_boxes([c.box for c in candidates])
    return boxes, np.array([c.score for c in candidates], np.float32)


def _codes(names: Iterable[str]) -> matching.IntArray:
    """Names (n,) as small integers, equal names alike."""
    table: dict[str, int] = {}
    return np.array([table.setdefault(name, len(table)) for name in names], np.int64)


def _best_per_label(clusters: Iterable[_Cluster]) -> list[_Cluster]:
    best: dict[str, _Cluster] = {}
    for cluster in sorted(clusters, key=_rank):
        best.setdefault(cluster.key, cluster)
    return list(best.values())


def _instance(index: int, status: Status, kind: Kind | None, cluster: _Cluster) -> Instance:
    winners = {normalize(m.label) for m in cluster.members if m.key == cluster.key}
    label = winners.pop() if len(winners) == 1 else cluster.key
    ordered = sorted(cluster.members, key=_order)
    votes = dict.fromkeys((m.source, m.label) for m in ordered)
    scores = {(m.source, m.label): m.score for m in reversed(ordered)}
    return Instance(
        index, status, kind, cluster.box, cluster.score, label,
        tuple(Vote(source, name, scores[source, name]) for source, name in votes),
    )  # fmt: skip
