"""Which pictures are shown: filters, and pages of the pictures that pass them.

A filter is asked of every picture in order, from where the last page ended, until the page is full
or the time is up; then the page says how far it came and the next request goes on there. So a page
of a run of any size takes bounded time and memory.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import PurePath
from typing import Any, Literal, get_args

import pyarrow as pa

from grand_pipeline.store import ANNOTATIONS
from grand_pipeline.viewer import nested
from grand_pipeline.viewer.listing import Identity, Listing, identity, images, published

State = Literal["annotated", "failed", "unreadable", "pending"]
STATES: tuple[State, ...] = get_args(State)

_BLOCK = 1024
_LABELS = 8
_LABEL = "objects.list.element.label"
_VOTER = "objects.list.element.votes.list.element.source"
_COLUMNS = (
    _LABEL,
    _VOTER,
    "captions.list.element.text",
    "dense_caption.text",
    "context.text",
    "errors.list.element.stage",
)


@dataclass(frozen=True)
class Filter:
    """What a picture has to have; what is empty is not asked. Case does not matter."""

    label: str = ""
    """Label of one of its objects."""
    text: str = ""
    """Part of one of its texts or of its file's name."""
    source: str = ""
    """One that voted for one of its objects."""
    state: State | None = None

    @property
    def is_empty(self) -> bool:
        """Whether every picture passes."""
        return self == Filter()


@dataclass(frozen=True)
class Page:
    """Pictures in order; `after` is where the next page begins, None at the end."""

    items: tuple[dict[str, Any], ...]
    after: int | None


def page(listed: Listing, asked: Filter, start: int, limit: int, seconds: float = 1.5) -> Page:
    """Up to `limit` pictures that pass, from number `start` on; fewer when the time is up."""
    ends_at = time.monotonic() + seconds
    items: list[dict[str, Any]] = []
    span = min(_BLOCK, limit) if asked.is_empty else _BLOCK
    for first, stop in _blocks(listed, start, span):
        rows = images(listed, first, stop)
        table = published(listed, rows, _COLUMNS)
        passing = _passing(rows, table, asked)
        room = limit - len(items)
        items += [_card(rows[n], _row(table, n)) for n in passing[:room]]
        # Where the next page begins: after the last one shown, or after all that was looked at.
        after = first + passing[room - 1] + 1 if len(passing) >= room else stop
        if after >= listed.total:
            break
        if len(items) == limit or time.monotonic() > ends_at:
            return Page(tuple(items), after)
    return Page(tuple(items), None)


def facets(listed: Listing, seconds: float = 1.0) -> dict[str, Any]:
    """Labels of objects and sources of votes, each with its number, most frequent first.

    `whole` is false when the time was up before all shards were counted; what was counted is kept
    for the next time.
    """
    ends_at = time.monotonic() + seconds
    labels: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    whole = True
    for shard, (start, stop) in zip(listed.shards, pairwise(listed.starts), strict=True):
        if time.monotonic() > ends_at:
            whole = False
            break
        try:
            version = identity(listed.run.fragment(ANNOTATIONS, shard))
        except FileNotFoundError:
            continue
        alone = Listing(listed.run, (shard,), (0, stop - start))
        for total, counted in zip((labels, sources), _counted(alone, version), strict=True):
            total.update(counted)
    shown = {"labels": labels.most_common(500), "sources": sources.most_common(100)}
    return {**shown, "whole": whole}


def state_of(error: str | None, is_published: bool, has_errors: bool) -> State:
    """Under which heading a picture stands."""
    if error is not None:
        return "unreadable"
    if not is_published:
        return "pending"
    return "failed" if has_errors else "annotated"


@lru_cache(1 << 14)
def _counted(shard: Listing, version: Identity) -> tuple[Counter[str], Counter[str]]:
    """Labels and voters of a listing of one shard."""
    labels: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    for first, stop in _blocks(shard, 0, _BLOCK):
        table = published(shard, images(shard, first, stop), (_LABEL, _VOTER))
        if table is not None:
            labels.update(nested.counts(table["objects"], "label"))
            sources.update(nested.counts(table["objects"], "votes", "source"))
    return labels, sources


def _blocks(listed: Listing, start: int, span: int) -> Iterator[tuple[int, int]]:
    """Ranges of at most `span` numbers from `start` on, none of them over two shards."""
    while start < listed.total:
        shard, _ = listed.place(start)
        last = min(start + span, listed.starts[shard + 1])
        yield start, last
        start = last


def _passing(rows: Sequence[dict[str, Any]], table: pa.Table | None, asked: Filter) -> list[int]:
    """Which rows of a block pass, in order; `table` are their published rows."""
    left = set(range(len(rows)))
    if asked.label:
        left &= nested.equal(table, asked.label, "objects", "label")
    if asked.source:
        left &= nested.equal(table, asked.source, "objects", "votes", "source")
    if asked.text:
        found = {n for n in left if asked.text.lower() in _name(rows[n]).lower()}
        for column in ("captions", "dense_caption", "context"):
            found |= nested.containing(table, asked.text, column, "text")
        left &= found
    if asked.state is not None:
        failed = nested.filled(table, "errors")
        left = {n for n in left if asked.state == _state(rows[n], table, n in failed)}
    return sorted(left)


def _row(table: pa.Table | None, number: int) -> dict[str, Any] | None:
    return None if table is None else dict(table.slice(number, 1).to_pylist()[0])


def _state(image: dict[str, Any], table: pa.Table | None, has_failed: bool) -> State:
    return state_of(image["error"], table is not None, has_failed)


def _name(image: dict[str, Any]) -> str:
    return PurePath(image["uri"]).name


def _card(image: dict[str, Any], row: dict[str, Any] | None) -> dict[str, Any]:
    """What the grid shows of a picture."""
    objects = (row or {}).get("objects") or []
    failed = [error["stage"] for error in row["errors"] or []] if row else []
    return {
        "number": image["number"],
        "image_id": image["image_id"],
        "name": _name(image),
        "width": image["width"],
        "height": image["height"],
        "state": state_of(image["error"], row is not None, bool(failed)),
        "objects": len(objects),
        "labels": Counter(thing["label"] for thing in objects).most_common(_LABELS),
        "failed": failed,
        "text": _told(row) if row else "",
    }


def _told(row: dict[str, Any]) -> str:
    """The dense caption, or else the last of the short ones."""
    if row["dense_caption"]:
        return str(row["dense_caption"]["text"])
    return str(row["captions"][-1]["text"]) if row["captions"] else ""
