"""spaCy pipelines: loading, and parsed text as values."""

from __future__ import annotations

from typing import Any

from grand_pipeline import weights
from grand_pipeline.errors import MissingDependencyError, SettingsError
from grand_pipeline.grand_v1.words import Word


def load(model: str) -> Any:
    """The pipeline `model`, always on the CPU.

    Raises MissingDependencyError when it is not installed, SettingsError when it can not parse.
    """
    import spacy

    try:
        nlp = spacy.load(weights.resolve(model))
    except OSError as error:
        raise MissingDependencyError(
            f"spaCy pipeline '{model}' is neither installed nor a folder; install it "
            f"with `python -m spacy download {model}`, or give a folder or "
            f'"embedded:spacy"'
        ) from error
    except Exception as error:  # a foreign folder can make the library fail in any way
        raise SettingsError(
            f"'{model}' can not be loaded as a spaCy pipeline: {weights.reason(error)}. Name an "
            'installed one, a folder of one, or "embedded:spacy"'
        ) from error
    if "parser" not in nlp.pipe_names:
        raise SettingsError(
            f"spaCy pipeline '{model}' has no parser, so it knows no noun phrases; it "
            f"has {', '.join(nlp.pipe_names) or 'no component'}. Name one with a parser"
        )
    return nlp


def words(nlp: Any, text: str) -> list[Word]:
    """The words of a text, read as if only its first letter were a capital."""
    shown = text.capitalize()
    # A few letters become two in capitals; offsets have to hold for the text as it is.
    document = nlp(shown if len(shown) == len(text) else text)
    return [
        Word(text[token.idx : token.idx + len(token.text)], token.pos_, token.head.i, token.idx)
        for token in document
    ]


def lemmas(nlp: Any, text: str) -> list[str]:
    """Lemmas of the words that are neither stop words nor punctuation; the words themselves from
    a pipeline without lemmas."""
    return [
        token.lemma_ or token.lower_
        for token in nlp(text)
        if not token.is_stop and not token.is_punct
    ]
