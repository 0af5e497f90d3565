"""Errors that grand raises on purpose.

Every message says what went wrong, where, what was available and what to do. `exit_code` is what
the command line returns: 2 for a user's mistake, 3 when images failed beyond what was allowed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GrandError(Exception):
    """Base of all errors raised on purpose."""

    exit_code = 1


class UserError(GrandError):
    """The command, a preset, an option or an input folder is not usable as given."""

    exit_code = 2


class SettingsError(UserError):
    """A preset or an option is wrong."""


class PlanError(UserError):
    """The stages do not form a plan: unmet reads, two writers of a column, a cycle, no room."""


class MissingDependencyError(UserError):
    """An optional package or a model that the user can install is not there."""


class RunError(UserError):
    """A run directory is missing, foreign, locked or of another schema version."""


class ImageError(GrandError):
    """One image can not be read; recorded as an error row, never fatal for a run."""


class SourceError(GrandError):
    """A file to import is not what it should be; recorded as an error row, never fatal."""


class AnnotationError(GrandError):
    """A stage broke its own declaration: wrong number of rows, wrong columns, wrong types."""


class DamageError(GrandError):
    """Files of a run are not what was written, or not there."""


class DiskError(GrandError):
    """A disk or file system is full, closed, failing or gone; no image's fault (see `disk`)."""


class StorageError(GrandError):
    """The store of a run in a bucket refuses or does not answer; no image's fault."""


class ClusterError(GrandError):
    """Ray can not be started, or the cluster can not be reached or has gone."""


class WorkerError(GrandError):
    """A worker died or could not load its stage, so asked work is left undone."""


class TooManyFailedError(GrandError):
    """More images failed than `--max-failed` allows."""

    exit_code = 3


def suggest(name: str, available: Iterable[str]) -> str:
    """Tail of a message for an unknown `name`: the nearest spelling and all that is available."""
    choices = sorted(available)
    near = difflib.get_close_matches(name, choices, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"{hint} Available: {', '.join(choices) or '(none)'}."
