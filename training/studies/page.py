"""docs/experiments.md and its pictures, out of what studies have found.

python -m training.studies.page [FOLDER]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from training import plots
from training.studies import definition
from training.studies.definition import Comparison, Study, Trial, of_arm, spread

PAGE = "experiments.md"
_NOTE = (
    "<!-- Written by `make docs` from the results of studies; edit training/studies instead. -->"
)
_HEAD = """
Trainings of the recipes' `tiny` configurations on picture-book scenes, measured on exact truth of
scenes that no training has seen. They ask whether a recipe learns, how much of it survives when the
labels come from `grand build` instead of the truth, and whether what the papers say at their size
can be seen at this one. `mean ± standard deviation` over seeds; minutes are those of one processor
core, the evaluation apart. A claim that does not appear is listed like one that does.

"produced" learns from the published rows of a `grand build`, "truth" from the exact rows of the
same scenes, "untrained" is the same network before its first step.
"""
_RUN = """
Any of them is one command, which goes on where it stopped:

```
grand picturebook render -n 2000 --seed 6000000 --out world
grand picturebook render -n 200 --seed 6500000 --out unseen
grand build --images world/images --out run
python -m training.studies STUDY --data produced=run --data truth=world/truth \\
    --unseen unseen/truth --out trainings
```
"""
_LEFT, _WIDE, _LINE, _GAP = 170, 420, 20, 34


def files() -> dict[str, str]:
    """Path below docs/ -> text, of the page and its pictures."""
    made: dict[str, str] = {}
    lines = ["# Experiments", _NOTE, *_HEAD.splitlines(), *_RUN.splitlines()]
    for name in definition.names():
        asked, found = definition.study(name), definition.trials(name)
        lines += [
            "",
            f"## {asked.title}",
            "",
            asked.claim,
            *(["", asked.note] if asked.note else []),
        ]
        if not found:
            lines += ["", "Not run yet."]
            continue
        made[f"experiments/{name}.svg"] = picture(asked, found)
        lines += ["", f"`python -m training.studies {name}`", "", *_table(asked, found), ""]
        lines += [verdict(claim, found) for claim in asked.compare]
        lines += ["", f"![{asked.title}](experiments/{name}.svg)"]
    return {PAGE: "\n".join(lines) + "\n", **made}


def verdict(claim: Comparison, found: Sequence[Trial]) -> str:
    """One line: whether a claim holds, on average and seed by seed."""
    first = of_arm(list(found), claim.first, claim.score)
    second = of_arm(list(found), claim.second, claim.score)
    seeds = sorted(set(first) & set(second))
    said = f"`{claim.score}` of {claim.first} above {claim.second}"
    if claim.ratio != 1:
        said = f"`{claim.score}` of {claim.first} at least {claim.ratio:g} times {claim.second}"
    if not seeds:
        return f"- {said}: not measured"
    held = [
        first[s] > second[s] if claim.ratio == 1 else first[s] >= claim.ratio * second[s]
        for s in seeds
    ]
    one, other = (spread([values[s] for s in seeds])[0] for values in (first, second))
    holds = one > other if claim.ratio == 1 else one >= claim.ratio * other
    times = f", {one / other:.2f} times" if other > 0 else ""
    difference, deviation = spread([first[s] - second[s] for s in seeds])
    return (
        f"- {said}: **{'yes' if holds else 'no'}** ({sum(held)} of {len(seeds)} seeds; difference "
        f"{difference:+.3f} ± {deviation:.3f}{times})"
    )


def _table(asked: Study, found: list[Trial]) -> list[str]:
    head = ["arm", *(f"`{score}`" for score in asked.scores), "seeds", "minutes"]
    rows = [" | ".join(head), " | ".join("---" for _ in head)]
    for arm in asked.arms:
        mine = [t for t in found if t.arm == arm.name]
        if mine:
            cells = [_cell(list(of_arm(found, arm.name, s).values())) for s in asked.scores]
            minutes = sum(t.minutes for t in mine) / len(mine)
            rows.append(" | ".join([arm.name, *cells, str(len(mine)), f"{minutes:.1f}"]))
    return [f"| {row} |" for row in rows]


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    mean, deviation = spread(values)
    return f"{mean:.3f} ± {deviation:.3f}" if len(values) > 1 else f"{mean:.3f}"


def picture(asked: Study, found: list[Trial]) -> str:
    """One panel for every score, a line for every arm: a dot per seed, a stroke at the mean."""
    arms = [arm.name for arm in asked.arms if any(t.arm == arm.name for t in found)]
    panel = _LINE * len(arms) + _GAP
    parts = []
    for number, score in enumerate(asked.scores):
        top = 8 + number * panel
        held = [list(of_arm(found, arm, score).values()) for arm in arms]
        most = max((v for values in held for v in values), default=0.0) or 1.0
        parts.append(plots.text(_LEFT, top + 12, score, more='font-weight="bold"'))
        for line, (arm, values) in enumerate(zip(arms, held, strict=True)):
            middle, color = top + 26 + line * _LINE, plots.COLORS[line % len(plots.COLORS)]
            parts.append(plots.text(_LEFT - 10, middle + 4, arm, more='text-anchor="end"'))
            parts.append(f'<path d="M{_LEFT} {middle}h{_WIDE}" stroke="#e4e4e4" stroke-width="1"/>')
            parts += _marks(values, most, middle, color)
    return plots.document(_LEFT + _WIDE + 70, 8 + len(asked.scores) * panel, parts)


def _marks(values: Sequence[float], most: float, middle: int, color: str) -> list[str]:
    if not values:
        return []
    places = [_LEFT + _WIDE * max(value, 0) / most for value in values]
    mean = sum(values) / len(values)
    at = _LEFT + _WIDE * max(mean, 0) / most
    dots = [
        f'<circle cx="{x:.1f}" cy="{middle}" r="4" fill="{color}" fill-opacity=".55"/>'
        for x in places
    ]
    stroke = f'<path d="M{at:.1f} {middle - 7}v14" stroke="{color}" stroke-width="2.5"/>'
    return [*dots, stroke, plots.text(_LEFT + _WIDE + 10, middle + 4, f"{mean:.3f}", color)]


def main() -> None:
    """Write the files into FOLDER, default docs/."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else definition.RESULTS.parent
    for name, text in files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
