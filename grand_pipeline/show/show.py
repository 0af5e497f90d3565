"""Annotated pictures of a run, one file per image and a contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from grand_pipeline import images
from grand_pipeline.columns import Annotation, ImageRow
from grand_pipeline.errors import ImageError, UserError, suggest
from grand_pipeline.show.panel import MARGIN, Section, draw_panel, measure, sections
from grand_pipeline.show.picture import draw_objects
from grand_pipeline.show.sheet import contact_sheet
from grand_pipeline.show.style import FAINT, PAPER, drawable, font
from grand_pipeline.store import Run

SHEET = "contact_sheet.png"
_PANEL = 560
_SHEET_MOST = 48
_BLANK = (768, 512)


def draw(annotation: Annotation, image: Image.Image) -> Image.Image:
    """The image with its objects drawn in, and its texts beside it (below it, if it is wide)."""
    return compose(annotation, draw_objects(annotation, image))


def compose(annotation: Annotation, picture: Image.Image) -> Image.Image:
    """A drawn picture and its texts: beside it what fits there, below it the rest."""
    parts = sections(annotation)
    beside: list[Section] = []
    if picture.width <= 1.4 * picture.height:
        room = picture.height - 2 * MARGIN
        for part in parts:
            room -= measure(part, _PANEL)
            if room < 0 and beside:
                break
            beside.append(part)
    width = picture.width + (_PANEL if beside else 0)
    tall = draw_panel(beside, _PANEL, picture.height) if beside else None
    top = max(picture.height, tall.height if tall else 0)
    rest = parts[len(beside) :]
    wide = draw_panel(rest, width, 0) if rest else None
    canvas = Image.new("RGB", (width, top + (wide.height if wide else 0)), PAPER)
    canvas.paste(picture, (0, 0))
    if tall:
        canvas.paste(tall, (picture.width, 0))
    if wide:
        canvas.paste(wide, (0, top))
    return canvas


def show(
    run: Run, out: Path, image_ids: Sequence[str] | None = None, limit: int | None = None
) -> list[Path]:
    """Write `<image_id>.png` for the annotated images and `contact_sheet.png` into `out`.

    Args:
        run: a run with published rows.
        out: folder to write, made if absent; files of the same names are replaced.
        image_ids: which images (a unique beginning of an id is enough); all by default.
        limit: at most this many, in the order of the run.

    Returns the paths written, the contact sheet last. An image whose file is gone is drawn on
    blank paper. Raises UserError for an unknown id, or when nothing is annotated yet.
    """
    rows = {row.image_id: row for row in run.images()}
    wanted = None if image_ids is None else {_resolve(name, rows) for name in image_ids}
    out.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    thumbnails: list[Image.Image] = []
    for annotation in run.annotations():
        if limit is not None and len(written) >= limit:
            break
        if wanted is not None and annotation.image_id not in wanted:
            continue
        picture = draw_objects(annotation, _load(annotation, rows.get(annotation.image_id)))
        path = out / f"{annotation.image_id}.png"
        compose(annotation, picture).save(path)
        written.append(path)
        if len(thumbnails) < _SHEET_MOST:
            thumbnails.append(picture)
    if not written:
        raise UserError(
            f"'{run.root}' has no annotated image to show; run 'grand build' to the end"
        )
    contact_sheet(thumbnails).save(out / SHEET)
    return [*written, out / SHEET]


def _resolve(name: str, rows: dict[str, ImageRow]) -> str:
    """The one image id that begins with `name`."""
    found = [key for key in rows if key.startswith(name)]
    if len(found) != 1:
        few = list(rows)[:5]
        what = "fits more than one image" if found else "fits no image of this run"
        raise UserError(f"image id '{name}' {what}.{suggest(name, found[:5] or few)}")
    return found[0]


def _load(annotation: Annotation, row: ImageRow | None) -> Image.Image:
    """The image, or blank paper of its size that says why it can not be read."""
    try:
        return images.opener(annotation.uri, row.bytes if row else None)()
    except ImageError as error:
        size = (annotation.width or _BLANK[0], annotation.height or _BLANK[1])
        if size[0] * size[1] > images.MAX_PIXELS:
            size = _BLANK
        blank = Image.new("RGB", size, (236, 236, 232))
        pen = ImageDraw.Draw(blank)
        pen.text((8, 8), drawable(str(error)), fill=FAINT, font=font(max(10, size[0] // 60)))
        return blank
