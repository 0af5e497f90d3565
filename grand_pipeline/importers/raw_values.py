"""What GranD's models wrote, file by file, as values of our columns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from grand_pipeline import images, spans
from grand_pipeline.errors import ImageError, SourceError
from grand_pipeline.generation import Generation
from grand_pipeline.importers import texts, values
from grand_pipeline.importers.files import Found, text_of, under_image
from grand_pipeline.importers.notes import Notes
from grand_pipeline.types import (
    Box,
    DepthMap,
    Detection,
    FloatArray,
    Landmark,
    Phrase,
    PhraseBox,
    RegionText,
    Size,
    Tag,
)

DEPTH_NAME = re.compile(r"(.+)_min_(-?\d+\.?\d*)_max_(-?\d+\.?\d*)")
_MIDAS_GRID = 512
_FIRST_EVA = "eva-02-01"
_HALF_MAX = 65504.0  # the largest float16


@dataclass(frozen=True)
class Given:
    """The file of one source about one image of `size` (height, width), and files that help to
    read it."""

    source: str
    file: Found
    size: Size | None
    others: Mapping[str, Found]
    notes: Notes

    def image(self) -> dict[str, Any]:
        """What the file says under the image's name. Raises SourceError."""
        return under_image(text_of(self.file), self.file)

    def told(self) -> Any:
        """What it says under the model's name; None, and counted, if there is nothing."""
        inner = self.image()
        self.notes.count(
            f"files without '{self.source}' inside", times=int(self.source not in inner)
        )
        return inner.get(self.source)

    def other(self, name: str) -> dict[str, Any]:
        """The same of a helping file; {} if there is none. Raises SourceError."""
        file = self.others.get(name)
        return {} if file is None else under_image(text_of(file), file)


def detections(given: Given) -> tuple[Detection, ...]:
    """Boxes with scores, labels (GRiT: descriptions) and, of EVA-02, masks."""
    word = "description" if given.source == "grit" else "label"
    found: list[Detection] = []
    for entry in _entries(given):
        box, score = _box(entry, given), values.number(entry.get("score"))
        label = values.words(entry.get(word), given.notes, word)
        if score is None or label is None:
            given.notes.count("detections without a label or a finite score, left out")
        elif box is not None:
            mask = values.rle(entry.get("sam_mask"), given.size, given.notes)
            found.append(Detection(box, score, label, mask))
    return tuple(found)


def answers(given: Given) -> tuple[RegionText, ...]:
    """GPT4RoI's texts by box. In its files they stand among GRiT's, which are left out."""
    entries = values.listing(given.other("grit").get("grit"), "'grit'")
    described = (entry.get("description") for entry in entries if isinstance(entry, dict))
    known = {text for text in described if isinstance(text, str)}
    found: list[RegionText] = []
    for entry in _objects(given.image(), given.file):
        box = _box(entry, given)
        told = entry.get("attributes")
        for item in told if isinstance(told, list) else [told]:
            text = values.words(item, given.notes, "attribute")
            if text is None or text in known or box is None:
                continue
            plain, _ = texts.without_speaker(text)
            given.notes.count("answers that are empty, left out", times=int(not plain))
            if plain:
                found.append(RegionText(box, plain))
    values.bounded(len(found), "texts of regions")
    return tuple(found)


def choices(given: Given) -> tuple[RegionText, ...]:
    """The labels that EVA-CLIP chose, by the boxes of the annotation whose ids it names."""
    chosen = values.mapping(
        values.parse(text_of(given.file), given.file.path), f"'{given.file.path}'"
    )
    boxed = next((n for n in ("gpt4roi", "level-2") if n in given.others), None)
    if boxed is None:
        raise SourceError(
            f"'{given.file.path}' names objects by id, and neither level-2-processed_gpt4roi nor "
            "level-2-processed has this image, so their boxes are unknown"
        )
    annotation = given.other(boxed)
    lists = ("objects", "floating_objects")
    values.bounded(len(chosen), "chosen labels")
    entries = [e for n in lists for e in values.listing(annotation.get(n), n)]
    whole = [e for e in entries if isinstance(e, dict) and isinstance(e.get("id"), int | str)]
    by_id = {str(entry["id"]): entry for entry in reversed(whole)}
    found: list[RegionText] = []
    for key, label in chosen.items():
        text = values.words(label, given.notes, "label")
        if key not in by_id:
            given.notes.count("chosen labels of objects that do not exist, left out")
        elif text is not None and (box := _box(by_id[key], given)) is not None:
            found.append(RegionText(box, text))
    return tuple(found)


def tags(given: Given) -> tuple[Tag, ...]:
    """Tags, best first."""
    told = given.told()
    inner = {} if told is None else values.mapping(told, f"'{given.source}'")
    names = values.listing(inner.get("tags"), "'tags'")
    scores = [values.number(s) for s in values.listing(inner.get("scores"), "'scores'")]
    found: list[Tag] = []
    for name, score in zip(names, [*scores, *[None] * len(names)], strict=False):
        text = values.words(name, given.notes, "tag")
        if text is None or score is None:
            given.notes.count("tags without a name or a finite score, left out")
        else:
            found.append(Tag(text, score, given.source))
    return tuple(sorted(found, key=lambda tag: -tag.score))


def landmark(given: Given) -> Landmark | None:
    """The scene category; None if the model's answer was not understood."""
    return landmark_of(given.told(), "llava", given.notes)


def landmark_of(value: Any, source: str, notes: Notes) -> Landmark | None:
    """A scene category as GranD writes it: an object, or "" where the step failed."""
    inner = value if isinstance(value, dict) else {}
    told = (inner.get(key) or None for key in ("category", "fine_category"))
    coarse, fine = ((values.words(name, notes, "landmark") or "").strip() for name in told)
    if not coarse and not fine:
        notes.count("landmarks that are empty", times=int(value is not None))
        return None
    return Landmark(coarse, fine, source)


def caption(given: Given) -> str | None:
    """A short caption."""
    return caption_of(given.told(), given.source, given.notes)


def caption_of(told: Any, source: str, notes: Notes) -> str | None:
    """LLaVA's caption is wrapped twice in some revisions."""
    text = told.get(source) if isinstance(told, dict) else told
    return values.words(text, notes, "caption", values.TEXT_LENGTH)


def phrases(given: Given) -> tuple[tuple[Phrase, ...], tuple[PhraseBox, ...]]:
    """MDETR's phrases where they stand in the captions, and their boxes, which have no score."""
    told = {
        name: caption_of(given.other(name).get(name), name, Notes()) for name in ("blip2", "llava")
    }
    captions = {name: spans.nfc(text) for name, text in told.items() if text}
    found: dict[tuple[str, int, int], Phrase] = {}
    boxes: list[PhraseBox] = []
    for entry in _entries(given):
        text = values.words(entry.get("phrase"), given.notes, "phrase")
        box = _box(entry, given)
        if text is None or box is None:
            continue
        head = values.words(entry.get("label"), given.notes, "label") or ""
        stands = [(n, at) for n, told in captions.items() for at in texts.places(told, text)]
        given.notes.count("phrases that stand in no caption, kept", times=int(not stands))
        for name, (start, end) in stands:
            written = captions[name][start:end]
            found.setdefault((name, start, end), Phrase(name, written, head, start, end))
        # Linking looks boxes up by the words as they stand in the caption.
        ways = [captions[name][start:end] for name, (start, end) in stands] or [text]
        boxes += [PhraseBox(way, box, None) for way in dict.fromkeys(map(_folded, ways))]
    return tuple(found[place] for place in sorted(found)), tuple(boxes)


def depth(given: Given) -> DepthMap:
    """The depth map on MiDaS's own grid of 512 x 512: the JPEG is that, stretched to the image."""
    name = DEPTH_NAME.fullmatch(given.file.path.stem)
    if name is None:
        raise SourceError(f"'{given.file.path}' has no range (_min_A_max_B) in its name")
    low, high = float(name[2]), float(name[3])
    if low > high:
        raise SourceError(f"'{given.file.path}': the range in its name ends before it begins")
    try:
        grey = images.decode(values.read_bytes(given.file.path)).getchannel(0)
    except ImageError as error:
        raise SourceError(f"'{given.file.path}': {error}") from None
    side = (min(grey.width, _MIDAS_GRID), min(grey.height, _MIDAS_GRID))
    grid = np.asarray(grey.convert("F").resize(side, Image.Resampling.BOX))
    return DepthMap.of(_storable(low + grid / 255.0 * (high - low)))


def generation(given: Given) -> Generation:
    """A language model's text. GranD kept only answers that ended by themselves."""
    text = text_of(given.file)
    if len(text) > values.TEXT_LENGTH:
        raise SourceError(
            f"'{given.file.path}' has {len(text):,} characters; texts of up to "
            f"{values.TEXT_LENGTH:,} are read"
        )
    return Generation("", text, "vicuna-13B", "stop")


def _storable(depths: NDArray[np.floating]) -> FloatArray:
    """The map inside the range of float16: relative depth has no unit, so a factor is free."""
    most = float(np.abs(depths).max())
    return np.asarray(depths * (_HALF_MAX / most) if most > _HALF_MAX else depths, np.float32)


def _entries(given: Given) -> list[dict[str, Any]]:
    """The model's list; published files of the second EVA-02 call it by the first one's name."""
    inner = given.image()
    lists = [name for name, value in inner.items() if isinstance(value, list)]
    if given.source in inner or len(lists) != 1:
        # GranD leaves the key out when a model finds nothing.
        return _dicts(values.listing(given.told(), f"'{given.source}'"), given.notes)
    # Anything else is not repeated: a report has no room for what a thousand files make up.
    said = lists[0] if lists[0] == _FIRST_EVA else "something else"
    given.notes.count(f"files of {given.source} that say {said}", str(given.file.path))
    return _dicts(inner[lists[0]], given.notes)


def _objects(annotation: Mapping[str, Any], file: Found) -> list[dict[str, Any]]:
    if "objects" not in annotation:
        keys = values.keys_shown(dict(annotation))
        raise SourceError(f"'{file.path}' has no 'objects'; its keys: {keys}")
    return _dicts(values.listing(annotation["objects"], "'objects'"), Notes())


def _dicts(entries: list[Any], notes: Notes) -> list[dict[str, Any]]:
    found = [entry for entry in entries if isinstance(entry, dict)]
    notes.count("entries that are no objects, left out", times=len(entries) - len(found))
    return found


def _box(entry: Mapping[str, Any], given: Given) -> Box | None:
    return values.box(entry.get("bbox"), given.size, given.notes)


def _folded(text: str) -> str:
    return " ".join(text.lower().split())
