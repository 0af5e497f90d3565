"""Text that came from elsewhere (file names, model answers) gives no orders to a terminal.

File names may hold escape sequences that recolour, move or answer as if the user had typed, and
letters that turn the direction of what follows. Everything that is printed goes through here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

_ORDERS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls but tab and newline; 9b begins a sequence like ESC [
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # line separators and directions
    "\ud800-\udfff]"  # bytes of names that are no text, which no stream encodes
)


def printable(text: str) -> str:
    """`text` with what a terminal would obey as JSON escapes, such as `\\u001b`.

    JSON stays the same JSON. Tabs and newlines stay.
    """
    return _ORDERS.sub(_escape, text)


def one_line(text: str) -> str:
    """`printable` text in which a newline or tab of a name does not begin a line of its own."""
    return printable(text).replace("\n", r"\n").replace("\t", r"\t")


class Terminal(Console):
    """A console whose own colours and movements come through, and those of its texts do not."""

    def render_str(self, text: str, **options: Any) -> Text:
        """The string as text; made printable first, so that tables leave room for it."""
        return super().render_str(printable(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Segments of the renderable, their texts printable."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)


def _escape(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]
