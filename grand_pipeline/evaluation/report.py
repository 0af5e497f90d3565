"""Scores as an aligned table."""

from __future__ import annotations

from collections.abc import Mapping


def text(scores: Mapping[str, float | None]) -> str:
    """The scores by group; "-" where the run or the truth has nothing to judge by.

    Whole numbers above 1 are counts; everything else is a fraction of 1.
    """
    width = max((len(name.partition(".")[2] or name) for name in scores), default=0)
    lines: list[str] = []
    group = None
    for name, value in scores.items():
        head, dot, tail = name.partition(".")
        if dot and head != group:
            lines += ["", head]
        group = head if dot else None
        lines.append(f"  {tail or name:<{width}}  {_number(name, value):>8}")
    return "\n".join(lines).strip("\n")


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
