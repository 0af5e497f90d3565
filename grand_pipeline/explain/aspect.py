"""One thing to explain: what is so, and which stage, model and options made it so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from grand_pipeline.columns import Column
from grand_pipeline.explain.evidence import Evidence, Made, imported_from
from grand_pipeline.types import Box


@dataclass(frozen=True)
class Decider:
    """Who made something: a stage's key, its models, and the options that mattered."""

    stage: str = ""
    models: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """`fusion (embedded:sam): min_votes=2, nms_iou=0.3`; "" if nobody decided.

        What was imported was decided elsewhere: `imported from co_detr`.
        """
        source = imported_from(self.stage)
        if source is not None:
            return f"imported from {source}"
        models = f" ({', '.join(self.models)})" if self.models else ""
        options = ", ".join(f"{name}={shown(value)}" for name, value in self.options.items())
        return f"{self.stage}{models}{': ' if options else ''}{options}"


@dataclass(frozen=True)
class Aspect:
    """A named part of a story: lines for people, `data` for programs."""

    name: str
    lines: tuple[str, ...]
    data: Any = None
    by: Decider = Decider()


@dataclass(frozen=True)
class Story:
    """Everything told about an image or an object: facts for programs, aspects for both."""

    title: str
    facts: Mapping[str, Any]
    aspects: tuple[Aspect, ...]

    def json(self) -> dict[str, Any]:
        """The story as plain values."""
        return {
            **self.facts,
            **{
                aspect.name.replace(" ", "_"): {
                    "text": list(aspect.lines),
                    "data": aspect.data,
                    "stage": aspect.by.stage,
                    "models": list(aspect.by.models),
                    "options": dict(aspect.by.options),
                }
                for aspect in self.aspects
            },
        }


def decided(evidence: Evidence, column: Column[Any], *options: str) -> Decider:
    """The stage that wrote a column, with those of the named options that it has."""
    made = evidence.maker(column)
    if made is None:
        return Decider()
    held = made.options or {}
    return Decider(made.key, made.models, {name: held[name] for name in options if name in held})


def unmade(evidence: Evidence, name: str, column: Column[Any], stage: str) -> Aspect:
    """What to say of a part that has no column yet: why its stage wrote none."""
    made = evidence.maker(column) or evidence.stages.get(stage)
    if made is None:
        return Aspect(name, (f"the run has no stage '{stage}'",))
    note = f": {made.note}" if made.note else ""
    return Aspect(name, (f"{made.condition}{note}",), None, Decider(made.key, made.models))


def writer(made: Made | None) -> str:
    """Who wrote something, in a line among others: a stage with its models, or an import."""
    return Decider(made.key, made.models).text() if made else ""


def aligned(rows: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Rows of cells as lines with aligned columns; the last column is left as it is."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    return tuple(
        "  ".join(
            [*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[-1]]
        ).rstrip()
        for row in rows
    )


def number(value: float | None) -> str:
    """A score with two digits, or a dash."""
    return "-" if value is None else f"{value:.2f}"


def pixels(box: Box) -> str:
    """A box in whole pixels."""
    return " ".join(f"{side:.0f}" for side in box)


def shown(value: Any) -> str:
    """An option's value as a preset writes it; long lists are cut."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list | tuple):
        few = ", ".join(shown(item) for item in value[:4])
        return f"[{few}{', ...' if len(value) > 4 else ''}]"
    return str(value)
