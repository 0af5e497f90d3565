"""A story on a terminal: names in front, facts aligned, who decided in a paler tone."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from grand_pipeline.explain.aspect import Aspect, Story

_TONES = {"missing": "yellow", "stale": "yellow", "skipped": "yellow", "failed": "red"}
_GAP = 2
_LEAST = 40
"""Columns that facts are given on however narrow a terminal."""


def tell(story: Story, console: Console) -> None:
    """Print the story: in colour on a terminal, plain without trailing blanks when piped."""
    console.print(Text(story.title, style="bold"), soft_wrap=True)
    margin = max((len(aspect.name) for aspect in story.aspects), default=0) + _GAP
    room = max(_LEAST, console.width - margin)
    for aspect in story.aspects:
        console.print()
        name = Text(aspect.name.ljust(margin), style="bold cyan")
        for line in _facts(aspect):
            for part in line.wrap(console, room):
                part.rstrip()
                console.print(name + part, soft_wrap=True)
                name = Text(" " * margin)


def _facts(aspect: Aspect) -> list[Text]:
    lines = [Text(line, style=_tone(line)) for line in aspect.lines]
    by = aspect.by.text()
    told = by if by.startswith("imported from") else f"by {by}"
    return [*lines, Text(told, style="dim")] if by else lines


def _tone(line: str) -> str:
    """Colour of a line that begins with what became of a stage, or with a stage and that."""
    words = [word.rstrip(":") for word in line.split()[:2]]
    return next((_TONES[word] for word in words if word in _TONES), "")
