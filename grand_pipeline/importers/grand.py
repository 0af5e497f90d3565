"""`grand import grand`: finished GranD annotations, one JSON file per image, of any level."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from grand_pipeline import settings
from grand_pipeline.columns import SOURCES, ImageRow
from grand_pipeline.errors import SourceError, UserError
from grand_pipeline.importers import annotation, files, intake, values
from grand_pipeline.importers.files import Found
from grand_pipeline.importers.intake import Order, Part
from grand_pipeline.importers.notes import Notes, Report
from grand_pipeline.stage import Row
from grand_pipeline.terminal import printable
from grand_pipeline.types import Size, SourceFile

FORMAT = settings.Preset(intake.PRESET.stem, "imported GranD annotations", {})
"""What a build is to do after this import: nothing."""


@dataclass(frozen=True)
class Told:
    """What one file says of one image, as far as it has to be known beforehand."""

    file: Found
    rank: int
    """Completeness; -1 for a file that can not be read."""
    size: Size | None
    alone: bool
    """Whether the file is about this image only."""


def import_annotations(paths: Sequence[Path], order: Order) -> Report:
    """Read annotation files, and the files of folders, into the run.

    Raises UserError when a path does not exist or there is no file at all.
    """
    notes = Notes()
    told = [one for path in _json_files(paths, notes) for one in _told(path)]
    columns = (*annotation.COLUMNS, SOURCES.of(annotation.SOURCE))
    with intake.opened(order, {annotation.SOURCE: columns}, FORMAT) as door:
        door.notes.add(notes)
        if not order.images:
            sizes = {one.file.name or one.file.stem: one.size for one in told}
            names = files.image_names((one.file for one in told), door.notes)
            intake.add_names(door, {n: sizes.get(n) for n in names}, order.shard_size)
        by_image = _by_image(told, door.run.images(), door.notes)
        for row in door.run.images():
            silent = row.image_id not in by_image
            door.notes.count("images without an annotation", row.uri, int(silent))
        content = files.digest((i, one.file) for i, group in by_image.items() for one in group)

        def read(row: ImageRow, notes: Notes) -> Row | None:
            group = by_image.get(row.image_id)
            return None if group is None else _row(group, row, notes)

        return intake.commit(door, [Part(annotation.SOURCE, columns, content, read)], FORMAT)


def _json_files(paths: Sequence[Path], notes: Notes) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = files.inside(path, path.rglob("*.json"), notes)
            found += (place for place in inside if place.is_file())
        elif path.is_file():
            files.refuse_archive(path)
            found.append(path)
        else:
            what = "is no file and no folder" if path.exists() else "does not exist"
            raise UserError(f"'{path}' {what}")
    if not found:
        raise UserError(f"no .json file in {', '.join(map(str, paths))}")
    return list(dict.fromkeys(found))


def _told(path: Path) -> Iterator[Told]:
    """What a file holds: an annotation per key, or one entry that says nothing if it is broken."""
    file = files.found(path, keyed=False)
    try:
        content = _content(path, file.digest)
    except SourceError:
        yield Told(file, -1, None, True)
        return
    for name, said in content.items():
        known = said if isinstance(said, dict) else {}
        yield Told(
            Found(path, name, path.stem, file.digest),
            annotation.completeness(known) if isinstance(said, dict) else -1,
            annotation.size_told(known),
            len(content) == 1,
        )


@lru_cache(maxsize=1)
def _content(path: Path, digest: str) -> dict[str, Any]:
    """What a file of that digest holds; many images of one file are asked for in a row."""
    content = values.mapping(values.parse(values.read_text(path), path), f"'{path}'")
    if not content:
        raise SourceError(f"'{path}' is empty: it has no image")
    return content


def _by_image(
    told: Sequence[Told], rows: Iterator[ImageRow], notes: Notes
) -> dict[str, list[Told]]:
    """Image id -> what is said of it, the most complete and latest first."""
    names = files.names_of(rows)
    found: dict[str, list[Told]] = {}
    for one in told:
        ids = names.ids(one.file)
        if len(ids) == 1:
            found.setdefault(ids[0], []).insert(0, one)
        else:
            what = "of several images of one name" if ids else "without image"
            notes.count(f"annotations {what}, not imported", str(one.file.path))
    for group in found.values():
        group.sort(key=lambda one: -one.rank)
        for one in group[1:]:
            notes.count("annotations behind a better one of their image", str(one.file.path))
    return found


def _row(group: Sequence[Told], row: ImageRow, notes: Notes) -> Row:
    """The best annotation of an image; all of them verbatim."""
    best = group[0]
    verbatim = tuple(_verbatim(one) for one in group if one.rank >= 0)
    said = _said(best)
    size = None if row.width is None or row.height is None else (row.height, row.width)
    try:
        read = annotation.row_of(said, size, notes)
    except SourceError as error:
        raise SourceError(f"'{best.file.path}': {error}") from None
    return {**read, SOURCES.of(annotation.SOURCE): verbatim}


def _said(one: Told) -> Mapping[str, Any]:
    content = _content(one.file.path, one.file.digest)
    return values.mapping(content.get(str(one.file.name)), f"the image in '{one.file.path}'")


def _verbatim(one: Told) -> SourceFile:
    """What a file says of an image. Raises SourceError where that is too much for one."""
    if one.alone:
        return files.verbatim(one.file, files.text_of(one.file))
    part = json.dumps({str(one.file.name): _said(one)}, ensure_ascii=False)
    if len(part) > values.IMAGE_BYTES:
        raise SourceError(
            f"'{one.file.path}' has {len(part):,} characters about one image; up to "
            f"{values.IMAGE_BYTES:,} are read"
        )
    return files.verbatim(one.file, printable(part))
