"""Where weights come from and what identifies them.

A stage names its model as a hub id (`google/owlvit-base-patch32`, optionally `@revision`), as a
local folder, as a single file where the stage takes such, or as `embedded:NAME`, a checkpoint that
ships inside the package. `open_clip:` before a hub id or folder says which package is to load it.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from grand_pipeline.errors import SettingsError, suggest

EMBEDDED = Path(__file__).parent / "picturebook" / "checkpoints"
RECORDS = frozenset({"training.json", "log.jsonl", "curve.svg"})
"""Files of a checkpoint that say how it was made; they do not change what it computes."""

OPEN_CLIP = "open_clip:"

_PREFIX = "embedded:"


def resolve(model: str) -> str:
    """What `from_pretrained` takes for `model`: a folder, a file or a hub id without revision.

    Raises SettingsError when an embedded checkpoint or what looks like a path does not exist.
    """
    model = model.removeprefix(OPEN_CLIP)
    if model.startswith(_PREFIX):
        return str(_embedded(model.removeprefix(_PREFIX)))
    if model.startswith(("/", ".", "~")):
        folder = Path(model).expanduser()
        if not folder.exists():
            raise SettingsError(
                f"model '{model}' does not exist; give a file, a folder or a hub id"
            )
        return str(folder)
    return model.partition("@")[0]


def revision(model: str) -> str | None:
    """The revision after `@` of a hub id, if any."""
    model = model.removeprefix(OPEN_CLIP)
    if model.startswith((_PREFIX, "/", ".", "~")) or Path(model).exists():
        return None
    return model.partition("@")[2] or None


@lru_cache(maxsize=256)
def digest(model: str) -> str:
    """Identity of the weights: a hash of a file or of a folder's files, or the hub id with its
    revision."""
    folder = Path(resolve(model))
    if folder.is_file():
        with folder.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()[:32]}"
    if not folder.is_dir():
        return f"hub:{model}"
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in RECORDS):
        total.update(str(path.relative_to(folder)).encode())
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{total.hexdigest()[:32]}"


def _embedded(name: str) -> Path:
    folder = EMBEDDED / name
    if not folder.is_dir():
        present = [p.name for p in EMBEDDED.iterdir() if p.is_dir()] if EMBEDDED.is_dir() else []
        raise SettingsError(f"no embedded checkpoint '{name}'.{suggest(name, present)}")
    return folder
