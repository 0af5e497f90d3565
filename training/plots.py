"""Learning curves as SVG: terms of the loss on a logarithmic scale, scores on a linear one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path

from training.logs import FIGURES, LOG, Row, read

LOSSES, SCORES = "loss.svg", "scores.svg"
POINTS = 200  # most rows of a thinned log
_UNITS = ("phase", "step", "images", "minutes", "lr", "grad_norm", *FIGURES)
_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 640, 260, 50, 28, 150, 34
COLORS = ("#1b6ca8", "#c8553d", "#3a7d44", "#8e5ea2", "#b8860b", "#555555", "#d16ba5", "#2a9d8f")

Points = list[tuple[int, float]]


def write(out: Path) -> None:
    """Draw the log of a run beside it: `loss.svg`, and `scores.svg` where there are scores."""
    rows = read(out / LOG)
    for name, draw in ((LOSSES, losses), (SCORES, scores)):
        if picture := draw(rows, out.resolve().name):
            (out / name).write_text(picture, "utf-8")


def thin(rows: Sequence[Row], points: int = POINTS) -> list[Row]:
    """At most `points` rows, evenly chosen; first and last stay, and so do scores."""
    if len(rows) <= points:
        return list(rows)
    scored = {n for n, row in enumerate(rows) if any(key.startswith("eval_") for key in row)}
    room = max(2, points - len(scored))
    chosen = {round(n * (len(rows) - 1) / (room - 1)) for n in range(room)}
    return [rows[n] for n in sorted(chosen | scored)]


def losses(rows: Sequence[Row], title: str) -> str:
    """Every term of the loss over the steps, on a logarithmic scale; empty where there is none.

    Lines are running means, since a single batch says little. Grey lines part the phases.
    """
    lines = {
        name: _smooth([point for point in points if point[1] > 0])
        for name, points in _lines(rows).items()
        if "eval_" not in name
    }
    lines = {name: points[:: len(points) // 120 + 1] for name, points in lines.items() if points}
    return _picture(rows, lines, f"{title}: terms of the loss", math.log10, lambda v: 10**v)


def scores(rows: Sequence[Row], title: str) -> str:
    """Every score over the steps; empty where there is none."""
    found = {k.removeprefix("eval_"): v for k, v in _lines(rows).items() if k.startswith("eval_")}
    return _picture(rows, found, f"{title}: scores", float, float)


def _lines(rows: Sequence[Row]) -> dict[str, Points]:
    names = [k for k in dict.fromkeys(k for row in rows for k in row) if k not in _UNITS]
    kept = {k: [(r["step"], r[k]) for r in rows if k in r] for k in names}
    return {k: [point for point in points if math.isfinite(point[1])] for k, points in kept.items()}


def _picture(
    rows: Sequence[Row],
    lines: Mapping[str, Points],
    title: str,
    scale: Callable[[float], float],
    unscale: Callable[[float], float],
) -> str:
    """Lines with axes and a legend that says each line's last value."""
    values = [v for points in lines.values() for _, v in points]
    if not values:
        return ""
    low, high = scale(min(values)), scale(max(values))
    last: int = max(row["step"] for row in rows)

    def x(step: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * step / last

    def y(value: float) -> float:
        share: float = (scale(value) - low) / max(high - low, 1e-9)
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share

    parts = [text(_LEFT, 18, title), *_axes(rows, x, y, unscale(low), unscale(high))]
    for number, (name, points) in enumerate(lines.items()):
        color = COLORS[number % len(COLORS)]
        path = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.3"/>')
        end = f"{name} {points[-1][1]:.3g}"
        parts.append(text(_WIDTH - _RIGHT + 8, _TOP + 8 + 15 * number, end, color))
    return document(_WIDTH, _HEIGHT, parts)


def document(width: int, height: int, parts: Sequence[str]) -> str:
    """An SVG file of so many pixels, white behind its parts."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="11">\n'
        f'<rect width="{width}" height="{height}" fill="white"/>\n'
    )
    return head + "\n".join(parts) + "\n</svg>\n"


def _axes(
    rows: Sequence[Row],
    x: Callable[[float], float],
    y: Callable[[float], float],
    low: float,
    high: float,
) -> list[str]:
    """Ends of both axes, and a line where a phase begins."""
    bottom, last = _HEIGHT - _BOTTOM, rows[-1]["step"]
    parts = [text(4, y(value) + 4, f"{value:.3g}", "#555555") for value in (low, high)]
    parts += [text(x(0), bottom + 16, "0", "#555555")]
    parts += [text(x(last) - 60, bottom + 16, f"{last} steps", "#555555")]
    parts += [f'<path d="M{_LEFT} {_TOP}V{bottom}H{x(last):.1f}" fill="none" stroke="#999999"/>']
    begins = {row["phase"]: row["step"] for row in reversed(rows) if "phase" in row}
    for phase, step in sorted(begins.items(), key=lambda item: item[1]):
        place = f"{x(step):.1f}"
        parts.append(f'<path d="M{place} {_TOP}V{bottom}" stroke="#dddddd"/>')
        parts.append(text(float(place) + 3, bottom + 29, phase, "#999999"))
    return parts


def _smooth(points: Points, share: int = 40) -> Points:
    """Running mean over a `share`-th of the points."""
    half = len(points) // (2 * share)
    windows = [points[max(0, n - half) : n + half + 1] for n in range(len(points))]
    return [
        (step, sum(v for _, v in window) / len(window))
        for (step, _), window in zip(points, windows, strict=True)
    ]


def text(x: float, y: float, words: str, color: str = "#222222", more: str = "") -> str:
    """Words that begin at a point; `more` are attributes of the element."""
    place = f'x="{x:.0f}" y="{y:.0f}" fill="{color}"'
    return f"<text {' '.join((place, more)).strip()}>{escape(words)}</text>"
