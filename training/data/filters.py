"""Which regions and images are trained on: X-VLM's filters, and lists of what is held out.

Filters are pure and counted. The order is fixed: valid box, smallest area, repeated text, how many
(X-VLM section 4.1 names the first three; its measure of overlap of texts is not defined, ours is
said at `repeated`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from grand_pipeline import geometry, images
from grand_pipeline.errors import SettingsError
from grand_pipeline.types import Box, Size
from training.data.views import Region


@dataclass(frozen=True)
class Rules:
    """`min_area`: smallest share of the picture. `overlap`: a text that shares more than this part
    of its words with one before it is dropped. `most`: regions of a picture that are kept, null for
    all."""

    min_area: float = 0.01
    overlap: float = 0.75
    most: int | None = None


@dataclass(frozen=True)
class Filtered:
    """Regions that passed, and how many each rule dropped."""

    kept: tuple[Region, ...]
    dropped: Counter[str]


def filtered(regions: Sequence[Region], size: Size, rules: Rules | None = None) -> Filtered:
    """Regions of a picture of `size` (h, w) by the rules, in their order."""
    rules = rules or Rules()
    dropped: Counter[str] = Counter()
    kept: list[Region] = []
    seen: list[frozenset[str]] = []
    for region in regions:
        words = frozenset(normalized(region.text).split())
        reason = _reason(region.box, words, seen, size, rules)
        if reason is None and rules.most is not None and len(kept) >= rules.most:
            reason = "most"
        if reason is None:
            kept.append(region)
            seen.append(words)
        else:
            dropped[reason] += 1
    return Filtered(tuple(kept), dropped)


def normalized(text: str, most_words: int | None = None) -> str:
    """Lower case, punctuation removed, "-" and "/" as blanks, cut to `most_words` words."""
    plain = re.sub(r"[^\w\s]", "", re.sub(r"[-/]", " ", text.lower()))
    return " ".join(plain.split()[:most_words])


def repeated(words: frozenset[str], seen: Iterable[frozenset[str]], overlap: float) -> bool:
    """Whether a text says again what one before it says.

    As sets of normalised words: the words in both are more than the share `overlap` of the words
    in either (Jaccard).
    """
    return any(len(words & other) > overlap * len(words | other) for other in seen)


@dataclass(frozen=True)
class HeldOut:
    """Images that must not be trained on, because they evaluate.

    `contents` are the first 32 hex digits of SHA-256 of files (our image ids); `coco` are numbers
    of COCO images, which files carry at the end of their names; `names` are file names.
    """

    contents: frozenset[str] = frozenset()
    coco: frozenset[int] = frozenset()
    names: frozenset[str] = frozenset()

    def __call__(self, image_id: str, uri: str) -> bool:
        """Whether an image is held out: what `views.require(exclude=...)` asks."""
        name = images.local_path(uri).rpartition("/")[2]
        found = _COCO_NAME.fullmatch(name)
        return (
            image_id in self.contents
            or name in self.names
            or (found is not None and int(found["number"]) in self.coco)
        )

    def __or__(self, other: HeldOut) -> HeldOut:
        return HeldOut(
            self.contents | other.contents, self.coco | other.coco, self.names | other.names
        )


def held_out(items: Iterable[str]) -> HeldOut:
    """Items by their form: a SHA-256 (all of it or 32 digits), a COCO number, or a file name.

    Empty items and those that begin with "#" are left out.
    """
    contents: set[str] = set()
    coco: set[int] = set()
    names: set[str] = set()
    for item in (text.strip() for text in items):
        if re.fullmatch(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{64}", item):
            contents.add(item[:32].lower())
        elif re.fullmatch(r"\d{1,12}", item):
            coco.add(int(item))
        elif item and not item.startswith("#"):
            names.add(item)
    return HeldOut(frozenset(contents), frozenset(coco), frozenset(names))


def read_held_out(path: Path | str) -> HeldOut:
    """`held_out` of a text file with an item per line. Raises SettingsError if it is not there."""
    try:
        return held_out(Path(path).read_text("utf-8-sig").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"the list of held-out images '{path}' can not be read: {error}"
        ) from None


_COCO_NAME = re.compile(r"(?:COCO_(?:train|val|test)\d{4}_)?(?P<number>\d{12})\.\w+")


def _reason(
    box: Box, words: frozenset[str], seen: Sequence[frozenset[str]], size: Size, rules: Rules
) -> str | None:
    height, width = size
    x1, y1, x2, y2 = box
    if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
        return "box"
    if float(geometry.area(geometry.as_boxes([box]))[0]) < rules.min_area * height * width:
        return "area"
    if not words or repeated(words, seen, rules.overlap):
        return "text"
    return None
