"""Files of predictions, and the images they speak of.

GranD writes one file per image and step, named after the image without its last four characters;
inside, the image's full name is the key. An image is looked for by its full name first, then by
the name without its ending.

What a file says is its author's word: names are only compared with those that a run has, links that
lead out of the folder are not followed, and archives are not opened.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePath
from typing import Any

from grand_pipeline.columns import ImageRow
from grand_pipeline.errors import SourceError, UserError
from grand_pipeline.importers.notes import Notes
from grand_pipeline.importers.values import (
    FILE_BYTES,
    IMAGE_BYTES,
    keys_shown,
    mapping,
    parse,
    read_text,
)
from grand_pipeline.terminal import one_line, printable
from grand_pipeline.types import SourceFile

_HEAD = 65536
"""Bytes of a file in which the name of its image has to stand."""
_NAME_LENGTH = 1024
_PACKED = (b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf")
_TAR = slice(257, 262)
_ARCHIVES = (".tar", ".zip", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")
_FIRST_KEY = re.compile(rb'\s*\{\s*("(?:[^"\\]|\\.)*")\s*:')

_ENDINGS = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic")
)


@dataclass(frozen=True)
class Found:
    """A file about one image; `name` is what it calls the image, if it says so inside."""

    path: Path
    name: str | None
    stem: str
    digest: str


def inside(folder: Path, paths: Iterable[Path], notes: Notes) -> list[Path]:
    """The paths that are what they seem, in order; hidden ones are left out, and links that lead
    out of `folder` are counted: what they show was never a part of it. Raises UserError."""
    root = folder.resolve()
    found: list[Path] = []
    try:
        for path in sorted(paths):
            leaves = path.is_symlink() and not _stays(path, root)
            notes.count("links that lead out of the folder, not followed", str(path), int(leaves))
            if not leaves and not path.name.startswith("."):
                found.append(path)
    except OSError as error:
        raise UserError(f"cannot read the folder '{folder}': {error}") from None
    return found


def _stays(link: Path, root: Path) -> bool:
    try:
        return link.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # RuntimeError: in a circle
        return False


def refuse_archive(path: Path) -> None:
    """Raise UserError where a file is an archive, by its name or its first bytes."""
    try:
        with path.open("rb") as file:
            head = file.read(_TAR.stop)
    except OSError:
        return  # Whoever reads it says why it can not be read.
    if path.suffix.lower() in _ARCHIVES or head.startswith(_PACKED) or head[_TAR] == b"ustar":
        raise UserError(
            f"'{path}' is an archive, which is not opened: unpack it into a folder of its own and "
            "give that"
        )


def found(path: Path, stem: str | None = None, *, keyed: bool = True) -> Found:
    """A file with its digest and, where files of its kind are `keyed`, the image it names.

    `stem` is what its own name says of the image; by default all but the ending.
    """
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES + 1)  # A larger one is refused when its turn comes.
    except OSError as error:
        raise UserError(f"cannot read '{path}': {error.strerror or error}") from None
    name = _first_key(data) if keyed else None
    return Found(path, name, stem or path.stem, sha256(data).hexdigest())


def _first_key(data: bytes) -> str | None:
    match = _FIRST_KEY.match(data[:_HEAD].removeprefix(b"\xef\xbb\xbf"))
    try:
        return str(json.loads(match[1])) if match else None
    except ValueError:
        return None


@dataclass(frozen=True)
class Names:
    """Names of images -> their ids: full ones, and those without ending."""

    full: Mapping[str, tuple[str, ...]]
    short: Mapping[str, tuple[str, ...]]

    def ids(self, file: Found) -> tuple[str, ...]:
        """Ids of the images that a file can speak of; more than one where names are not unique."""
        keys = [_base(name) for name in (file.name, file.stem) if name]
        for name in keys:
            if name in self.full:
                return self.full[name]
        for name in [*(s for key in keys[:1] for s in shortened(key)), *keys]:
            if name in self.short:
                return self.short[name]
        return ()


def names_of(rows: Iterable[ImageRow]) -> Names:
    """The names under which a run's images can be found: those of their files and of copies."""
    full: dict[str, dict[str, None]] = {}
    short: dict[str, dict[str, None]] = {}
    for row in rows:
        for uri in (row.uri, *row.duplicates):
            name = _base(uri)
            full.setdefault(name, {})[row.image_id] = None
            for cut in shortened(name):
                short.setdefault(cut, {})[row.image_id] = None
    return Names(*({name: tuple(ids) for name, ids in table.items()} for table in (full, short)))


def image_names(files: Iterable[Found], notes: Notes) -> list[str]:
    """The images that files speak of: by the names inside, else by the files' own; each once.

    A name that could be taken for a place elsewhere is counted and left out, since stages, pages
    and exports open what a run calls its images.
    """
    named = [(file, is_plain(file.name or file.stem)) for file in files]
    for file, plain in named:
        what = "images whose name is an address or leads out of its folder, not imported"
        notes.count(what, str(file.path), int(not plain))
    group = [file for file, plain in named if plain]
    said = [file.name for file in group if file.name]
    full = [name for name in said if PurePath(name).suffix.lower() in _ENDINGS]
    known = names_of(row_of_name(name) for name in full)
    others = [file.name or file.stem for file in group if not known.ids(file)]
    return list(dict.fromkeys([*full, *others]))


def is_plain(name: str) -> bool:
    """Whether a name is one of a file in a folder or below it, on any system."""
    parts = name.split("/")
    odd = one_line(name) != name or "\\" in name or "::" in name
    return not odd and 0 < len(name) <= _NAME_LENGTH and not {"", ".", ".."} & {*parts}


def _base(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2]


def row_of_name(name: str) -> ImageRow:
    """A stand-in for an image, whose id is its name: to match files among themselves."""
    return ImageRow(name, name, (), None, None, None, None, None)


def shortened(name: str) -> tuple[str, ...]:
    """A file name without its ending, and as GranD cuts it (four characters)."""
    return PurePath(name).stem, name[:-4]


def matched(files: Iterable[Found], names: Names, source: str, notes: Notes) -> dict[str, Found]:
    """Image id -> its file. What has no image, or not one only, is counted."""
    pairs: dict[str, Found] = {}
    for file in files:
        ids = names.ids(file)
        if len(ids) == 1 and ids[0] not in pairs:
            pairs[ids[0]] = file
        else:
            few = "without image" if not ids else "of several images of one name"
            what = few if len(ids) != 1 else "of an image that has another file already"
            notes.count(f"files of {source} {what}, not imported", str(file.path))
    return pairs


def digest(parts: Iterable[tuple[str, Found]]) -> str:
    """One digest of files by image, whatever their folder is called."""
    lines = sorted(f"{image_id} {file.digest}" for image_id, file in parts)
    return sha256("\n".join(lines).encode()).hexdigest()[:32]


def under_image(text: str, file: Found) -> dict[str, Any]:
    """What a keyed JSON file says of its image. Raises SourceError."""
    content = mapping(parse(text, file.path), f"'{file.path}'")
    if len(content) != 1:
        raise SourceError(
            f"'{file.path}' should have one key, the image's file name; its keys: "
            f"{keys_shown(content)}"
        )
    return mapping(next(iter(content.values())), f"the image in '{file.path}'")


def verbatim(file: Found, text: str) -> SourceFile:
    """A file, or what is kept of it, as the run stores it."""
    return SourceFile(printable(str(file.path)), text)


def text_of(file: Found) -> str:
    """The content of a file about one image. Raises SourceError."""
    return read_text(file.path, IMAGE_BYTES)
