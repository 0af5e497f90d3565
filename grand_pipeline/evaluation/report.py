"""Scores as an aligned table."""

from __future__ import annotations

from collections.abc import Mapping

from grand_pipeline.evaluation.objects import Scores


def text(scores: Scores) -> str:
    """The scores by group; "-" where the run or the truth has nothing to judge by.

    Whole numbers above 1 are counts; everything else is a fraction of 1.
    """
    return _table({name: (_number(name, value),) for name, value in scores.items()})


def compared(run: Scores, other: Scores, names: tuple[str, str] = ("run", "compare")) -> str:
    """The scores of two runs side by side and what the first has more, under `names`."""
    gaps = differences(run, other)
    head = (*names, "difference")
    rows = {
        name: (_number(name, run.get(name)), _number(name, other.get(name)), _gap(name, gap))
        for name, gap in gaps.items()
    }
    return _table(rows, head)


def differences(run: Scores, other: Scores) -> dict[str, float | None]:
    """Score -> that of the run less that of the other; None where one of them has none."""
    pairs = {name: (run.get(name), other.get(name)) for name in dict.fromkeys((*run, *other))}
    return {name: None if a is None or b is None else a - b for name, (a, b) in pairs.items()}


def _table(rows: Mapping[str, tuple[str, ...]], head: tuple[str, ...] = ()) -> str:
    """Rows under the names of their groups, numbers to the right."""
    width = max((len(name.partition(".")[2] or name) for name in rows), default=0)
    room = max((8, *(len(cell) for cell in head)))
    lines = [f"  {'':<{width}}{_cells(head, room)}"] if head else []
    group = None
    for name, cells in rows.items():
        start, dot, tail = name.partition(".")
        if dot and start != group:
            lines += ["", start]
        group = start if dot else None
        lines.append(f"  {tail or name:<{width}}{_cells(cells, room)}")
    return "\n".join(lines).strip("\n")


def _cells(cells: tuple[str, ...], room: int) -> str:
    return "".join(f"  {cell:>{room}}" for cell in cells)


COUNTS = frozenset(
    (
        *("images", "images_missing", "images_extra", "depth.pairs", "phrases.counted"),
        *("phrases.unanswerable", "phrases.undetected", "spans.counted", "dense_caption.facts"),
    )
)
"""Names of the scores that are counts."""


def _number(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if name in COUNTS else f"{value:.3f}"


def _gap(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:+.0f}" if name in COUNTS else f"{value:+.3f}"
