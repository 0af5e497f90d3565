"""Pipelines that find noun phrases (`phrases` and GranD's stages that parse)."""

from __future__ import annotations

from grand_pipeline.zoo.model import Model

PARSING: tuple[Model, ...] = (
    Model(
        "noun phrases",
        "spaCy, English, small",
        "en_core_web_sm",
        "MIT",
        None,
        "a pipeline of the same components, trained here, end to end",
        "a Python package: python -m spacy download en_core_web_sm",
        "spacy.Language",
        stored=13_000_000,
    ),
)
"""What ships under a name of its own; any installed pipeline or folder that parses will do."""
