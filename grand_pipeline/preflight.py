"""Before any work begins: what can not work is refused, and every model of a preset is here, whole,
and known by its commit."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from grand_pipeline import fetch, plan, presence, settings, weights
from grand_pipeline.errors import MissingDependencyError, RunError
from grand_pipeline.presence import Presence
from grand_pipeline.stage import Stage
from grand_pipeline.storage import BucketPath, Place

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "open-clip": ("open_clip", "torchvision"),
    "segment-anything": ("segment_anything", "torchvision"),
}
"""Extra of the package that a stage may need -> the modules that it brings."""

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):/")


def check_place(out: Place, images: Sequence[str] = ()) -> None:
    """Raises RunError where no run can be written: not there, closed, or a store unknown here; and
    in a bucket, where it would be among its own pictures."""
    if isinstance(out, BucketPath):
        out.reach()
        for source in images:
            if f"{out}/".startswith(f"{source.rstrip('/')}/"):
                raise RunError(
                    f"'{out}' lies in '{source}', so the run's own files would be taken for "
                    "pictures; give --out a place beside it"
                )
        return
    scheme = _SCHEME.match(str(out))
    if scheme:
        raise RunError(
            f"a run is written to a local folder or to s3://BUCKET/NAME, and '{out}' names "
            f"{scheme[1]}; give --out one of these, and copy it when the run is complete"
        )
    above = (out.absolute(), *out.absolute().parents)
    there = next(path for path in above if os.path.exists(path))
    if not there.is_dir():
        raise RunError(f"'{there}' is a file, so '{out}' can be no run; give --out another folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise RunError(f"'{there}' may not be written to; give --out another folder")


def check_extras(stages: Iterable[Stage[Any]]) -> None:
    """Raises MissingDependencyError with a line for every stage whose extra is not installed."""
    lacking = {stage.key: gone for stage in stages if (gone := _not_installed(stage.extras))}
    if not lacking:
        return
    lines = [f"  {key}: extra {', '.join(extras)}" for key, extras in lacking.items()]
    wanted = ",".join(sorted({extra for extras in lacking.values() for extra in extras}))
    raise MissingDependencyError(
        "packages that these stages need are not installed; no work was begun:\n"
        + "\n".join(lines)
        + f"\nInstall them with `pip install 'grand-pipeline[{wanted}]'`, or name other models"
    )


def _not_installed(extras: Iterable[str]) -> list[str]:
    return [x for x in extras if not all(map(importlib.util.find_spec, EXTRAS[x]))]


def ready(
    preset: settings.Preset,
    until: str | None,
    say: Callable[[str], None],
    *,
    alone: bool = True,
    environment: Mapping[str, str] = os.environ,
) -> settings.Preset:
    """Fetch the models of the plan that are not on this machine; the preset, pinned.

    Args:
        preset: whose stages are to run.
        until: the last of them, or None.
        say: told what is being fetched.
        alone: whether this machine does the work. Every node of a cluster has a cache of its own
            and fetches for itself, so nobody here can say what is missing.
        environment: Hugging Face's variables are looked up here.

    A package is never installed here, and nothing is fetched where HF_HUB_OFFLINE is set.

    Raises MissingDependencyError with a line for every model that is not here.
    """
    if not alone:
        return pinned(preset, environment)
    wanted = settings.stages(preset)
    stages = [step.stage for step in plan.make_plan(wanted, until).steps]
    needed = presence.needs(stages)
    found = [presence.look(model, keys, environment) for model, keys in needed.items()]
    missing = [one for one in found if not one.here]
    if missing:
        by = fetch.fetcher(say, environment=environment)
        if by.offline or not all(one.fetchable and one.kind != "spacy" for one in missing):
            raise MissingDependencyError(refusal(missing, preset.name, by.offline))
        _fetch(missing, preset.name, by)
    return pinned(preset, environment)


def pinned(preset: settings.Preset, environment: Mapping[str, str] = os.environ) -> settings.Preset:
    """The preset whose models of the hub are named with the commits that are here.

    A run that records it is made of the same weights wherever and whenever it is gone on with.
    """
    tables = {key: dict(table) for key, table in preset.tables.items()}
    for stage in settings.stages(preset):
        for option in fields(stage):
            value = getattr(stage, option.name)
            # A tokenizer's option has no prefix, since it can be nothing else.
            prefix = weights.TOKENIZER if option.name == "tokenizer" else ""
            if isinstance(value, str) and f"{prefix}{value}" in stage.models:
                name = weights.pinned(f"{prefix}{value}", environment).removeprefix(prefix)
                if name != value:
                    tables[stage.key][option.name] = name
    return replace(preset, tables=tables)


def refusal(missing: Sequence[Presence], preset: str, offline: bool, reason: str = "") -> str:
    """Why no work begins: a line for every model, and what to do."""
    count = "1 model is" if len(missing) == 1 else f"{len(missing)} models are"
    where = ", and HF_HUB_OFFLINE is set" if offline else ""
    lines = [f"{count} not on this machine{where}; no work was begun:"]
    lines += [
        f"  {', '.join(one.stages)}: {one.model}: {one.detail}"
        + ("" if one.fetchable else f"; {one.remedy}")
        for one in missing
    ]
    fetchable = [one.model for one in missing if one.fetchable]
    if reason:
        lines.append(f"Fetching failed: {reason}")
    if fetchable:
        packaged = preset in settings.preset_names()
        wish = ["--preset", preset] if packaged else fetchable
        lines.append(f"Fetch what can be fetched: {presence.pull_command(wish)}")
    return "\n".join(lines)


def _fetch(missing: Sequence[Presence], preset: str, by: fetch.Fetcher) -> None:
    left = list(missing)
    try:
        fetch.check_reachable([one.model for one in left], by)
        while left:
            fetch.pull(left[0].model, by)
            del left[0]
    except MissingDependencyError as error:
        raise MissingDependencyError(refusal(left, preset, False, str(error))) from error
