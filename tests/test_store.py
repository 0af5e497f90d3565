from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from grand_pipeline import lock
from grand_pipeline.columns import TAGS
from grand_pipeline.errors import RunError
from grand_pipeline.storage import Place
from grand_pipeline.store import Run, digest_of
from tests import buckets
from tests.fakes import make_run


def fragment(run: Run, shard: str, fingerprint: str, value: str = "v") -> bool:
    ids = [row.image_id for row in run.shard_images(shard)]
    table = pa.table({"image_id": ids, "text": [value] * len(ids)})
    return run.commit(
        "s", shard, table, {"fingerprint": fingerprint, "digest": run.shard_digest(shard)}
    )


def test_images_round_trip_in_order(home: Place, tmp_path: Path) -> None:
    run = make_run(tmp_path, images=5, shard_size=2, at=home)
    assert run.shards() == ["00000", "00001", "00002"]
    names = [Path(row.uri).name for row in run.images()]
    assert names == [f"{i:04d}.png" for i in range(5)]
    ids = [row.image_id for row in run.shard_images("00002")]
    assert run.shard_digest("00002") == digest_of(ids)


def test_fragment_states(home: Place, tmp_path: Path) -> None:
    run = make_run(tmp_path, at=home)
    assert run.state("s", "00000", "aa") == "missing"
    assert fragment(run, "00000", "aa")
    assert run.state("s", "00000", "aa") == "done"
    assert run.state("s", "00000", "bb") == "stale"


def test_superseded_fragment_is_shelved_and_comes_back(home: Place, tmp_path: Path) -> None:
    run = make_run(tmp_path, at=home)
    fragment(run, "00000", "aa", "old")
    fragment(run, "00000", "bb", "new")
    assert run.read("s", "00000", ["text"])["text"][0] == "new"
    assert run.restore("s", "00000", "aa")
    assert run.read("s", "00000", ["text"])["text"][0] == "old"
    assert run.restore("s", "00000", "bb")
    assert not run.restore("s", "00000", "cc")


def test_second_writer_of_the_same_fragment_changes_nothing(home: Place, tmp_path: Path) -> None:
    run = make_run(tmp_path, at=home)
    assert fragment(run, "00000", "aa", "first")
    assert not fragment(run, "00000", "aa", "second")
    assert run.read("s", "00000", ["text"])["text"][0] == "first"


def test_damaged_fragment_counts_as_missing_and_is_replaced(home: Place, tmp_path: Path) -> None:
    run = make_run(tmp_path, at=home)
    fragment(run, "00000", "aa")
    path = run.fragment("s", "00000")
    buckets.write(path, path.read_bytes()[:40])
    assert run.state("s", "00000", "aa") == "missing"
    assert fragment(run, "00000", "aa")
    assert run.state("s", "00000", "aa") == "done"


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no run.json"), ("{", "not readable"), ('{"schema_version": 99}', "schema 99")],
)
def test_open_refuses_what_is_no_run(home: Place, content: str | None, message: str) -> None:
    if content is not None:
        buckets.write(home / "run.json", content.encode())
    with pytest.raises(RunError, match=message):
        Run.open(home)


@pytest.mark.parametrize("content", [b'{"schema_version": "\xff"}', b"[1]", b"7"])
def test_open_refuses_what_damage_made_of_a_description(home: Place, content: bytes) -> None:
    buckets.write(home / "run.json", content)
    with pytest.raises(RunError, match="not readable"):
        Run.open(home)


def test_create_refuses_a_foreign_folder(home: Place) -> None:
    buckets.write(home / "thesis.doc", b"years of work")
    with pytest.raises(RunError, match="not empty and no run"):
        Run.create(home, {})


def test_column_reads_decoded_values_over_shards(home: Place, tmp_path: Path) -> None:
    run = make_run(tmp_path, at=home, images=2, shard_size=1)
    column = TAGS.of("x")
    for shard in run.shards():
        ids = [row.image_id for row in run.shard_images(shard)]
        plain = [[{"name": "dog", "score": 0.5, "source": "x"}]]
        table = pa.table({"image_id": ids, column.name: pa.array(plain, column.type)})
        run.commit("tags.x", shard, table, {"fingerprint": "aa", "digest": "d"})
    assert [value[0].name for _, value in run.column("tags.x", column)] == ["dog", "dog"]


def test_lock_refuses_a_second_driver_and_names_the_first(home: Place) -> None:
    with lock.hold(home) as token:
        assert lock.held_by(home, token)
        with pytest.raises(RunError, match="pid "), lock.hold(home):
            pass
    with lock.hold(home) as other:
        assert not lock.held_by(home, token)
        assert lock.held_by(home, other)


def test_later_duplicates_are_listed_and_nothing_goes_stale(home: Place, tmp_path: Path) -> None:
    run = make_run(tmp_path, at=home, images=2)
    fragment(run, "00000", "aa")
    first = next(run.images())
    run.relist({first.image_id: (first.uri, "/copy.png")})
    assert next(run.images()).duplicates == ("/copy.png",)
    assert run.state("s", "00000", "aa") == "done"
