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
    stored_bytes: int = 4
    """Bytes per parameter in the published files: 4, or 2 where they are kept in 16 bits."""
    stored: int | None = None
    """Bytes of the published files where they are known to hold more than the parameters."""
    licence_seen: str = ""
    """Where the licence was read ("model card", `zoo/licences.py`); "" for not checked."""

    @property
    def disk(self) -> int | None:
        """About how many bytes the files take that have to be fetched; None where unknown."""
        if self.stored is not None or self.parameters is None:
            return self.stored
        return self.parameters * self.stored_bytes
