"""Rounds of imports of mutated sources: each ends with rows that hold together and reasons that
were foreseen, or is refused and leaves the run as it was."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from random import Random

import pyarrow.parquet as pq

from grand_pipeline.errors import GrandError
from grand_pipeline.importers.grand import import_annotations
from grand_pipeline.importers.grand_raw import import_raw
from grand_pipeline.importers.intake import Order
from grand_pipeline.importers.notes import Report
from tests.importers.mutations import damaged, mutated
from tests.importers.outcomes import accidents, tree
from tests.importers.raw_world import predictions
from tests.importers.test_grand import newest, older


def finished(place: Path, seed: int, count: int) -> int:
    """Import `count` mutated annotations into a run that has good ones; the number of files."""
    rng = Random(seed)
    source, run = place / f"said{seed}", place / f"run{seed}"
    source.mkdir(parents=True)
    whole = {f"image{n}.jpg": rng.choice((older, newest))() for n in range(count)}
    (source / "all.json").write_text(json.dumps({name: whole[name] for name in list(whole)[:3]}))
    import_annotations([source], Order(run))
    (source / "all.json").unlink()
    for name, said in whole.items():
        (source / f"{name}.json").write_bytes(mutated({name: said}, rng))
    _check(lambda: import_annotations([source], Order(run)), run)
    for row in pq.read_table(run / "annotations").to_pylist():
        boxes = [found["box"] for found in row["objects"]]
        assert all(map(math.isfinite, (side for box in boxes for side in box)))
        ids = {found["id"] for found in row["objects"]}
        for text in row["captions"]:
            for span in text["spans"]:
                assert 0 <= span["start"] < span["end"] <= len(text["text"])
                assert ids.issuperset(span["object_ids"])
    return count


def predicted(place: Path, seed: int) -> int:
    """Import predictions of which every file is mutated into a run that has good ones; the number
    of files."""
    rng = Random(seed)
    valid, source, run = place / f"valid{seed}", place / f"said{seed}", place / f"run{seed}"
    predictions(valid)
    import_raw(valid, Order(run))
    paths = [path for path in sorted(valid.rglob("*")) if path.is_file()]
    for path in paths:
        data = path.read_bytes()
        structured = path.suffix == ".json" and rng.random() < 0.8
        copy = source / path.relative_to(valid)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(mutated(json.loads(data), rng) if structured else damaged(data, rng))
    _check(lambda: import_raw(source, Order(run)), run)
    return len(paths)


def _check(work: Callable[[], Report], run: Path) -> None:
    before = tree(run)
    try:
        report = work()
    except GrandError:
        assert tree(run) == before
        return
    report.text().encode()
    assert [why for source in report.sources for why in accidents(run, source)] == []
    for table in (run / "stages").rglob("*.parquet"):
        pq.read_table(table).validate(full=True)
