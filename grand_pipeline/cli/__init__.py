"""The `grand` command: the only room that sees every layer.

One module per family of commands; this one lists them all and turns a user's mistake into a
message.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, cast

import typer

from grand_pipeline import __version__, disk
from grand_pipeline.cli import bring, give, keep, look, measure, models, run, train, view
from grand_pipeline.cli.options import echo
from grand_pipeline.errors import GrandError
from grand_pipeline.terminal import printable
from training.catalog import RECIPES

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command("build")(run.build_command)
app.command("rerun")(run.rerun)
app.command("status")(run.status)
app.command("verify")(keep.verify)
app.command("repair")(keep.repair)
app.command("plan")(run.plan)
app.command("show")(look.show)
app.command("explain")(look.explain)
app.command("stats")(look.stats)
app.command("view")(view.view)
app.command("query")(view.query)
app.command("doctor")(look.doctor)
app.command("train")(train.train)

app.add_typer(models.app, name="models")

import_app = typer.Typer(no_args_is_help=True, help="Bring what was made elsewhere into a run.")
import_app.command("grand-raw")(bring.import_raw)
import_app.command("grand")(bring.import_grand)
app.add_typer(import_app, name="import")

export_app = typer.Typer(no_args_is_help=True, help="Write a run in the format of another tool.")
export_app.command("grand")(give.export_grand)
app.add_typer(export_app, name="export")

picturebook_app = typer.Typer(no_args_is_help=True, help="The rendered world with exact truth.")
picturebook_app.command("render")(measure.render_command)
app.add_typer(picturebook_app, name="picturebook")

eval_app = typer.Typer(no_args_is_help=True, help="Measure a run, or what was trained.")
eval_app.command("labels")(measure.eval_labels)
eval_app.command("failures")(measure.eval_failures)
for _recipe in RECIPES:
    eval_app.command(_recipe)(train.evaluator(_recipe))
app.add_typer(eval_app, name="eval")

# ClickException. Newer versions of typer carry a click of their own, older ones import it.
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[2])


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Turn a folder of images into a grounded, richly annotated dataset."""
    if version:
        echo(__version__)
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. A user's mistake is one message on stderr and exit code 2, no traceback."""
    try:
        app(args=arguments, standalone_mode=False)
    except GrandError as error:
        echo(f"grand: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if not disk.knows(error):
            raise
        echo(f"grand: {disk.told(error)}", err=True)
        sys.exit(GrandError.exit_code)
    except _UsageError as error:
        error.message = printable(error.message)
        error.show()
        sys.exit(error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        echo("grand: stopped; what was committed is kept, run again to go on", err=True)
        sys.exit(130)
