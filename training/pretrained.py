"""Initial weights, vocabularies and processors that a configuration names."""

from __future__ import annotations

from shlex import quote
from typing import Any

from grand_pipeline import weights
from grand_pipeline.errors import GrandError, MissingDependencyError, SettingsError


def loaded(kind: str, source: str, **options: Any) -> Any:
    """`transformers.<kind>.from_pretrained(source)`.

    Raises MissingDependencyError where it is not here, SettingsError where it is something else.
    """
    import transformers

    transformers.utils.logging.disable_progress_bar()
    try:
        return getattr(transformers, kind).from_pretrained(
            weights.sane(weights.resolve(source)),
            revision=weights.revision(source),
            trust_remote_code=False,
            **options,
        )
    except GrandError:
        raise
    except OSError as error:
        raise MissingDependencyError(
            f"initial weights '{source}' are neither a folder here, nor in the cache, nor could "
            "they be fetched; fetch them with "
            f"`hf download {quote(weights.resolve(source))}`, give the "
            "folder of a checkpoint, or train with 'random'"
        ) from error
    except Exception as error:  # a foreign folder can make the library fail in any way
        raise SettingsError(
            f"initial weights '{source}' can not be loaded as {kind}: "
            f"{weights.reason(error)}. Name a checkpoint of the right kind, or train with 'random'"
        ) from error
