"""Files that are slow, or never come: what is waited for, how long, and what is done meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

import pytest

from grand_pipeline import build, ingest
from grand_pipeline.errors import DiskError
from grand_pipeline.plan import make_plan
from grand_pipeline.record import Record
from grand_pipeline.stage import Row
from grand_pipeline.store import ERROR, Run
from tests.fakes import Brightness, annotate_all, make_run
from tests.poisons import QUICK, annotate_in_processes
from tests.remote.troubled import BAD, FILES, Trouble, TroubledFiles, silent


def test_a_file_that_never_answers_is_not_waited_for(remote: type[TroubledFiles]) -> None:
    never = Event()
    remote.troubles[BAD] = silent(never)
    uris = [f"trouble://{name}" for name in FILES]
    list(ingest.scan(uris[:1]))  # What the first picture imports is no part of its time.
    rows = list(ingest.scan(uris, threads=1, seconds=1.0))
    never.set()
    assert [row.uri for row in rows] == uris
    assert [row.error for row in rows] == [None, "no answer within 1 s", None, None, None, None]
    assert ingest.is_unread(rows[1])


def test_a_file_system_that_never_answers_stops_ingest(remote: type[TroubledFiles]) -> None:
    never = Event()
    remote.troubles.update(dict.fromkeys(FILES, silent(never)))
    uris = [f"trouble://{FILES[index % 6]}" for index in range(100)]
    with pytest.raises(DiskError, match=r"8 files in a row gave no answer within 0\.1 s"):
        list(ingest.scan(uris, seconds=0.1))
    never.set()


@dataclass(frozen=True, kw_only=True)
class Waiting(Brightness):
    """Has done with a picture when the next one of its shard is being read."""

    def annotate(self, model: float, records: Sequence[Record]) -> list[Row]:
        name = records[-1].uri.rpartition("/")[2]
        following = FILES.index(name) + 1
        if following % 3 and not READ[FILES[following]].wait(30):
            raise TimeoutError("the next picture is not read meanwhile")
        return super().annotate(model, records)


READ = {name: Event() for name in FILES}


def test_a_slow_file_system_is_read_while_a_stage_works(
    tmp_path: Path, remote: type[TroubledFiles]
) -> None:
    run = Run.create(tmp_path / "run", {})
    build.add_images(run, ["trouble://"], 3)

    def noted(name: str) -> Trouble:
        def read(data: bytes) -> bytes:
            READ[name].set()
            return data

        return read

    remote.troubles.update({name: noted(name) for name in FILES})
    annotate_all(run, make_plan([Waiting(batch_size=1)]))
    assert [row.errors for row in run.annotations()] == [()] * 6


@pytest.mark.chaos
def test_a_picture_whose_reading_hangs_is_one_row(tmp_path: Path) -> None:
    rows = list(make_run(tmp_path / "source", images=5, shard_size=5).images())
    rows[2] = replace(rows[2], uri=f"poison://hang{rows[2].uri}")
    run = make_run(tmp_path, images=0)
    run.add_shard(rows)
    plan = make_plan([Brightness(batch_size=2, limits=QUICK)])
    deaths = annotate_in_processes(run, plan)
    found = run.read("brightness.fake", "00000", [ERROR])[ERROR]
    says = "TimedOut: no result after 1 s (see limits.image_seconds)"
    assert found == [None, None, says, None, None]
    assert 2 <= deaths["brightness.fake"] <= 4
