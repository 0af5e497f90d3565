"""Hugging Face's cache on this machine, read without its library: which repositories are here, at
which commit, and whether they are whole.

The layout is the library's documented one: `models--OWNER--NAME/refs/REVISION` holds a commit and
`snapshots/COMMIT` the files. A file appears under its name when it is complete, never before.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

Part = Literal["model", "open_clip", "tokenizer"]
"""What a stage takes from a repository: the model as transformers reads it, the one that open_clip
reads, or the tokenizer alone."""

MAIN = "main"
"""The revision of a name without one."""

COMMIT = re.compile(r"[0-9a-f]{40}")
_REVISION = re.compile(r"(?!.*(?:\.\.|//))\w[\w.+/-]{0,200}", re.ASCII)
"""Branches and tags; they are paths below `refs`, and none leads out of it."""
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Whole weights by transformers' names, better ones first; large ones are cut up, with an index."""
OPEN_CLIP_CONFIG = "open_clip_config.json"
OPEN_CLIP_WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)
TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model", "spiece.model")
"""Files of which a tokenizer has at least one."""

_YES = frozenset({"1", "ON", "YES", "TRUE"})
_SHARD = re.compile(r"(.+)-\d{5}-of-(\d{5})\.(safetensors|bin)")


def folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the cache is: HF_HUB_CACHE, else `hub` under HF_HOME, else under ~/.cache."""
    given = environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE")
    if given:
        return Path(given).expanduser()
    caches = environment.get("XDG_CACHE_HOME") or "~/.cache"
    home = environment.get("HF_HOME") or f"{caches}/huggingface"
    return Path(home).expanduser() / "hub"


def offline(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the hub must not be asked."""
    wish = environment.get("HF_HUB_OFFLINE") or environment.get("TRANSFORMERS_OFFLINE") or ""
    return wish.upper() in _YES


def endpoint(environment: Mapping[str, str] = os.environ) -> str:
    """Address of the hub."""
    return (environment.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def repository(cache: Path, name: str) -> Path:
    """The folder of the repository OWNER/NAME, there or not."""
    return cache / f"models--{name.replace('/', '--')}"


def is_revision(revision: str | None) -> bool:
    """Whether a branch, a tag or a commit can have this name; None is the main branch."""
    return _REVISION.fullmatch(revision or MAIN) is not None


def commit(cache: Path, name: str, revision: str | None = None) -> str | None:
    """The commit that a branch, a tag or a commit stands for here; None if nobody ever asked."""
    revision = revision or MAIN
    if COMMIT.fullmatch(revision):
        return revision
    if not is_revision(revision):
        return None
    reference = repository(cache, name) / "refs" / revision
    try:
        found = reference.read_text("utf-8").strip()
    except (OSError, ValueError):
        return None
    return found if COMMIT.fullmatch(found) else None


def snapshot(cache: Path, name: str, revision: str | None = None) -> Path | None:
    """The folder with the files of a revision, or None; it need not be whole."""
    found = commit(cache, name, revision)
    files = repository(cache, name) / "snapshots" / found if found else None
    return files if files and files.is_dir() else None


def pin(cache: Path, name: str, revision: str | None, commit: str) -> None:
    """Note that `revision` stands for `commit` from now on; everything that loads the name without
    a commit takes this one. A commit stands for itself.

    Raises ValueError for what no revision and no commit can be called.
    """
    if not COMMIT.fullmatch(commit) or not is_revision(revision):
        raise ValueError(f"'{revision or MAIN}' at '{commit}' is no revision at a commit")
    if revision == commit:
        return
    reference = repository(cache, name) / "refs" / (revision or MAIN)
    reference.parent.mkdir(parents=True, exist_ok=True)
    fresh = reference.with_name(f".{reference.name}.{os.getpid()}")
    fresh.write_text(commit, "utf-8")
    fresh.replace(reference)


def lacking(files: Path, part: Part = "model") -> str | None:
    """What a checkpoint's folder lacks for `part`, in words; None where it is whole."""
    names = {path.name for path in files.iterdir() if path.is_file()} if files.is_dir() else set()
    if {"meta.json", "config.cfg"} <= names:  # a spaCy pipeline
        return None
    if part == "tokenizer":
        return None if names & {*TOKENIZERS} else f"no {', '.join(TOKENIZERS[:2])} or the like"
    if part == "open_clip":
        held = any(name.endswith((".safetensors", ".bin")) for name in names)
        return _absent(names, OPEN_CLIP_CONFIG) or (None if held else "no weights")
    return _absent(names, "config.json") or _weights_lacking(names)


def _absent(names: set[str], name: str) -> str | None:
    return None if name in names else f"no {name}"


def _weights_lacking(names: set[str]) -> str | None:
    if names & {*WEIGHTS}:
        return None
    # A cut file's name says how many there are.
    cut = [shard.groups() for name in names if (shard := _SHARD.fullmatch(name))]
    for stem, total, kind in sorted(set(cut), reverse=True):
        present, index = cut.count((stem, total, kind)), f"{stem}.{kind}.index.json"
        if present == int(total):
            return _absent(names, index)
        return f"{int(total) - present} of {int(total)} files of weights"
    return "no weights"
