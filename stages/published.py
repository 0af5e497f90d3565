"""Weights in the published layout of another project: one file, read as weights alone, and checked
key by key."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from grand_pipeline import weights
from grand_pipeline.errors import SettingsError

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, ...]


def state(path: Path, where: str, fetch: str, trusted: Sequence[type] = ()) -> dict[str, Tensor]:
    """The tensors under "model" in a file, or those of the file itself.

    Args:
        path: the `.pth` file. What lies beside the weights (an optimizer) is never read.
        where: how errors name the file.
        fetch: what to do where there is no file, as a sentence.
        trusted: types other than tensors and plain values that may stand in the file.

    Raises SettingsError for a file that is not there or is no table of weights.
    """
    import torch

    if not path.is_file():
        raise SettingsError(f"{where} does not exist. {fetch}")
    try:
        with torch.serialization.safe_globals(list(trusted)):
            # Mapped, so that only what is used is ever read; files older than zip can not be.
            found = torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
    except Exception as error:  # a foreign file can make the reader fail in any way
        raise SettingsError(
            f"{where} can not be read as weights alone: {weights.reason(error)}. "
            "Nothing else in a file is trusted; where you trust it, load it yourself and save "
            'torch.save({"model": checkpoint["model"]}, path)'
        ) from error
    held = found.get("model", found) if isinstance(found, dict) else None
    if not isinstance(held, dict):
        raise SettingsError(f"{where} holds no table of weights; give a published checkpoint")
    return {key: value for key, value in held.items() if isinstance(value, torch.Tensor)}


def faults(
    shapes: Mapping[str, Shape], expected: Mapping[str, Shape], unused: Collection[str]
) -> str:
    """What is missing, unknown or of another shape, as a text; empty where all is as expected.

    Keys that match one of the patterns `unused` may be there or not.
    """
    missing = sorted(expected.keys() - shapes.keys())
    unknown = [
        key
        for key in shapes.keys() - expected.keys()
        if not any(re.fullmatch(pattern, key) for pattern in unused)
    ]
    wrong = [
        f"{key} {shapes[key]}, not {shape}"
        for key, shape in expected.items()
        if key in shapes and shapes[key] != shape
    ]
    found = {"missing": missing, "unknown": sorted(unknown), "of another shape": wrong}
    return "; ".join(f"{len(keys)} {what}: {some(keys)}" for what, keys in found.items() if keys)


def some(keys: Sequence[str]) -> str:
    """The first keys, and how many more there are."""
    rest = f" and {len(keys) - 8} more" if len(keys) > 8 else ""
    return ", ".join(keys[:8]) + rest
