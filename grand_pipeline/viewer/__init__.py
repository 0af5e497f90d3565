"""`grand view`: a run in a browser. Reads the run and serves this machine alone, unless asked."""

from __future__ import annotations

from grand_pipeline.viewer.server import open_server

__all__ = ["open_server"]
