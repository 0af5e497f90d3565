"""All scores of a run against a truth, as one flat mapping."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from grand_pipeline import publication
from grand_pipeline.columns import DEPTH_MAP, SEGMENTS, Annotation, Column
from grand_pipeline.evaluation.captions import mention_scores, phrase_scores, span_scores
from grand_pipeline.evaluation.dense import dense_scores
from grand_pipeline.evaluation.depth import depth_scores
from grand_pipeline.evaluation.lexicon import Lexicon, picturebook_lexicon
from grand_pipeline.evaluation.masks import mask_scores
from grand_pipeline.evaluation.objects import Scores, color_scores, object_scores
from grand_pipeline.evaluation.pairing import join
from grand_pipeline.evaluation.relations import relation_scores
from grand_pipeline.storage import Place
from grand_pipeline.store import Run
from grand_pipeline.types import DepthMap, Segment


@dataclass(frozen=True)
class Extras:
    """What is judged but is not in the published rows, by image id; None where a run lacks it."""

    segments: Mapping[str, tuple[Segment, ...]] | None = None
    depth: Mapping[str, DepthMap] | None = None
    true_depth: Mapping[str, DepthMap] | None = None


def evaluate(
    predicted: Iterable[Annotation],
    truth: Iterable[Annotation],
    extras: Extras | None = None,
    lexicon: Lexicon | None = None,
) -> Scores:
    """Scores by name, as fractions of 1 (a few are counts, see `report.COUNTS`).

    None means that there was nothing to judge. Images are joined by `image_id`; only those on
    both sides are judged, the others are counted. Raises RunError when there are none.
    """
    extras = extras or Extras()
    lexicon = lexicon or picturebook_lexicon()
    joined = join(predicted, truth, lexicon)
    pairs = joined.pairs
    return {
        "images": float(len(pairs)),
        "images_missing": float(joined.missing),
        "images_extra": float(joined.extra),
        **object_scores(pairs, lexicon),
        **mask_scores(pairs, extras.segments),
        **depth_scores(pairs, extras.depth, extras.true_depth),
        **color_scores(pairs, lexicon),
        **relation_scores(pairs),
        **phrase_scores(pairs, lexicon),
        **mention_scores(pairs, lexicon),
        **dense_scores(pairs, lexicon),
        **span_scores(pairs),
    }


def evaluate_runs(run: Run | Place | str, truth: Run | Place | str) -> Scores:
    """Scores of the run directory `run` against the truth run `truth`.

    Raises RunError when either is no run or they share no image.
    """
    ours, true = (r if isinstance(r, Run) else Run.open(r) for r in (run, truth))
    extras = Extras(
        segments=find_column(ours, SEGMENTS),
        depth=find_column(ours, DEPTH_MAP),
        true_depth=find_column(true, DEPTH_MAP),
    )
    return evaluate(ours.annotations(), true.annotations(), extras)


def find_column(run: Run, column: Column[Any]) -> dict[str, Any] | None:
    """Values of a column by image id, from whichever step of the run wrote it; None if none did."""
    folders: Iterable[Place] = (run.root / "stages").glob("*")
    for folder in sorted(folders, key=str):
        files: Iterable[Place] = folder.glob("*.parquet")
        first = min(files, key=str, default=None)
        if first is not None and column.name in publication.look(first, pq.read_schema).names:
            return dict(run.column(folder.name, column))
    return None
