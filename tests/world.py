"""Rendered scenes, built once for every test that looks at a run of the default preset."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from grand_pipeline import cli
from grand_pipeline.picturebook.truth import render_dataset

SCENES = 40
SEED = 3_500_001


def grand(*arguments: object) -> str:
    """Run a command in this process; what it printed."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        cli.main([str(argument) for argument in arguments])
    return printed.getvalue()


def build_world(root: Path) -> None:
    """Fill `root` with `images` (scenes, a copy, three bad files), `truth` and the built `run`."""
    render_dataset(root, SCENES, SEED)
    folder = root / "images"
    first = sorted(folder.glob("*.png"))[0]
    (folder / "deep").mkdir()
    (folder / "deep" / "copy.png").write_bytes(first.read_bytes())
    (folder / "torn.png").write_bytes(first.read_bytes()[:2000])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("not an image")
    grand("build", "--images", folder, "--out", root / "run", "--shard-size", 20)


def evaluate(run: Path, truth: Path) -> dict[str, Any]:
    """The scores of `grand eval labels`."""
    scores: dict[str, Any] = json.loads(
        grand("eval", "labels", "--run", run, "--truth", truth, "--json")
    )
    return scores
