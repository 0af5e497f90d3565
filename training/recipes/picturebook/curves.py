"""Learning curves: the thinned log that goes with a checkpoint, and its picture."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.recipes.picturebook.state import LOG

KEPT = "log.jsonl"
POINTS = 200  # most rows of a kept log
_UNITS = ("phase", "step", "images", "minutes", "lr", "grad_norm")
_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 640, 260, 50, 28, 150, 34
_COLORS = ("#1b6ca8", "#c8553d", "#3a7d44", "#8e5ea2", "#b8860b", "#555555", "#d16ba5", "#2a9d8f")

Row = dict[str, Any]


def keep(logs: Mapping[str, Path], path: Path) -> None:
    """Write the logs of the run folders (by phase) as one, thinned to `POINTS` rows.

    Each row says its phase; steps are counted over all phases. No log, no file.
    """
    rows: list[Row] = []
    before = 0
    for phase, folder in logs.items():
        own = read(folder / LOG)
        rows += [{"phase": phase, **row, "step": before + row["step"]} for row in own]
        before = rows[-1]["step"] if rows else before
    if rows:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in thin(rows)), "utf-8")


def read(path: Path) -> list[Row]:
    """The rows of a log; none where there is no log."""
    return (
        [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        if path.is_file()
        else []
    )


def thin(rows: Sequence[Row], points: int = POINTS) -> list[Row]:
    """At most `points` rows, evenly chosen; first and last stay, and so do scores."""
    if len(rows) <= points:
        return list(rows)
    scored = {n for n, row in enumerate(rows) if any(key.startswith("eval_") for key in row)}
    room = max(2, points - len(scored))
    chosen = {round(n * (len(rows) - 1) / (room - 1)) for n in range(room)}
    return [rows[n] for n in sorted(chosen | scored)]


def svg(rows: Sequence[Row], title: str) -> str:
    """A log as a picture: every term of the loss over the steps, on a logarithmic scale.

    Lines are running means, since a single batch says little. Grey lines part the phases.
    """
    names = [k for k in dict.fromkeys(k for row in rows for k in row) if k not in _UNITS]
    lines = {k: _smooth([(r["step"], r[k]) for r in rows if k in r and r[k] > 0]) for k in names}
    lines = {k: p[:: len(p) // 120 + 1] for k, p in lines.items() if p and "eval_" not in k}
    values = [v for points in lines.values() for _, v in points]
    low, high = math.log10(min(values)), math.log10(max(values))
    last: int = max(row["step"] for row in rows)

    def x(step: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * step / last

    def y(value: float) -> float:
        share: float = (math.log10(value) - low) / max(high - low, 1e-9)
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share

    parts = [_text(_LEFT, 18, f"{title}: terms of the loss"), *_axes(rows, x, y, 10**low, 10**high)]
    for number, (name, points) in enumerate(lines.items()):
        color = _COLORS[number % len(_COLORS)]
        path = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.3"/>')
        end = f"{name} {points[-1][1]:.3g}"
        parts.append(_text(_WIDTH - _RIGHT + 8, _TOP + 8 + 15 * number, end, color))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" font-family="sans-serif" font-size="11">\n'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>\n'
    )
    return head + "\n".join(parts) + "\n</svg>\n"


def _axes(rows: Sequence[Row], x: Any, y: Any, low: float, high: float) -> list[str]:
    """Ends of both axes, and a line where a phase begins."""
    bottom, last = _HEIGHT - _BOTTOM, rows[-1]["step"]
    parts = [_text(4, y(value) + 4, f"{value:.3g}", "#555555") for value in (low, high)]
    parts += [_text(x(0), bottom + 16, "0", "#555555")]
    parts += [_text(x(last) - 60, bottom + 16, f"{last} steps", "#555555")]
    parts += [f'<path d="M{_LEFT} {_TOP}V{bottom}H{x(last):.1f}" fill="none" stroke="#999999"/>']
    begins = {row["phase"]: row["step"] for row in reversed(rows)}
    for phase, step in sorted(begins.items(), key=lambda item: item[1]):
        place = f"{x(step):.1f}"
        parts.append(f'<path d="M{place} {_TOP}V{bottom}" stroke="#dddddd"/>')
        parts.append(_text(float(place) + 3, bottom + 29, phase, "#999999"))
    return parts


def _smooth(points: Sequence[tuple[int, float]], share: int = 40) -> list[tuple[int, float]]:
    """Running mean over a `share`-th of the points."""
    half = len(points) // (2 * share)
    windows = [points[max(0, n - half) : n + half + 1] for n in range(len(points))]
    return [
        (step, sum(v for _, v in window) / len(window))
        for (step, _), window in zip(points, windows, strict=True)
    ]


def _text(x: float, y: float, words: str, color: str = "#222222") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" fill="{color}">{words}</text>'
