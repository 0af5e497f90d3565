"""What an import counts: how much came in, what was changed, what was left out, and where."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from grand_pipeline.terminal import one_line

_EXAMPLES = 3
_PLACE_LENGTH = 300


@dataclass
class Notes:
    """Running counts, each with the first places it was seen at."""

    counts: Counter[str] = field(default_factory=Counter)
    places: dict[str, list[str]] = field(default_factory=dict)

    def count(self, what: str, where: str = "", times: int = 1) -> None:
        """Add to a count, and keep the place if it is among the first."""
        if not times:
            return
        self.counts[what] += times
        seen = self.places.setdefault(what, [])
        where = one_line(where[:_PLACE_LENGTH])
        if where and where not in seen and len(seen) < _EXAMPLES:
            seen.append(where)

    def add(self, other: Notes, where: str = "") -> None:
        """Take over everything that `other` counted, at `where` if it does not say where."""
        for what, times in other.counts.items():
            places = other.places.get(what)
            self.count(what, places[0] if places else where, times)


@dataclass(frozen=True)
class Report:
    """What became of an import. `changed` counts what was repaired or left out inside files."""

    run: str
    images: int
    without_file: int
    sources: dict[str, dict[str, int]]
    """Source -> images with values, images of which it says nothing, images that failed."""
    changed: Notes
    left_out: dict[str, str]
    """Stage that a build of this run leaves out -> column that nothing writes."""
    published: bool

    @property
    def failed(self) -> int:
        """Images of which some source could not be read."""
        return self.changed.counts["images with a file that can not be read"]

    def data(self) -> dict[str, Any]:
        """The report for programs."""
        return {
            "run": self.run,
            "images": self.images,
            "without_file": self.without_file,
            "sources": self.sources,
            "changed": dict(self.changed.counts),
            "places": self.changed.places,
            "left_out": self.left_out,
            "published": self.published,
        }

    def text(self) -> str:
        """The report for people."""
        lines = [f"imported {self.images} images into {self.run}"]
        if self.without_file:
            lines.append(f"  {self.without_file} without their file: known by name only")
        for name, counts in self.sources.items():
            parts = [f"{number} {what}" for what, number in counts.items() if number]
            lines.append(f"  {name}: {', '.join(parts) or 'nothing'}")
        for what, times in self.changed.counts.most_common():
            places = "; ".join(self.changed.places.get(what, ()))
            lines.append(f"  {times} {what}" + (f" ({places})" if places else ""))
        for key, column in self.left_out.items():
            lines.append(f"  left out of the preset: {key}, since nothing writes {column}")
        lines.append(
            "published: see RUN/annotations"
            if self.published
            else f"go on with: grand build --out {self.run}"
        )
        return "\n".join(lines)
