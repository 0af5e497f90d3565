"""Where weights come from and what identifies them.

A stage names its model as a hub id (`google/owlvit-base-patch32`, optionally `@revision`), as a
local folder, as a single `.pth` file where the stage takes such, as `embedded:NAME`, a checkpoint
that ships inside the package, or as an installed spaCy pipeline (`en_core_web_sm`). Before a hub id
or folder, `open_clip:` says which package is to load it, and `tokenizer:` that nothing but the
tokenizer is needed.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from grand_pipeline import hub_cache
from grand_pipeline.errors import SettingsError, suggest
from grand_pipeline.hub_cache import Part
from grand_pipeline.terminal import one_line, printable

EMBEDDED = Path(__file__).parent / "picturebook" / "checkpoints"
RECORDS = frozenset({"training.json", "log.jsonl", "curve.svg"})
"""Files of a checkpoint that say how it was made; they do not change what it computes."""

OPEN_CLIP = "open_clip:"
TOKENIZER = "tokenizer:"

_PREFIX = "embedded:"
_ABSENT = "absent"
_PATHS = ("/", ".", "~")
_FILE = ".pth"
_PIPELINE = re.compile(r"[a-z]{2,3}_\w+")
"""How spaCy names its pipelines: language, kind, genre, size; ids of the hub have an owner."""
_HUB = re.compile(r"[\w-][\w.-]{0,95}(/[\w-][\w.-]{0,95})?", re.ASCII)
_NAME_LENGTH, _PART_LENGTH = 4000, 255  # as file systems have it
_MARKS = ("config.json", hub_cache.OPEN_CLIP_CONFIG, "meta.json", *hub_cache.TOKENIZERS)
_WEIGHTS = frozenset({".safetensors", ".bin", ".pth", ".pt", ".ckpt"})
_LAYERS = re.compile(r"(layers?|depths?|blocks?)$")
_MOST_LAYERS = 1000
_CONFIG_BYTES = 2**24


@dataclass(frozen=True)
class Source:
    """A model's name, taken apart."""

    kind: Literal["embedded", "path", "spacy", "hub"]
    name: str
    """What is left without prefix and revision: a name, a path, a package or OWNER/NAME."""
    revision: str | None = None
    part: Part = "model"


def source(model: str) -> Source:
    """What kind of thing `model` names, whether it is here or not.

    Raises SettingsError for what can not name anything.
    """
    _check_name(model)
    part: Part = "model"
    if model.startswith(OPEN_CLIP):
        part, model = "open_clip", model.removeprefix(OPEN_CLIP)
    elif model.startswith(TOKENIZER):
        part, model = "tokenizer", model.removeprefix(TOKENIZER)
    if model.startswith(_PREFIX):
        return Source("embedded", model.removeprefix(_PREFIX), None, part)
    if model.startswith(_PATHS) or model.endswith(_FILE) or Path(model).exists():
        return Source("path", model, None, part)
    if "/" not in model and _PIPELINE.fullmatch(model):
        return Source("spacy", model, None, part)
    name, _, revision = model.partition("@")
    return Source("hub", name, revision or None, part)


def _check_name(model: str) -> None:
    # The short names come first, because what is no text can not be measured in bytes either.
    odd = len(model) > _NAME_LENGTH or one_line(model) != model
    if not odd and all(len(os.fsencode(part)) <= _PART_LENGTH for part in model.split("/")):
        try:
            Path(model).expanduser()
            return
        except RuntimeError:  # ~SOMEBODY, whom nobody knows here
            pass
    raise SettingsError(
        f"{reprlib.repr(model)} can not be the name of a model; give a hub id, a file, a folder, a "
        "spaCy pipeline or embedded:NAME"
    )


def is_hub_id(found: Source) -> bool:
    """Whether a name can be one of the hub, and not, for example, lead out of the cache."""
    named = _HUB.fullmatch(found.name) and ".." not in found.name
    return bool(named) and hub_cache.is_revision(found.revision)


def resolve(model: str, environment: Mapping[str, str] = os.environ) -> str:
    """What `from_pretrained` takes for `model`: a folder, a file or a hub id without revision.

    A hub id whose files are all in the cache is their folder, so that loading them asks no server.

    Raises SettingsError when an embedded checkpoint or what looks like a path does not exist.
    """
    found = source(model)
    if found.kind == "embedded":
        return str(_embedded(found.name))
    if found.kind == "path":
        place = Path(found.name).expanduser()
        if found.name.startswith(_PATHS) and not place.exists():
            raise SettingsError(
                f"model '{found.name}' does not exist; give a file, a folder or a hub id"
            )
        return str(place)
    return str(_cached(found, environment) or found.name)


def sane(place: str) -> str:
    """`place` again, unless it is a folder whose config.json asks for absurdly many layers.

    Raises SettingsError then: a library makes all layers before it compares them with the weights,
    which takes memory and hours. What is broken in other ways, it refuses at once.
    """
    try:
        with (Path(place) / "config.json").open("rb") as file:
            level = [json.loads(file.read(_CONFIG_BYTES))]
    except (OSError, ValueError, RecursionError):
        return place
    while level:
        tables = [value for value in level if isinstance(value, dict)]
        for key, count in (pair for table in tables for pair in table.items()):
            most = max(_whole(count), default=0)
            if _LAYERS.search(key) and most > _MOST_LAYERS:
                raise SettingsError(
                    f"'{place}/config.json' asks for {most:,} layers ('{key}'), more than the "
                    f"{_MOST_LAYERS:,} that are loaded; give another checkpoint"
                )
        level = [value for table in tables for value in table.values()]
    return place


def reason(error: Exception) -> str:
    """What a library says of weights that it can not load, on one line."""
    if type(error).__name__ == "UnpicklingError":
        # What torch advises here is to trust the file.
        return "its weights are a pickle that holds more than weights, which is never run"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return printable(lines[0].rstrip(".")[:300]) if lines else type(error).__name__


def _whole(value: object) -> list[int]:
    listed = value if isinstance(value, list) else [value]
    return [number for number in listed if isinstance(number, int)]


def revision(model: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """The revision to ask the hub for, if `resolve` gives a hub id that was named with one."""
    found = source(model)
    return None if _cached(found, environment) else found.revision


def pinned(model: str, environment: Mapping[str, str] = os.environ) -> str:
    """The name with the commit that the cache has of it, where it names a branch or none at all.

    What is pinned is the same weights wherever and whenever it is loaded.
    """
    found = source(model)
    files = _cached(found, environment)
    return f"{model.partition('@')[0]}@{files.name}" if files else model


def digest(model: str) -> str:
    """Identity of the weights: a hash of a file or of a folder's files, the hub id with its
    revision, a package with its version. What is not here is known by its name alone."""
    found = source(model)
    if found.kind == "hub":
        return f"hub:{model}"
    if found.kind == "spacy":
        return f"spacy:{found.name}-{_version(found.name) or _ABSENT}"
    place = Path(found.name).expanduser() if found.kind == "path" else _embedded(found.name)
    return _content(place) if place.is_file() or _is_checkpoint(place) else f"{_ABSENT}:{model}"


def _is_checkpoint(folder: Path) -> bool:
    """Whether a folder is one: any other may be a whole disk, which nobody wants to be hashed."""
    files = (path for path in folder.glob("*") if path.suffix in _WEIGHTS or path.name in _MARKS)
    return any(path.is_file() for path in files)


def is_absent(digest: str) -> bool:
    """Whether a digest says that the weights are not on this machine."""
    return digest.startswith(f"{_ABSENT}:") or digest.endswith(f"-{_ABSENT}")


def _content(place: Path) -> str:
    """Hash of a file, or of a folder's files but records; read anew when one of them changed."""
    files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
    wanted = [path for path in files if path.name not in RECORDS or path == place]
    return _hashed(place, tuple(_mark(path) for path in wanted))


def _mark(path: Path) -> tuple[Path, int, int, int]:
    """What is another after every write, though name and size may stay."""
    found = path.stat()
    return path, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@lru_cache(maxsize=256)
def _hashed(place: Path, marks: tuple[tuple[Path, int, int, int], ...]) -> str:
    if place.is_file():
        return f"sha256:{_hash_of(place).hex()[:32]}"
    total = hashlib.sha256()
    for path, *_ in marks:
        total.update(str(path.relative_to(place)).encode())
        total.update(_hash_of(path))
    return f"sha256:{total.hexdigest()[:32]}"


def _cached(found: Source, environment: Mapping[str, str]) -> Path | None:
    """The snapshot of a hub id, if it is whole."""
    if found.kind != "hub":
        return None
    files = hub_cache.snapshot(hub_cache.folder(environment), found.name, found.revision)
    return files if files and not hub_cache.lacking(files, found.part) else None


def _hash_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _embedded(name: str) -> Path:
    present = [p.name for p in EMBEDDED.iterdir() if p.is_dir()] if EMBEDDED.is_dir() else []
    if name not in present:
        raise SettingsError(f"no embedded checkpoint '{name}'.{suggest(name, present)}")
    return EMBEDDED / name
