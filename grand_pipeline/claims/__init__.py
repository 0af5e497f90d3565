"""Claims of texts about images, checked against the objects."""

from __future__ import annotations

from grand_pipeline.claims.checker import Checker, checker
from grand_pipeline.claims.values import Claim, Known, Thing

__all__ = ["Checker", "Claim", "Known", "Thing", "checker"]
