"""What is known about an image, and what a text claims about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from grand_pipeline.statements import Triple
from grand_pipeline.types import Box, Size

ClaimKind = Literal["reference", "class", "color", "count", "relation"]


@dataclass(frozen=True)
class Thing:
    """An object that texts speak of. `depth` is relative, larger = nearer."""

    id: int
    label: str
    attributes: tuple[str, ...]
    box: Box
    depth: float | None
    stuff: bool

    @property
    def name(self) -> str:
        """`[0] car`, as scene graphs call it."""
        return f"[{self.id}] {self.label}"


@dataclass(frozen=True)
class Known:
    """What is known about an image of `size` (height, width); `said` are texts, such as short
    captions, that may speak of things which are no objects."""

    things: tuple[Thing, ...]
    relations: frozenset[Triple]
    size: Size
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """One claim in the text's own words. `holds` is None where nothing is known; a claim that
    fails says why. `seen` is what a model that sees said of it: yes, no, unclear, or nothing."""

    kind: ClaimKind
    text: str
    holds: bool | None
    reason: str = ""
    seen: str = ""

    def fault(self) -> str:
        """`"a blue car": [0] car is red`."""
        return f'"{self.text}": {self.reason}'
