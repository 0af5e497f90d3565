"""What is known of a published model: a row of the model table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Model:
    """A published model that a stage can load, or one that is named because it can not be.

    `parameters` are counted on the meta device at published size; None where nobody has.
    `verified` says how it was shown to work here; real weights were never at hand.
    """

    role: str
    """What it does in a pipeline, in words: "open-vocabulary detection"."""
    name: str
    """Architecture and size, as its authors call it."""
    hub_id: str
    """What a preset names; empty for weights that are no repository of the hub."""
    licence: str
    """SPDX identifier of the weights' licence, or its name."""
    parameters: int | None
    """All parameters, shared ones counted once."""
    verified: str
    """How: "tiny end to end", "published size on the meta device", ..."""
    note: str = ""
    """Traps: what else it needs, what it leaves out."""
    architecture: str = ""
    """The class that holds it."""
