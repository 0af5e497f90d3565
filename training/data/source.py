"""The published rows of a run as a numbered sequence that is read in any order.

Only whole shards are seen: a shard is published at once (`grand_pipeline.publication`), and what
comes after a run was opened is no part of the opened sequence. A shard that is superseded meanwhile
is read on from the shelf where the store keeps it. Row groups are read with the columns asked for
and nothing else.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from grand_pipeline import images
from grand_pipeline.errors import RunError
from grand_pipeline.store import ANNOTATIONS
from grand_pipeline.types import BoolArray
from training.data import contents
from training.data.files import IMAGES, Folder, Version, folder_of, in_threads
from training.data.frame import Frame
from training.data.rows import READS, Row

Exclude = Callable[[str, str], bool]
"""(image_id, uri) -> whether an image is left out."""

Numbers = NDArray[np.int64]

_HEAD = ("image_id", "uri", "width", "height")
_OBJECT = ("id", "status", "kind", "box", "score", "label", "attributes", "depth", "layer", "group")


@dataclass(frozen=True)
class Group:
    """A row group of a shard; `first` is the number of its first row among all rows of the run.

    `version` is that of the shard when the run was opened; None takes any.
    """

    shard: str
    place: int
    first: int
    rows: int
    version: Version | None = None


@dataclass(frozen=True)
class Rows:
    """Published rows of a run as they were when it was opened.

    `kept` are the numbers of the rows that are used, in order, (n,) int64. `embedded`: the run
    holds the pictures' bytes. `excluded` and `unreadable` count the rows that are left out.
    `digest` is another where the rows are others, so that a position in one sequence is not taken
    for one in another.
    """

    run: str
    reads: frozenset[str]
    groups: tuple[Group, ...] = field(repr=False)
    kept: Numbers = field(repr=False, compare=False)
    embedded: bool
    excluded: int
    unreadable: int
    digest: str

    def __len__(self) -> int:
        return len(self.kept)


@dataclass(frozen=True)
class Block:
    """Row groups in memory: `numbers` (n,) rising numbers of the rows of `table`, and each group's
    pictures, if embedded, with the place of its first row."""

    numbers: Numbers
    table: pa.Table
    pictures: tuple[pa.ChunkedArray, ...]
    starts: Numbers


def open_rows(run: Path | str, reads: Iterable[str], exclude: Exclude | None = None) -> Rows:
    """The rows of a run with all the contents in `reads`, such as "captions" or "objects.mask".

    A content that ends in "?" is read and may be missing. `run` is a local path or an fsspec URI.
    Rows without a size (pictures that can not be read) and those for which `exclude` is true are
    left out and counted. Raises RunError when a content is in no row, with the stage that makes
    it and what there is, and when no row is left.
    """
    asked = list(reads)
    folder = folder_of(str(run))
    shards = folder.shards()
    footers = folder.footers(ANNOTATIONS, shards)
    contents.require(str(run), [name for name in asked if not name.endswith("?")], footers)
    groups = tuple(_groups(shards, footers))
    whole = {s for s, footer in zip(shards, footers, strict=True) if _sized(footer)}
    kept, excluded, unreadable = _kept(folder, groups, whole, exclude)
    if not len(kept):
        raise RunError(
            f"run '{run}' has no row to train on: of {sum(g.rows for g in groups)} published rows "
            f"{unreadable} have no readable picture and {excluded} are excluded"
        )
    names = {name.removesuffix("?") for name in asked}
    roots = {name for name in names if name in READS} | {name.partition(".")[0] for name in names}
    listed = folder.footers(IMAGES, shards)
    # Pictures whose bytes are not in the run are read from their uris, one by one.
    embedded = any(contents.has_values(footer, "bytes") for footer in listed)
    digest = _digest(footers, kept)
    return Rows(str(run), frozenset(roots), groups, kept, embedded, excluded, unreadable, digest)


def load(rows: Rows, groups: Sequence[int]) -> Block:
    """Row groups, by their rising places in `rows.groups`, with the columns that `rows` reads.

    Raises RunError when a shard as it was when the run was opened is nowhere any more.
    """
    folder = folder_of(rows.run)
    chosen = [rows.groups[place] for place in groups]
    numbers = np.concatenate([np.arange(g.first, g.first + g.rows) for g in chosen])
    starts = np.cumsum([0, *(g.rows for g in chosen)])
    tables: list[pa.Table] = []
    pictures: list[pa.ChunkedArray] = []
    for shard, members in itertools.groupby(chosen, key=lambda group: group.shard):
        held = list(members)
        tables.append(_read(folder, ANNOTATIONS, held, [*_HEAD, *_columns(rows.reads)]))
        if rows.embedded:
            content = _read(folder, IMAGES, held, ["image_id", "bytes"])
            if content["image_id"] != tables[-1]["image_id"]:
                raise RunError(
                    f"'{IMAGES}/{shard}' and '{ANNOTATIONS}/{shard}' of run '{rows.run}' list "
                    "other images: the run is damaged; build it again"
                )
            cuts = itertools.accumulate((g.rows for g in held), initial=0)
            pictures += [
                content["bytes"].slice(c, g.rows) for c, g in zip(cuts, held, strict=False)
            ]
    return Block(numbers, pa.concat_tables(tables).combine_chunks(), tuple(pictures), starts)


def rows_of(rows: Rows, block: Block, numbers: Numbers) -> list[Row]:
    """The rows of these numbers, all of which the block holds, in their order."""
    places = np.searchsorted(block.numbers, numbers)
    plain = block.table.take(pa.array(places)).to_pylist()
    return [_row(rows, block, p, int(at)) for p, at in zip(plain, places, strict=True)]


def _row(rows: Rows, block: Block, plain: dict[str, Any], place: int) -> Row:
    data = None
    if block.pictures:
        group = int(np.searchsorted(block.starts, place, side="right")) - 1
        data = block.pictures[group][place - int(block.starts[group])].as_py()
    frame = Frame.whole((plain["height"], plain["width"]))
    picture = images.opener(plain["uri"], data)
    return Row(
        *(plain["image_id"], plain["uri"], frame, plain, rows.reads),
        open_image=picture,
        open_smaller=picture,
    )


def _groups(shards: Sequence[str], footers: Sequence[pq.FileMetaData]) -> Iterator[Group]:
    first = 0
    for shard, footer in zip(shards, footers, strict=True):
        version = Version.of(footer)
        for place in range(footer.num_row_groups):
            rows = footer.row_group(place).num_rows
            yield Group(shard, place, first, rows, version)
            first += rows


def _sized(footer: pq.FileMetaData) -> bool:
    """Whether every picture of a shard is known to have a size, without reading it."""
    return contents.is_full(footer, "width") and contents.is_full(footer, "height")


def _read(folder: Folder, kind: str, held: Sequence[Group], columns: Sequence[str]) -> pa.Table:
    """These row groups of one file. Lists of images have no versions: their rows never change."""
    count = sum(group.rows for group in held)
    version = held[0].version if kind == ANNOTATIONS else None
    places = [group.place for group in held]
    return folder.read(kind, held[0].shard, version, places, columns, count)


def _kept(
    folder: Folder,
    groups: Sequence[Group],
    whole: Collection[str],
    exclude: Exclude | None,
) -> tuple[Numbers, int, int]:
    """Numbers of the rows that stay, and how many are excluded and how many have no size.

    Shards in `whole` have no picture without a size.
    """
    by_shard = [list(held) for _, held in itertools.groupby(groups, key=lambda g: g.shard)]
    names = ["width", "height", *(["image_id", "uri"] if exclude else [])]

    def look(held: list[Group]) -> tuple[BoolArray, BoolArray]:
        if exclude is None and held[0].shard in whole:
            count = sum(group.rows for group in held)
            return np.ones(count, bool), np.zeros(count, bool)
        table = _read(folder, ANNOTATIONS, held, names)
        sized = np.asarray(table["width"].is_valid()) & np.asarray(table["height"].is_valid())
        if exclude is None:
            return sized, np.zeros_like(sized)
        pairs = zip(table["image_id"].to_pylist(), table["uri"].to_pylist(), strict=True)
        return sized, np.array([exclude(image_id, uri) for image_id, uri in pairs], bool)

    found = in_threads(look, by_shard)
    sized = np.concatenate([sized for sized, _ in found])
    out = np.concatenate([out for _, out in found]) & sized
    return np.flatnonzero(sized & ~out), int(out.sum()), int((~sized).sum())


def _digest(footers: Sequence[pq.FileMetaData], kept: Numbers) -> str:
    marks = hashlib.sha256(kept.tobytes())
    for footer in footers:
        marks.update((footer.metadata or {}).get(b"digest", b"") + b"%d;" % footer.num_rows)
    return marks.hexdigest()[:32]


def _columns(reads: frozenset[str]) -> list[str]:
    """Parquet names of what is read; of objects only the parts that a row shows."""
    names = [name for name in sorted(reads) if "." not in name and name != "objects"]
    if "objects" in reads:
        parts = (*_OBJECT, "mask") if "objects.mask" in reads else _OBJECT
        names += [f"objects.list.element.{part}" for part in parts]
    return names
