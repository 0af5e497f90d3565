"""What became of every detection: a vote, or the rule that left it out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from grand_pipeline import geometry, matching
from grand_pipeline.columns import ATTRIBUTES, DETECTIONS, FUSED
from grand_pipeline.explain.evidence import Evidence
from grand_pipeline.labels import Lexicon
from grand_pipeline.types import Attribute, Detection, Instance, Size, Vote

Fate = Literal["vote", "describes", "merged", "weak", "suppressed", "unusable", "surplus", "unused"]
MEANINGS: Mapping[Fate, str] = {
    "vote": "votes",
    "describes": "texts about an object",
    "merged": "the same word again in an object",
    "weak": "below the threshold",
    "suppressed": "suppressed by a better box of the same word",
    "unusable": "without label or box inside the image",
    "surplus": "left out by a limit",
    "unused": "in no object",
}


@dataclass(frozen=True)
class Seen:
    """A detection, what became of it and why; `object_id` is the object it belongs to."""

    source: str
    detection: Detection
    fate: Fate
    why: str
    object_id: int | None = None


def lexicon_of(options: Mapping[str, Any] | None) -> Lexicon:
    """The lexicon that a stage's recorded options describe."""
    table = (options or {}).get("lexicon") or {}
    pairs = {
        name: tuple((a, b) for a, b in table.get(name, ())) for name in ("synonyms", "hypernyms")
    }
    return Lexicon(**pairs)


def fates(evidence: Evidence) -> tuple[Seen, ...]:
    """Every detection of the image with its fate; () before fusion."""
    fused = evidence.value(FUSED)
    made = evidence.maker(FUSED)
    if fused is None or made is None:
        return ()
    options = made.options or {}
    size = (evidence.image.height or 0, evidence.image.width or 0)
    told: list[Seen] = []
    for source, detections in evidence.members(DETECTIONS).items():
        said = None
        if source in options.get("describers", ()):
            said = evidence.value(ATTRIBUTES.of(source)) or ()
        judge = _Judge(made.key, source, fused, lexicon_of(options), options, size, said)
        told += judge.all(detections)
    return tuple(told)


@dataclass(frozen=True)
class _Judge:
    """What decides about the detections of one source; `stage` is the key of the fusing stage."""

    stage: str
    source: str
    fused: tuple[Instance, ...]
    lexicon: Lexicon
    options: Mapping[str, Any]
    size: Size
    said: tuple[Attribute, ...] | None = None
    """What the source says of objects, where its labels are texts."""

    def all(self, detections: Sequence[Detection]) -> list[Seen]:
        """The detections in their order."""
        rivals = self._rivals(detections)
        return [self._seen(d, rivals.get(n)) for n, d in enumerate(detections)]

    def _seen(self, detection: Detection, rival: Detection | None) -> Seen:
        def seen(fate: Fate, why: str, object_id: int | None = None) -> Seen:
            return Seen(self.source, detection, fate, why, object_id)

        voted = self._best(detection, lambda vote: same_score(vote, detection, self.options))
        if voted is not None:
            return seen("vote", f"votes for {named(voted)}", voted.id)
        if not self._usable(detection):
            return seen("unusable", "no label, no score, or no box inside the image")
        if detection.score < self._threshold:
            return seen("weak", f"below {self.stage}.threshold={self._threshold}")
        if self.said is not None:
            meant = self._meant(detection)
            if meant is None:
                return seen("unused", "describes no object")
            return seen("describes", f"describes {named(meant)}", meant.id)
        if rival is not None:
            limit = self.options.get("nms_iou")
            why = f"suppressed by {rival.label} {rival.score:.2f} ({self.stage}.nms_iou={limit})"
            return seen("suppressed", why)
        again = self._best(detection, lambda vote: True)
        if again is not None:
            return seen("merged", f"the same word again for {named(again)}", again.id)
        return seen(*self._left_out(detection))

    def _meant(self, detection: Detection) -> Instance | None:
        """The object that has the detection's text as an attribute, and its place."""
        ids = {a.object_id for a in self.said or () if a.text == detection.label}
        holders = [instance for instance in self.fused if instance.id in ids]
        if not holders:
            return None
        overlap = overlaps(detection, holders)
        best = int(overlap.argmax())
        return holders[best] if overlap[best] >= self.options.get("group_iou", 0.0) else None

    def _left_out(self, detection: Detection) -> tuple[Fate, str]:
        if detection.label in self.options.get("stuff", ()):
            return "surplus", "another region of this label is better: one per label"
        most = self.options.get("max_floating")
        if most is not None and sum(i.status == "floating" for i in self.fused) >= most:
            return "surplus", f"beyond {self.stage}.max_floating={most}"
        return "unused", "in no object"

    @property
    def _threshold(self) -> float:
        own = dict(self.options.get("thresholds") or ())
        rest = self.options.get("threshold", self.options.get("other_threshold", 0.0))
        return float(own.get(self.source, own.get(self.source.replace("-", "_"), rest)))

    def _usable(self, detection: Detection) -> bool:
        box = geometry.clip(geometry.as_boxes([detection.box]), self.size)[0]
        whole = bool(box[2] > box[0] and box[3] > box[1])
        return whole and math.isfinite(detection.score) and bool(self.lexicon.key(detection.label))

    def _best(self, detection: Detection, fits: Any) -> Instance | None:
        """The object with a fitting vote of this source and word that overlaps it most."""
        holders = [
            instance
            for instance in self.fused
            if any(
                v.source == self.source and v.label == detection.label and fits(v)
                for v in instance.votes
            )
        ]
        if not holders:
            return None
        overlap = overlaps(detection, holders)
        best = int(overlap.argmax())
        return holders[best] if overlap[best] > 0 else None

    def _rivals(self, detections: Sequence[Detection]) -> dict[int, Detection]:
        """Position of each suppressed detection -> the kept one that covers it most."""
        limit = self.options.get("nms_iou")
        # GranD suppresses whatever the labels are, and before the thresholds.
        plain = "floor" in self.options
        least = self.options.get("floor", self._threshold)
        usable = [n for n, d in enumerate(detections) if self._usable(d) and d.score >= least]
        if limit is None or not usable:
            return {}
        boxes = geometry.clip(geometry.as_boxes([detections[n].box for n in usable]), self.size)
        ranked = sorted(
            range(len(usable)),
            key=lambda i: (-detections[usable[i]].score, detections[usable[i]].label, *boxes[i]),
        )
        chosen = [detections[usable[i]] for i in ranked]
        names = {
            key: n for n, key in enumerate(sorted({self.lexicon.key(d.label) for d in chosen}))
        }
        keys = np.array([names[self.lexicon.key(d.label)] * (not plain) for d in chosen], np.int64)
        scores = np.array([d.score for d in chosen], np.float32)
        kept = matching.suppress(boxes[ranked], scores, keys, limit)
        overlap = geometry.iou(boxes[ranked], boxes[ranked][kept])
        overlap[keys[:, None] != keys[kept][None, :]] = 0
        gone = set(range(len(chosen))) - set(kept)
        return {usable[ranked[i]]: chosen[kept[int(overlap[i].argmax())]] for i in gone}


def same_score(vote: Vote, detection: Detection, options: Mapping[str, Any]) -> bool:
    """Whether a vote can be a detection's: its score is kept, or rounded as an option says."""
    decimals = options.get("decimals")
    if vote.score is None or decimals is None:
        return vote.score == detection.score
    return bool(abs(vote.score - detection.score) <= 0.5 * 10.0**-decimals + 1e-6)


def overlaps(detection: Detection, instances: Sequence[Instance]) -> Any:
    """IoU (n,) of a detection's box with the boxes of objects."""
    around = geometry.as_boxes([instance.box for instance in instances])
    return geometry.iou(geometry.as_boxes([detection.box]), around)[0]


def named(instance: Instance) -> str:
    """`dog #3`."""
    return f"{instance.label} #{instance.id}"
