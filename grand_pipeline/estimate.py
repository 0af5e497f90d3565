"""What the language models of a plan will cost: prompts, tokens, time. No model is loaded.

Counted from a run where one is given that has asked or at least written scene graphs; else
assumed, and said so. Tokens are guessed from the text (`tokens`), for no tokenizer is loaded
either: expect a fifth more or less.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

from grand_pipeline import ingest, weights
from grand_pipeline.codec import encode
from grand_pipeline.columns import INSTANCES, Column
from grand_pipeline.footprint import WRITES
from grand_pipeline.generation import Generation
from grand_pipeline.plan import Plan
from grand_pipeline.stage import Questions, Stage
from grand_pipeline.storage import Place
from grand_pipeline.store import Run
from grand_pipeline.zoo import query

SAMPLE = 200
"""Images of the run that are looked at, per column."""

GRAPH_TOKENS, IMAGE_TOKENS, OBJECTS = 500, 576, 12
"""Assumed where no run says it: a scene graph; an image, as LLaVA-1.5 sees it (24 x 24 patches);
objects of a photograph."""

ANSWER_SHARE = 1 / 3
"""Assumed length of an answer, as a share of the longest one allowed."""

REVISIONS, FAULT_TOKENS = 1.0, 60
"""Assumed revisions per image where answers are revised, and the faults named in each."""

READING = 0.05
"""Assumed time to read a token, in times to write one."""

_PARTS = re.compile(r"([^\W\d_]+)|[^\s\w]|\d|_")
_LETTERS = 6


@dataclass(frozen=True)
class Cost:
    """What one stage asks, for all images together, and per prompt in the mean. `seconds` is the
    time at the speed given; `basis` says what tokens were counted from."""

    stage: str
    model: str
    prompts: int
    tokens_in: int
    tokens_in_mean: float
    tokens_out: int
    tokens_out_mean: float
    seconds: float
    basis: str


def tokens(text: str) -> int:
    """About how many tokens a text has: one per six letters begun of a word, one per mark and
    digit. Marks and blanks count once where vocabularies of word pieces often join them."""
    return sum(-(-len(word) // _LETTERS) or 1 for word in _PARTS.findall(text))


def costs(plan: Plan, images: int, speed: float, run: Run | None = None) -> tuple[Cost, ...]:
    """What each stage with a language model asks about so many images.

    Args:
        speed: tokens per second that are written, by all workers of a stage together.
        run: where scene graphs and answers are counted; any run on images of the kind.
    """
    found = []
    for step in plan.steps:
        asked = step.stage.questions
        if asked is not None and _writes(step.stage):
            writers = dict(step.inputs)
            found.append(_cost(step.stage, asked, images, speed, _Sample(run, step.key, writers)))
    return tuple(found)


@dataclass(frozen=True)
class _Sample:
    """A few values of a run's columns; `writers` says which step wrote which."""

    run: Run | None
    key: str
    writers: dict[str, str]

    def of(self, column: Column[Any]) -> list[Any]:
        """Values of a column that the stage reads or writes itself; none where the run lacks it."""
        if self.run is None:
            return []
        key = self.writers.get(column.name, self.key)
        return [value for _, value in islice(self.run.column(key, column), SAMPLE)]

    def objects(self) -> float | None:
        """Mean number of an image's objects."""
        counts = [len(value) for value in self.of(INSTANCES)]
        return fmean(counts) if counts else None


def _cost(stage: Stage[Any], asked: Questions, images: int, speed: float, sample: _Sample) -> Cost:
    told = sample.of(asked.answers)
    read, basis_in = _read(asked, told, sample)
    written, basis_out = _written(asked, told)
    times = float(asked.times)
    if asked.per_object:
        objects = sample.objects()
        times *= OBJECTS if objects is None else objects
        basis_in += f"; {times:.3g} objects per image " + ("assumed" if objects is None else "seen")
    prompts = images * times
    total_in, total_out = prompts * read, prompts * written
    if asked.revised:
        rounds, basis = _rounds(told)
        prompts += images * rounds
        total_in += images * rounds * (read + written + FAULT_TOKENS)
        total_out += images * rounds * written
        basis_out += f"; {rounds:.3g} revisions per image {basis}"
    return Cost(
        stage=stage.key,
        model=str(stage.options().get("model", "")),
        prompts=round(prompts),
        tokens_in=round(total_in),
        tokens_in_mean=round(total_in / prompts, 1) if prompts else 0.0,
        tokens_out=round(total_out),
        tokens_out_mean=round(total_out / prompts, 1) if prompts else 0.0,
        seconds=round((total_out + READING * total_in) / speed, 1),
        basis=f"in: {basis_in}; out: {basis_out}",
    )


def _read(asked: Questions, told: Sequence[Any], sample: _Sample) -> tuple[float, str]:
    """Mean tokens of a question, and where they come from."""
    image = IMAGE_TOKENS if asked.sees else 0
    seen = f", {image} for the image assumed" if image else ""
    if sent := [one.prompt for one in told if isinstance(one, Generation)]:
        return image + _mean(sent), f"{len(sent)} prompts of the run{seen}"
    frame = image + tokens(asked.frame)
    if asked.sees:
        return frame, f"the question{seen}"
    graphs = sample.of(asked.graph) if asked.graph is not None else []
    if graphs:
        return frame + _mean(graphs), f"{len(graphs)} scene graphs of the run"
    return frame + GRAPH_TOKENS, f"scene graphs of {GRAPH_TOKENS} tokens assumed"


def _written(asked: Questions, told: Sequence[Any]) -> tuple[float, str]:
    """Mean tokens of an answer, and where they come from."""
    texts = [text for one in told for text in _texts(one)]
    if texts:
        return min(_mean(texts), asked.longest), f"{len(texts)} answers of the run"
    return asked.longest * ANSWER_SHARE, f"a third of the longest answer ({asked.longest}) assumed"


def _texts(answer: Any) -> Iterable[str]:
    """The words of a kept answer: a generation's, a plain text, each of a list's."""
    if isinstance(answer, Generation):
        return (answer.answer,)
    if isinstance(answer, str):
        return (answer,)
    if isinstance(answer, tuple):
        return tuple(one.text for one in answer)
    plain = encode(answer)
    return (str(plain["category"]), str(plain["fine_category"]))


def _rounds(told: Sequence[Any]) -> tuple[float, str]:
    counts = [one.review.rounds for one in told if isinstance(one, Generation) and one.review]
    return (fmean(counts), "seen") if counts else (REVISIONS, "assumed")


def _mean(texts: Sequence[str]) -> float:
    return fmean(tokens(text) for text in texts)


def _writes(stage: Stage[Any]) -> bool:
    """Whether the stage's model writes text, as far as known: a landmark can be found by one that
    does not. One that nobody knows is counted."""
    architectures = _architectures(str(stage.options().get("model", "")))
    return not architectures or architectures[0].endswith(WRITES)


def _architectures(model: str) -> list[str]:
    """What a model's class is called, by the model table or its own config."""
    row = query.known(model)
    if row is not None:
        return [row.architecture] if row.architecture else []
    embedded = model.startswith("embedded:")
    config = Path(weights.resolve(model) if embedded else model).expanduser() / "config.json"
    if not config.is_file():
        return []
    return list(json.loads(config.read_text("utf-8")).get("architectures") or [])


def report(
    plan: Plan, sources: Sequence[str], speed: float, run: Place | None = None
) -> dict[str, Any]:
    """What `grand plan --images` prints: files under `sources` are counted, not opened."""
    images = sum(1 for _ in ingest.discover(sources))
    found = costs(plan, images, speed, None if run is None else Run.open(run))
    return {
        "images": images,
        "tokens_per_second": speed,
        "seconds": round(sum(cost.seconds for cost in found), 1),
        "stages": [asdict(cost) for cost in found],
        "remark": f"{duration(sum(cost.seconds for cost in found))} in all, one stage after the "
        f"other, at {speed:g} tokens per second written; a token read is taken for {READING:g} of "
        "one written. Answers asked for again (`attempts`) are not counted; tokens are a guess "
        "from the text, a fifth more or less",
    }


def duration(seconds: float) -> str:
    """Seconds for a reader: "40 s", "12 min", "3.4 h", "12 days"."""
    for unit, length in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{math.ceil(seconds)} s"
