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
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from grand_pipeline import hub_cache
from grand_pipeline.errors import SettingsError, suggest
from grand_pipeline.hub_cache import Part

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


@dataclass(frozen=True)
class Source:
    """A model's name, taken apart."""

    kind: Literal["embedded", "path", "spacy", "hub"]
    name: str
    """What is left without prefix and revision: a name, a path, a package or OWNER/NAME."""
    revision: str | None = None
    part: Part = "model"


def source(model: str) -> Source:
    """What kind of thing `model` names, whether it is here or not."""
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
    return _content(place) if place.exists() else f"{_ABSENT}:{model}"


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
    folder = EMBEDDED / name
    if not folder.is_dir():
        present = [p.name for p in EMBEDDED.iterdir() if p.is_dir()] if EMBEDDED.is_dir() else []
        raise SettingsError(f"no embedded checkpoint '{name}'.{suggest(name, present)}")
    return folder
