"""Which models of a preset are on this machine: looked up in files, without network or torch."""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grand_pipeline import hub_cache, weights
from grand_pipeline.stage import Stage
from grand_pipeline.weights import Source
from grand_pipeline.zoo.files import BY_NAME


@dataclass(frozen=True)
class Presence:
    """What was found of a model."""

    model: str
    stages: tuple[str, ...]
    """Keys of the stages that name it."""
    kind: str
    """"embedded", "path", "spacy" or "hub"."""
    here: bool
    detail: str
    """Where it is, or what is lacking."""
    revision: str | None = None
    """The commit that the cache has, of a model of the hub."""
    bytes: int = 0
    """On this machine's disk."""
    remedy: str | None = None
    """What to do where it is not here."""
    fetchable: bool = False
    """Whether `grand models pull` knows where to fetch it."""


def needs(stages: Iterable[Stage[Any]]) -> dict[str, tuple[str, ...]]:
    """Every model once, with the keys of the stages that name it."""
    found: dict[str, tuple[str, ...]] = {}
    for stage in stages:
        for model in stage.models:
            found[model] = (*found.get(model, ()), stage.key)
    return found


def look(
    model: str, stages: tuple[str, ...] = (), environment: Mapping[str, str] = os.environ
) -> Presence:
    """Whether `model` is here, whole. Never raises."""
    source = weights.source(model)
    if source.kind == "hub":
        return _hub(model, stages, source, hub_cache.folder(environment))
    if source.kind == "spacy":
        return _pipeline(model, stages, source.name)
    if source.kind == "embedded":
        remedy = "install the package again, or correct the name"
        return _place(model, stages, source, weights.EMBEDDED / source.name, remedy)
    place = Path(source.name).expanduser()
    published = BY_NAME.get(place.name)
    remedy = pull_command([model]) if published else "give a file, a folder or a hub id"
    return _place(model, stages, source, place, remedy, published is not None)


def pull_command(models: Iterable[str]) -> str:
    """The command that fetches these models."""
    # It is there to be copied into a shell, and a name may come from anybody's preset.
    return " ".join(["grand models pull", *map(shlex.quote, models)])


def _place(
    model: str,
    stages: tuple[str, ...],
    source: Source,
    place: Path,
    remedy: str,
    fetchable: bool = False,
) -> Presence:
    """A file or a folder."""
    if place.is_file():
        return Presence(model, stages, source.kind, True, str(place), None, _bytes(place))
    absent = f"{place} does not exist"
    lacks = hub_cache.lacking(place, source.part) if place.is_dir() else None
    if place.is_dir() and lacks is None:
        return Presence(model, stages, source.kind, True, str(place), None, _bytes(place))
    detail = f"{place} has {lacks}" if lacks else absent
    return Presence(model, stages, source.kind, False, detail, None, 0, remedy, fetchable)


def _hub(model: str, stages: tuple[str, ...], source: Source, cache: Path) -> Presence:
    commit = hub_cache.commit(cache, source.name, source.revision)
    files = hub_cache.snapshot(cache, source.name, source.revision)
    remedy = pull_command([model])
    if files is None:
        which = f" at revision {source.revision}" if source.revision else ""
        detail = f"not in {cache}{which}"
        return Presence(model, stages, "hub", False, detail, None, 0, remedy, True)
    lacks = hub_cache.lacking(files, source.part)
    if lacks:
        detail = f"cut short in {cache}: {lacks}"
        return Presence(model, stages, "hub", False, detail, commit, _bytes(files), remedy, True)
    return Presence(model, stages, "hub", True, str(files), commit, _bytes(files))


def _pipeline(model: str, stages: tuple[str, ...], name: str) -> Presence:
    found = importlib.util.find_spec(name)
    if found and found.submodule_search_locations:
        place = Path(next(iter(found.submodule_search_locations)))
        return Presence(model, stages, "spacy", True, str(place), None, _bytes(place))
    remedy = f"{sys.executable} -m spacy download {name}"
    detail = "the package is not installed"
    return Presence(model, stages, "spacy", False, detail, None, 0, remedy, True)


def _bytes(place: Path) -> int:
    paths = [place] if place.is_file() else [p for p in place.rglob("*") if p.is_file()]
    return sum(path.stat().st_size for path in paths)
