"""Initial weights, vocabularies and processors that a configuration names."""

from __future__ import annotations

from typing import Any

from grand_pipeline import weights
from grand_pipeline.errors import MissingDependencyError


def loaded(kind: str, source: str, **options: Any) -> Any:
    """`transformers.<kind>.from_pretrained(source)`. Raises MissingDependencyError."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    try:
        return getattr(transformers, kind).from_pretrained(
            weights.resolve(source), revision=weights.revision(source), **options
        )
    except OSError as error:
        raise MissingDependencyError(
            f"initial weights '{source}' are neither a folder here, nor in the cache, nor could "
            f"they be fetched; fetch them with `hf download {weights.resolve(source)}`, give the "
            "folder of a checkpoint, or train with 'random'"
        ) from error
