"""Readers of a run while a driver publishes, supersedes and restores its shards.

What a reader may see is what the store's protocol gives: of each shard one whole version or, before
it is published and for the moment of its being superseded, none. Values tell their version, so a
mixture shows.
"""

from __future__ import annotations

import ctypes
import json
import os
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.synchronize import Event
from pathlib import Path

import pyarrow as pa
import pytest

from grand_pipeline import accounts, codec, explain, query, stats
from grand_pipeline.columns import ANNOTATION_SCHEMA, TAGS, Annotation, StageError
from grand_pipeline.store import ANNOTATIONS, ERROR, SKIPPED, Run
from grand_pipeline.types import Tag
from grand_pipeline.viewer.listing import listing
from grand_pipeline.viewer.search import Filter, page
from grand_pipeline.viewer.site import Site
from tests.training.data.made import annotation, thing, write_run
from training.data import source

SHARDS = 2
ROWS = 66  # more than a row group
STAGE = "tags.made"
_THING = thing(0, (0, 0, 8, 8), "")


def version_of(row: Annotation) -> int:
    """The version that a row tells; every part of it has to tell the same."""
    told = {int(row.objects[0].label), int(row.captions[0].text), len(row.objects)}
    assert len(told) == 1, told
    return told.pop()


def rows_of(run: Run, shard: str, version: int) -> list[Annotation]:
    """Published rows that tell their version in label, caption and number of objects."""
    objects = tuple(replace(_THING, id=n, label=str(version)) for n in range(version))
    return [
        replace(
            annotation(image.image_id, image.uri, objects),
            captions=(replace(annotation().captions[0], text=str(version), spans=()),),
            errors=(StageError("made", "odd"),) if version % 2 else (),
        )
        for image in run.shard_images(shard)
    ]


def commit(run: Run, shard: str, version: int) -> None:
    """Publish a version of a shard and the fragment of a stage beside it, as workers do."""
    footer = {"digest": run.shard_digest(shard), "fingerprint": f"{version:08x}"}
    rows = [codec.encode(row) for row in rows_of(run, shard, version)]
    table = pa.Table.from_pylist(rows, schema=ANNOTATION_SCHEMA)
    if not run.restore(ANNOTATIONS, shard, footer["fingerprint"]):
        run.commit(ANNOTATIONS, shard, table, footer)
    column = TAGS.of("made")
    ids = [row["image_id"] for row in rows]
    values = [[codec.encode(Tag(str(version), 1.0, "made"))] * version for _ in ids]
    schema = pa.schema(
        [("image_id", pa.string()), (column.name, column.type)]
        + [(name, pa.string()) for name in (ERROR, SKIPPED)]
    )
    empty = [None] * len(ids)
    fragment = pa.table([ids, values, empty, empty], schema=schema)
    identity = json.dumps({"options": {"version": version}, "weights": [], "parents": {}})
    if not run.restore(STAGE, shard, footer["fingerprint"]):
        run.commit(STAGE, shard, fragment, {**footer, "identity": identity})


def write(run: Run, seconds: float, stop: threading.Event | Event) -> None:
    """A driver at work: versions 1 to 4 in turn, from the second time on out of the shelf."""
    ends_at = time.monotonic() + seconds
    turn = 0
    while turn < 2 or time.monotonic() < ends_at:
        for shard in run.shards():
            commit(run, shard, 1 + turn % 4)
            first = run.shard_images(shard)[0]
            run.relist({first.image_id: (first.uri, f"/copies/{turn}.png")})
            if stop.is_set():
                return
        turn += 1


def prepared(root: Path) -> Run:
    """A run of which nothing is published yet."""
    run = write_run(root, [ROWS] * SHARDS, embed=True)
    for shard in run.shards():
        run.discard(ANNOTATIONS, shard)
    run.describe({"name": "made", "stages": {STAGE: {}}}, "now")
    return run


@contextmanager
def writing(run: Run, seconds: float) -> Iterator[Callable[[], bool]]:
    """A thread that writes; yields whether it is still at it, and ends it."""
    stop = threading.Event()
    writer = threading.Thread(target=write, args=(run, seconds, stop))
    writer.start()
    try:
        yield writer.is_alive
    finally:
        stop.set()
        writer.join()


def read_stats(run: Run) -> int:
    rows = list(run.annotations())
    for row in rows:
        version_of(row)
    assert stats.stats(rows, run.images())["images"]["distinct"] == SHARDS * ROWS
    assert len(rows) % ROWS == 0, "a shard is there whole or not at all"
    return len(rows)


def read_query(run: Run) -> int:
    sql = """SELECT a.image_id, any_value(a.captions[1].text), count(DISTINCT o.label), count(*),
    any_value(o.label) FROM annotations a JOIN objects o USING (image_id) GROUP BY a.image_id"""
    with query.ask(run, sql) as answer:
        rows = list(answer.rows)
    for _, caption, labels, count, label in rows:
        assert (labels, count, label) == (1, int(caption), caption)
    assert len(rows) % ROWS == 0
    return len(rows)


def read_view(run: Run) -> int:
    found = page(listing(run), Filter(), 0, 1000, 120).items
    assert [item["number"] for item in found] == list(range(SHARDS * ROWS))
    published = [item for item in found if item["state"] != "pending"]
    assert all(item["text"].startswith("A red ball") for item in published)
    assert all(item["labels"] == [(str(item["objects"]), item["objects"])] for item in published)
    site = Site(run)
    for number in (0, ROWS, SHARDS * ROWS - 1):
        image_id = found[number]["image_id"]
        for target in (f"/api/image/{image_id}?at={number}", f"/small/{image_id}.jpg"):
            assert site.answer(target).status == 200, target
    assert site.answer("/api/labels").status == 200
    return len(published)


def read_explanations(run: Run) -> int:
    told = explain.explain(run, first_id(run)).json()
    tags = told["tags"]["data"] if "tags" in told else []
    assert len({json.dumps(tag) for tag in tags or []}) <= 1
    return len(tags or [])


def first_id(run: Run) -> str:
    return next(run.images()).image_id


def read_accounts(run: Run) -> int:
    counts = accounts.account(run, (), "00000001")
    accounted = sum(count for name, count in counts.items() if name != "found")
    assert accounted == counts["found"]
    return counts["annotated"]


def read_training(run: Run) -> int:
    """Every row twice, as the run was when it was opened, whatever is superseded meanwhile."""
    if len(list(run.annotations())) < 2 * ROWS:
        return 0  # The only shard could just be superseded, and a run without rows is refused.
    rows = source.open_rows(run.root, ["objects", "captions"])
    seen = [_versions(rows), _versions(rows)]
    assert seen[0] == seen[1] and len(seen[0]) % ROWS == 0
    return len(seen[0])


def _versions(rows: source.Rows) -> list[int]:
    found = []
    for place, group in enumerate(rows.groups):
        block = source.load(rows, [place])
        plain = block.table.select(["objects", "captions"]).to_pylist()
        versions = {len(row["objects"]) for row in plain}
        versions |= {int(row["captions"][0]["text"]) for row in plain}
        versions |= {int(one["label"]) for row in plain for one in row["objects"]}
        assert len(versions) == 1
        found += [versions.pop()] * group.rows
    return found


READERS = (read_stats, read_query, read_view, read_explanations, read_accounts, read_training)


def loop(reader: Callable[[Run], int], run: Run, active: Callable[[], bool]) -> Counter[int]:
    """How much a reader saw how often, until the writer is done and once after."""
    seen: Counter[int] = Counter()
    while active():
        seen[reader(run)] += 1
    seen[reader(run)] += 1
    return seen


def read_all(run: Run, active: Callable[[], bool]) -> dict[str, Counter[int]]:
    """Every reader in a thread of its own; how much each saw how often. Raises what one raised."""
    with ThreadPoolExecutor(len(READERS)) as pool:
        seen = {one.__name__: pool.submit(loop, one, run, active) for one in READERS}
    return {name: found.result() for name, found in seen.items()}


def test_readers_beside_a_writer(tmp_path: Path) -> None:
    run = prepared(tmp_path)
    with writing(run, seconds=1) as active:
        seen = read_all(run, active)
    assert set(seen) == {reader.__name__ for reader in READERS}
    assert read_stats(run) == read_query(run) == read_view(run) == SHARDS * ROWS


@pytest.mark.parametrize("back", [False, True])
def test_training_goes_on_with_the_rows_it_began_with(tmp_path: Path, back: bool) -> None:
    run = prepared(tmp_path)
    for shard in run.shards():
        commit(run, shard, 1)
    rows = source.open_rows(run.root, ["objects", "captions"])
    commit(run, run.shards()[0], 2)
    if back:
        commit(run, run.shards()[0], 1)
    assert set(_versions(rows)) == {1}
    assert set(_versions(source.open_rows(run.root, ["objects", "captions"]))) == (
        {1} if back else {1, 2}
    )


OPENED, CLOSED = 0x20, 0x10


def opens(path: Path, read: Callable[[], object]) -> int:
    """How often `read` opens a file, as the system tells it (inotify)."""
    library = ctypes.CDLL(None, use_errno=True)
    handle = library.inotify_init1(os.O_NONBLOCK)
    try:
        # Closing is watched too, since the system counts equal events in a row as one.
        assert library.inotify_add_watch(handle, os.fsencode(path), OPENED | CLOSED) >= 0
        read()
        told = os.read(handle, 1 << 16)
    finally:
        os.close(handle)
    return sum(mask == OPENED for _, mask, _, _ in struct.iter_unpack("iIII", told))


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is of Linux")
@pytest.mark.parametrize(
    ("key", "read"),
    [
        (ANNOTATIONS, lambda run, shard: list(run.published(shard))),
        (ANNOTATIONS, lambda run, shard: run.read(ANNOTATIONS, shard, ["captions"])),
        (ANNOTATIONS, lambda run, shard: list(run.annotations())),
        (ANNOTATIONS, lambda run, shard: page(listing(run), Filter(text="1"), 0, 9)),
        (
            ANNOTATIONS,
            lambda run, shard: Site(run).answer(f"/api/image/{next(run.images()).image_id}?at=0"),
        ),
        (ANNOTATIONS, lambda run, shard: query.tables(run)),
        (STAGE, lambda run, shard: explain.explain(run, first_id(run))),
    ],
    ids=["published", "read", "annotations", "page", "picture", "query", "explain"],
)
def test_a_file_is_opened_once(
    tmp_path: Path, key: str, read: Callable[[Run, str], object]
) -> None:
    """Opened twice, the footer of one version could be taken for the values of another."""
    run = prepared(tmp_path)
    shard = run.shards()[0]
    commit(run, shard, 1)
    told = opens(run.fragment(key, shard), lambda: read(run, shard))
    assert told == 1
