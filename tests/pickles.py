"""Files that would run code if anything believed them: the code creates a file, the canary."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path


class Payload:
    """What is pickled in the place of weights: unpickling it touches the canary."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.canary,)


def bare(path: Path, canary: Path) -> None:
    """A pickle and nothing else."""
    # Of the protocol that torch expects; it complains of newer ones before it looks inside.
    path.write_bytes(pickle.dumps({"model": Payload(canary)}, protocol=2))


def zipped(path: Path, canary: Path) -> None:
    """As torch saves today."""
    import torch

    torch.save({"model": Payload(canary), "weight": torch.zeros(2)}, path)


def legacy(path: Path, canary: Path) -> None:
    """As torch saved before it used zip files."""
    import torch

    torch.save({"model": Payload(canary)}, path, _use_new_zipfile_serialization=False)


def code(folder: Path, canary: Path, *names: str) -> None:
    """Modules in a folder that touch the canary when they are imported."""
    text = f"import pathlib\npathlib.Path({str(canary)!r}).touch()\n"
    for name in names:
        (folder / name).write_text(f"{text}\nclass Own:\n    pass\n")


WAYS: dict[str, Callable[[Path, Path], None]] = {"bare": bare, "zip": zipped, "legacy": legacy}
