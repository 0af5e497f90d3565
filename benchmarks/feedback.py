"""What the feedback loop finds, mends and harms, with errors planted at known rates.

    python -m benchmarks.feedback [-n 200] [--seed 0] [--rounds 3] [--json]

The writer is a deliberately faulty one: it takes true descriptions of rendered scenes (half of
them with inline references) and plants wrong colours, invented objects and wrong relations; an
error is planted only where the exact truth of the scene says that it is one. The loop is the one
of the stage `dense_caption`. As reviser the writer obeys: of the faults that it is told it mends
those it planted, though it forgets one in ten, and where it is told of a fault that it did not
plant it deletes the sentence, so that every false alarm does harm.

`found`: share of planted errors among the faults of the first check. `mended`: share that is gone
in the end. `harmed`: share of the draft's true claims (by the exact truth, those that overlap a
planted error left out) that the last text no longer makes; `false_alarms`: share that the first
check calls faults.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import prompts
from benchmarks.planting import KINDS, RATES, Faulty, plant
from grand_pipeline import inert
from grand_pipeline.columns import (
    ASSIGNED,
    ATTRIBUTES,
    GROUNDED_CAPTIONS,
    INSTANCES,
    PLACEMENTS,
    RELATIONS,
    SCENE_GRAPH,
    Annotation,
    Column,
    ImageRow,
)
from grand_pipeline.evaluation.claims import claims
from grand_pipeline.evaluation.lexicon import picturebook_lexicon
from grand_pipeline.generation import Generation
from grand_pipeline.picturebook.render import render
from grand_pipeline.picturebook.truth import annotation
from grand_pipeline.record import Record
from grand_pipeline.references import parse
from grand_pipeline.types import AssignedLabel, Attribute, Instance, Placement
from prompts import Message
from stages import feedback
from stages.chat import GREEDY, STOP, Answer, Decoding, Effort

_NUMBERS = re.compile(r"\[\d+\]")

FORGOTTEN = 0.1
"""How often the reviser leaves a fault as it is."""


@dataclass
class Writer:
    """The faulty writer as a chat model. It knows its drafts by their text on one line."""

    drafts: dict[str, Faulty]
    rng: np.random.Generator
    context_length: int = 1_000_000
    asked: list[str] = field(default_factory=list)

    def prompt(self, messages: Sequence[Message]) -> str:
        """The last turn."""
        return messages[-1]["content"]

    def size(self, messages: Sequence[Message], room: int) -> int:
        """Everything fits."""
        return 1

    def complete(
        self,
        chats: Sequence[Sequence[Message]],
        max_new_tokens: int,
        decoding: Decoding = GREEDY,
    ) -> list[Answer]:
        """The revised drafts."""
        return [Answer(self._revised(chat[-1]["content"]), STOP) for chat in chats]

    def _revised(self, asked: str) -> str:
        """Both halves of the question are in the form of the prompt "feedback/default"."""
        head, _, told = asked.rpartition("\nFaults:\n")
        draft = head.rpartition("\nCaption:\n")[2].strip()
        faulty = self.drafts[draft]
        quotes = [quoted(line) for line in told.splitlines()]
        self.asked += quotes
        for quote in quotes:
            if self.rng.random() >= FORGOTTEN:
                faulty = faulty.obeyed(quote)
        text = faulty.text()
        self.drafts[inert.draft(text)] = faulty
        return text


def measure(scenes: int, seed: int, rounds: int) -> dict[str, Any]:
    """What `--json` prints."""
    rng = np.random.default_rng(seed)
    truths = [_truth(seed, n) for n in range(scenes)]
    faulty = [plant(text, truth, rng) for truth, text in zip(truths, _texts(truths), strict=True)]
    writer = Writer({inert.draft(one.text()): one for one in faulty}, rng)
    drafts = [Generation("", one.text(), "faulty writer", STOP) for one in faulty]
    records = [record(truth) for truth in truths]
    reviser = feedback.Reviser(writer, prompts.load("feedback/default"), Effort(1000))
    first = reviser.revised(drafts, records, 0)
    last = reviser.revised(drafts, records, rounds)
    return _report(truths, faulty, first, last, rounds)


def _report(
    truths: Sequence[Annotation],
    faulty: Sequence[Faulty],
    first: Sequence[Generation],
    last: Sequence[Generation],
    rounds: int,
) -> dict[str, Any]:
    count: Counter[str] = Counter()
    for truth, draft, checked, final in zip(truths, faulty, first, last, strict=True):
        quotes = _quotes(checked)
        for error in draft.errors:
            count[f"{error.kind} planted"] += 1
            count[f"{error.kind} found"] += any(map(error.is_meant, quotes))
            count[f"{error.kind} mended"] += error.words not in plain(final.answer)
        for words in _true(draft, truth):
            count["true"] += 1
            count["alarms"] += words in quotes
            count["harmed"] += words not in plain(final.answer)
        assert final.review is not None
        count["rounds"] += final.review.rounds
        count["verified"] += final.review.verified
    for part in ("planted", "found", "mended"):
        count[f"all {part}"] = sum(count[f"{kind} {part}"] for kind in KINDS)
    return {
        "scenes": len(truths),
        "rounds_allowed": rounds,
        "rates": RATES,
        "errors": {
            kind: {
                "planted": count[f"{kind} planted"],
                "found": _share(count[f"{kind} found"], count[f"{kind} planted"]),
                "mended": _share(count[f"{kind} mended"], count[f"{kind} planted"]),
            }
            for kind in (*KINDS, "all")
        },
        "found": _share(count["all found"], count["all planted"]),
        "true_claims": count["true"],
        "false_alarms": _share(count["alarms"], count["true"]),
        "harmed": _share(count["harmed"], count["true"]),
        "rounds_per_caption": round(count["rounds"] / len(truths), 2),
        "verified": _share(count["verified"], len(truths)),
    }


def plain(answer: str) -> str:
    """An answer without its references."""
    return "".join(piece.text for piece in parse(answer).pieces)


def _quotes(told: Generation) -> list[str]:
    """What the faults of a first check quote."""
    assert told.review is not None
    return [quoted(fault) for fault in told.review.failed]


def quoted(fault: str) -> str:
    """The words that a fault quotes, without the numbers of objects."""
    return _NUMBERS.sub("", fault.split('"')[1])


def _true(draft: Faulty, truth: Annotation) -> Iterator[str]:
    """The words of the draft's true claims that overlap no planted error."""
    lexicon = picturebook_lexicon()
    for claim in claims(plain(draft.text()), truth, lexicon):
        touched = any(e.words in claim.text or claim.text in e.words for e in draft.errors)
        if claim.true and claim.kind != "stuff" and not touched:
            yield claim.text


def _texts(truths: Sequence[Annotation]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """True descriptions: plain ones and ones with references by turns."""
    for number, truth in enumerate(truths):
        assert truth.dense_caption is not None
        if number % 2:
            yield truth.dense_caption.text, ()
        else:
            yield truth.dense_caption.text, truth.dense_caption.spans


def _truth(seed: int, number: int) -> Annotation:
    scene = render(seed, number)
    height, width = scene.ids.shape
    name = f"scene {number}"
    return annotation(scene, ImageRow(name, name, (), width, height, "PNG", None, None))


def record(truth: Annotation) -> Record:
    """The truth of a scene as the columns that claims are checked against."""
    objects = truth.objects
    values: dict[Column[Any], Any] = {
        INSTANCES: tuple(Instance(o.id, "object", o.kind, o.box, 1.0, o.label) for o in objects),  # type: ignore[arg-type]  # published as plain text
        ASSIGNED: tuple(AssignedLabel(o.id, o.label, 1.0) for o in objects),
        ATTRIBUTES.of("truth"): tuple(
            Attribute(o.id, "truth", a.text) for o in objects for a in o.attributes
        ),
        PLACEMENTS: tuple(
            Placement(o.id, o.depth or 0.0, o.layer or "", o.group or 0) for o in objects
        ),
        RELATIONS: truth.relations,
        GROUNDED_CAPTIONS: (),
        SCENE_GRAPH: truth.scene_graph or "",
    }
    encoded = {column.name: column.encode(value) for column, value in values.items()}
    size = truth.width or 0, truth.height or 0
    return Record(truth.image_id, truth.uri, *size, encoded, _no_image)


def _no_image() -> Any:
    raise AssertionError("claims are checked without pixels")


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def table(report: dict[str, Any]) -> str:
    """The report for a reader."""
    lines = [
        f"{report['scenes']} captions, at most {report['rounds_allowed']} rounds",
        f"{'error':<10}{'planted':>9}{'found':>9}{'mended':>9}",
    ]
    for kind, row in report["errors"].items():
        found, mended = (f"{100 * (row[key] or 0):8.2f}%" for key in ("found", "mended"))
        lines.append(f"{kind:<10}{row['planted']:>9}{found}{mended}")
    alarms, harmed = (100 * (report[key] or 0) for key in ("false_alarms", "harmed"))
    lines.append(
        f"{report['true_claims']} true claims: {alarms:.2f}% called faults at first, "
        f"{harmed:.2f}% gone in the end"
    )
    rounds, verified = report["rounds_per_caption"], 100 * (report["verified"] or 0)
    lines.append(f"{rounds} rounds per caption, {verified:.1f}% verified in the end")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-n", type=int, default=200, help="scenes")
    parser.add_argument("--seed", type=int, default=0, help="of the scenes and of the errors")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    report = measure(given.n, given.seed, given.rounds)
    print(json.dumps(report, indent=2) if given.json else table(report))


if __name__ == "__main__":
    main()
