"""What became of an import: of each image, and of the run's files."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

import pyarrow.parquet as pq

from grand_pipeline.store import ERROR, Run

_FOREIGN = re.compile(r"[A-Za-z_.]*(Error|Exception|Warning|Interrupt|Exit)\b:? ")
"""How `worker.attempt` begins what it tells of an exception that nobody raised on purpose."""


def tree(folder: Path) -> dict[str, str]:
    """Path -> digest of every file below a folder, locks left out; {} if there is none."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name not in (".lock", ".commit")
    }


def errors(run: Path, source: str) -> dict[str, str | None]:
    """Uri of each image -> why what `source` says of it could not be read, or None."""
    table = pq.read_table(run / "stages" / f"imported.{source}")
    by_id = dict(zip(table["image_id"].to_pylist(), table[ERROR].to_pylist(), strict=True))
    return {row.uri: by_id[row.image_id] for row in Run.open(run).images()}


def accidents(run: Path, source: str) -> list[str]:
    """Reasons that name an exception of Python or of a library, which no check has foreseen."""
    return [why for why in errors(run, source).values() if why and _FOREIGN.match(why)]
