"""Commands that bring into a run what was made elsewhere: import."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from grand_pipeline.cli.options import JsonOption, MaxFailedOption, RunOption, echo, print_json
from grand_pipeline.errors import TooManyFailedError
from grand_pipeline.importers.intake import Order
from grand_pipeline.importers.notes import Report

ImagesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--images",
        metavar="DIR|GLOB|URL",
        help="The images, matched by file name; repeatable. Without them, images are known by "
        "name only, unless the run has them already.",
    ),
]
ShardSizeOption = Annotated[int, typer.Option(min=1, help="Images per shard.")]
EmbedOption = Annotated[bool, typer.Option(help="Keep the image bytes in the run.")]


def import_raw(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of GranD's predictions.")],
    run: RunOption,
    images: ImagesOption = None,
    shard_size: ShardSizeOption = 256,
    embed_images: EmbedOption = False,
    max_failed: MaxFailedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import predictions of GranD's models: one folder per model, one file per image."""
    from grand_pipeline.importers import grand_raw

    order = Order(run, images or (), shard_size, embed_images)
    _report(lambda: grand_raw.import_raw(folder, order), as_json, max_failed)


def import_grand(
    sources: Annotated[
        list[Path], typer.Argument(metavar="FILE|DIR...", help="Annotation files or folders.")
    ],
    run: RunOption,
    images: ImagesOption = None,
    shard_size: ShardSizeOption = 256,
    embed_images: EmbedOption = False,
    max_failed: MaxFailedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import finished GranD annotations of any level and revision."""
    from grand_pipeline.importers import grand

    order = Order(run, images or (), shard_size, embed_images)
    _report(lambda: grand.import_annotations(sources, order), as_json, max_failed)


def _report(work: Callable[[], Report], as_json: bool, max_failed: int | None) -> None:
    """Print what became of the import. Raises TooManyFailedError."""
    report = work()
    if as_json:
        print_json(report.data())
    else:
        echo(report.text())
    if report.failed > (max_failed or 0):
        raise TooManyFailedError(
            f"{report.failed} files could not be read; `grand status {report.run}` says why. "
            "Everything else is imported; --max-failed allows more."
        )
