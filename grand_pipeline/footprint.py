"""What the models of a plan ask for: licence, parameters, disk, memory of a GPU.

Of published models that is what the model table says (`zoo`), of those that ship with the package
what their files say. Of a folder or file of the user's own nothing is known.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grand_pipeline import weights
from grand_pipeline.stage import Stage
from grand_pipeline.zoo import Model, query

ROLES: dict[str, str] = {
    "tags": "image tagging",
    "landmark": "kind of place",
    "depth": "depth",
    "open_detection": "open-vocabulary detection",
    "closed_detection": "closed-set detection",
    "segments": "automatic masks",
    "masks": "masks of boxes",
    "attributes": "attributes",
    "region_texts": "texts about objects",
    "captions": "captions",
    "phrases": "noun phrases",
    "phrase_grounding": "phrase grounding",
    "labels": "choice of labels",
    "dense_caption": "dense caption",
    "context": "context",
    "dense_grounding": "noun phrases",
}
"""What a stage's model does, by the stage's name; `grand_v1_...` does the same by other rules."""

SEES_GB, WRITES_GB, SHIPPED_GB = 3.0, 5.0, 1.0
"""Gigabytes on a GPU beside the weights: for models that look, for models that write text, and for
the small ones that ship with the package. CUDA itself, activations of a batch, what a text so far
is remembered by. An allowance, not measured."""

WRITES = ("ForConditionalGeneration", "ForCausalLM")
"""How the names of architectures end that write text."""
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_OURS, _SHIPS = "Apache-2.0", "ships with the package"


@dataclass(frozen=True)
class Footprint:
    """What one model of one stage asks for; None where nothing is known. Sizes are estimates."""

    stage: str
    role: str
    model: str
    licence: str | None
    licence_read: str | None
    """Where the licence was read; None for a licence that was not checked."""
    parameters: int | None
    disk_gb: float | None
    gpu_memory_gb: float | None
    """Weights in the stage's number format and an allowance."""


def footprints(stages: Iterable[Stage[Any]]) -> tuple[Footprint, ...]:
    """One row per stage and model, in the order of the stages."""
    return tuple(_footprint(stage, model) for stage in stages for model in stage.models)


def licences(rows: Sequence[Footprint]) -> Counter[str]:
    """How many models stand under each licence, every model counted once; "unknown" among them."""
    return Counter({row.model: row.licence or "unknown" for row in rows}.values())


def disk_gb(rows: Sequence[Footprint]) -> float:
    """Gigabytes of all models together, every one counted once, as far as known."""
    return math.fsum({row.model: row.disk_gb or 0.0 for row in rows}.values())


def _footprint(stage: Stage[Any], model: str) -> Footprint:
    name = stage.name().removeprefix("grand_v1_")
    role = ROLES.get(name, name)
    if model.startswith("embedded:"):
        count, size = _held(Path(weights.resolve(model)))
        memory = None if count is None else count * _bytes(stage) / 1e9 + SHIPPED_GB
        return Footprint(stage.key, role, model, _OURS, _SHIPS, count, size / 1e9, memory)
    row = query.known(model)
    if row is None:
        return Footprint(stage.key, role, model, None, None, None, None, None)
    disk = query.disk(row)
    return Footprint(
        stage.key,
        role,
        model,
        row.licence,
        row.licence_seen or None,
        row.parameters,
        None if disk is None else disk / 1e9,
        _gpu(stage, row),
    )


def _gpu(stage: Stage[Any], row: Model) -> float | None:
    """Gigabytes; None for a model without counted parameters, and for one behind a server."""
    endpoint: str = getattr(stage, "endpoint", "")
    if row.parameters is None or endpoint:
        return None
    writes = row.architecture.endswith(WRITES)
    return row.parameters * _bytes(stage) / 1e9 + (WRITES_GB if writes else SEES_GB)


def _bytes(stage: Stage[Any]) -> int:
    """Per parameter, in the stage's number format."""
    dtype: str = getattr(stage, "dtype", "float32")
    return _BYTES[dtype]


def _held(folder: Path) -> tuple[int | None, int]:
    """Parameters and bytes of a checkpoint in a folder; None for what is no safetensors file."""
    files = [p for p in folder.rglob("*") if p.is_file() and p.name not in weights.RECORDS]
    counts = [_elements(path) for path in files if path.suffix == ".safetensors"]
    return sum(counts) if counts else None, sum(path.stat().st_size for path in files)


def _elements(path: Path) -> int:
    """Numbers in a safetensors file, by its header: its length in 8 bytes, then JSON."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return sum(_shapes(header))


def _shapes(header: dict[str, Any]) -> Iterator[int]:
    for name, tensor in header.items():
        if name != "__metadata__":
            yield math.prod(tensor["shape"])
