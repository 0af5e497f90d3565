"""`grand import grand-raw`: the folders that GranD's models wrote, one file per image and step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grand_pipeline import columns, images, settings
from grand_pipeline.columns import SOURCES, Column, ImageRow
from grand_pipeline.errors import ImageError, SourceError, UserError
from grand_pipeline.importers import files, intake, raw_values, values
from grand_pipeline.importers.files import Found
from grand_pipeline.importers.intake import Order, Part
from grand_pipeline.importers.notes import Notes, Report
from grand_pipeline.importers.raw_values import DEPTH_NAME, Given
from grand_pipeline.stage import Row
from grand_pipeline.types import Size, SourceFile


@dataclass(frozen=True)
class Kind:
    """What is in the folders of one source: which columns it gives and how they are read.

    `needs` are other sources whose files of the same image are read with it.
    """

    folders: tuple[str, ...]
    columns: tuple[Column[Any], ...]
    read: Callable[[Given], Any]
    needs: tuple[str, ...] = ()
    suffix: str = ".json"
    keyed: bool = True
    silent: Any = None
    """What a missing file means: these values; None: the source says nothing of the image."""


def _detector(name: str) -> Kind:
    return Kind((name,), (columns.DETECTIONS.of(name),), raw_values.detections)


def _tagger(name: str) -> Kind:
    return Kind((name,), (columns.TAGS.of(name),), raw_values.tags)


def _captioner(name: str) -> Kind:
    return Kind((name,), (columns.CAPTIONS.of(name),), raw_values.caption)


def _written(level: str, column: Column[Any]) -> Kind:
    names = (f"{level}-vicuna-13B", f"{level}-vicuna_13B")
    return Kind(names, (column,), raw_values.generation, suffix=".txt", keyed=False)


KINDS: Mapping[str, Kind] = {
    **{n: _tagger(n) for n in ("tag2text", "ram")},
    "landmark": Kind(("landmark",), (columns.LANDMARK,), raw_values.landmark),
    "midas": Kind(("midas",), (columns.DEPTH_MAP,), raw_values.depth, suffix=".jpg", keyed=False),
    **{
        n: _detector(n)
        for n in ("co_detr", "eva-02-01", "eva-02-02", "ov_sam", "owl_vit", "pomp", "grit")
    },
    **{n: _captioner(n) for n in ("blip2", "llava")},
    "mdetr-re": Kind(
        ("mdetr-re",),
        (columns.PHRASES, columns.PHRASE_BOXES.of("mdetr-re")),
        raw_values.phrases,
        needs=("blip2", "llava"),
        silent=((), ()),  # An image without phrases has no file.
    ),
    "gpt4roi": Kind(
        ("level-2-processed_gpt4roi",),
        (columns.DESCRIPTIONS.of("gpt4roi"),),
        raw_values.answers,
        needs=("grit",),
    ),
    "eva_clip": Kind(
        ("level-2-processed_eva_clip",),
        (columns.LABEL_CHOICES.of("eva_clip"),),
        raw_values.choices,
        needs=("gpt4roi", "level-2"),
        keyed=False,
        silent=(),  # An image with nothing to choose has no file.
    ),
    "dense_draft": _written("level-3", columns.DENSE_DRAFT),
    "context": _written("level-4", columns.CONTEXT),
}
"""Source -> its kind. The source is the step's name in the run: `imported.co_detr`."""

HELPING: Mapping[str, Kind] = {"level-2": Kind(("level-2-processed",), (), raw_values.answers)}
"""Folders that are only looked at to read others."""

Files = dict[str, list[Found]]
"""Source -> its files."""


def import_raw(folder: Path, order: Order) -> Report:
    """Read every folder that GranD's steps have left in `folder` into the run.

    Raises UserError when there is none.
    """
    notes = Notes()
    found = _found(folder, notes)
    sources = {name: _columns(name) for name in KINDS if name in found}
    onward = settings.load_preset(str(intake.PRESET))
    with intake.opened(order, sources, onward) as door:
        door.notes.add(notes)
        if not order.images:
            intake.add_names(door, _sizes(found, door.notes), order.shard_size)
        named = files.names_of(door.run.images())
        matched = {name: files.matched(f, named, name, door.notes) for name, f in found.items()}
        parts = [_part(name, matched) for name in KINDS if name in matched]
        spoken = {image_id for name in KINDS for image_id in matched.get(name, ())}
        silent = [row for row in door.run.images() if row.image_id not in spoken]
        for row in silent:
            door.notes.count("images without any prediction", row.uri)
        return intake.commit(door, parts, onward)


def _found(folder: Path, notes: Notes) -> Files:
    files.refuse_archive(folder)
    if not folder.is_dir():
        raise UserError(f"'{folder}' is no folder of predictions")
    inside = [p.name for p in files.inside(folder, folder.iterdir(), notes) if p.is_dir()]
    result: Files = {}
    read: set[str] = set()
    for name, kind in {**KINDS, **HELPING}.items():
        present = [sub for sub in kind.folders if sub in inside]
        if present:
            read.update(present)
            result[name] = [f for sub in present for f in _files(folder, sub, kind, notes)]
    if not KINDS.keys() & result.keys():
        known = ", ".join(sub for kind in KINDS.values() for sub in kind.folders)
        raise UserError(
            f"'{folder}' has none of the folders that GranD's steps write ({known}); it has: "
            f"{', '.join(inside) or 'no folder'}"
        )
    if not any(result.values()):
        raise UserError(f"the folders in '{folder}' hold no files to import: {', '.join(read)}")
    for name in inside:
        notes.count("folders that are not read", name, int(name not in read))
    return result


def _files(folder: Path, sub: str, kind: Kind, notes: Notes) -> Iterable[Found]:
    for path in files.inside(folder, (folder / sub).iterdir(), notes):
        if not path.is_file():
            continue
        if path.suffix.lower() not in (kind.suffix, kind.suffix.replace("jpg", "jpeg")):
            notes.count(f"files that are no {kind.suffix}, not read", str(path))
            continue
        range_in_name = DEPTH_NAME.fullmatch(path.stem) if kind.suffix == ".jpg" else None
        yield files.found(path, range_in_name[1] if range_in_name else None, keyed=kind.keyed)


def _sizes(found: Files, notes: Notes) -> dict[str, Size | None]:
    """The images that the files speak of -> (height, width) of their depth maps or masks."""
    names = files.image_names((f for group in found.values() for f in group), notes)
    sizes: dict[str, Size | None] = dict.fromkeys(names)
    known = files.names_of(files.row_of_name(name) for name in names)
    for source in ("midas", "eva-02-01", "eva-02-02"):
        for file in found.get(source, ()):
            ids = known.ids(file)
            if len(ids) == 1 and sizes[ids[0]] is None:
                sizes[ids[0]] = _told_size(source, file)
    return sizes


def _told_size(source: str, file: Found) -> Size | None:
    try:
        if source == "midas":
            probe = images.probe(images.read_bytes(str(file.path)))
            return probe.height, probe.width
        entries = files.under_image(files.text_of(file), file).values()
    except (ImageError, SourceError):
        return None
    flat = (entry for group in entries if isinstance(group, list) for entry in group)
    return values.size_of_masks(flat, "sam_mask")


def _part(source: str, matched: Mapping[str, Mapping[str, Found]]) -> Part:
    kind = KINDS[source]
    used = [source, *(name for name in kind.needs if name in matched)]
    content = files.digest((f"{n} {i}", f) for n in used for i, f in matched[n].items())

    def read(row: ImageRow, notes: Notes) -> Row | None:
        file = matched[source].get(row.image_id)
        others = {n: matched[n][row.image_id] for n in used[1:] if row.image_id in matched[n]}
        return None if file is None else _row(source, file, row, others, notes)

    silent = None if kind.silent is None else _filled(source, kind.silent, ())
    return Part(source, _columns(source), content, read, silent)


def _columns(source: str) -> tuple[Column[Any], ...]:
    return (*KINDS[source].columns, SOURCES.of(source))


def _row(
    source: str, file: Found, row: ImageRow, others: Mapping[str, Found], notes: Notes
) -> Row | None:
    size = None if row.width is None or row.height is None else (row.height, row.width)
    told = KINDS[source].read(Given(source, file, size, others, notes))
    if told is None:
        return None
    changed = bool(notes.counts)  # Then something is not in the columns as it was.
    verbatim = (files.verbatim(file, files.text_of(file)),) if changed else ()
    return _filled(source, told, verbatim)


def _filled(source: str, told: Any, verbatim: tuple[SourceFile, ...]) -> Row:
    names = KINDS[source].columns
    each: Sequence[Any] = told if len(names) > 1 else (told,)
    return {**dict(zip(names, each, strict=True)), SOURCES.of(source): verbatim}
