"""The thinned log that goes with a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from training.logs import LOG, Row, read
from training.plots import thin

KEPT = "log.jsonl"


def keep(logs: Mapping[str, Path], path: Path) -> None:
    """Write the logs of the run folders (by phase) as one, thinned to `POINTS` rows.

    Each row says its phase; steps are counted over all phases. No log, no file.
    """
    rows: list[Row] = []
    before = 0
    for phase, folder in logs.items():
        own = read(folder / LOG)
        rows += [{"phase": phase, **row, "step": before + row["step"]} for row in own]
        before = rows[-1]["step"] if rows else before
    if rows:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in thin(rows)), "utf-8")
