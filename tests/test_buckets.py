"""A run in a bucket is the run that a folder would hold, and whatever reads runs reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from grand_pipeline import accounts, explain, query, stats
from grand_pipeline.errors import RunError, UserError
from grand_pipeline.exporters import grand as export
from grand_pipeline.plan import make_plan
from grand_pipeline.preflight import check_place
from grand_pipeline.repair import repair
from grand_pipeline.show import show
from grand_pipeline.storage import BucketPath, Place, place
from grand_pipeline.store import Run
from grand_pipeline.verify import verify
from grand_pipeline.viewer.listing import listing
from grand_pipeline.viewer.search import Filter, page
from grand_pipeline.viewer.site import Site
from tests import buckets
from tests import test_readers as readers
from tests.chaos import fakes
from tests.fakes import Brightness, Caption, Graph, annotate_all, make_run
from tests.test_cli import call

GRAPH = "stages/graph/00001.parquet"


def content(root: Place, folder: Path) -> dict[str, str]:
    """What `fakes.content` says of a run, without the files that locks are taken on."""
    found = fakes.content(buckets.downloaded(root, folder))
    return {name: what for name, what in found.items() if not name.startswith((".lock", ".commit"))}


def lived(root: Place, pictures: Path) -> Run:
    """A run that was built, built with another option, and set back."""
    run = make_run(pictures, images=4, shard_size=2, at=root)
    for word in ("mean", "average", "mean"):
        annotate_all(run, make_plan([Brightness(), Caption(word=word), Graph()]))
    return run


def test_the_files_are_those_of_a_folder(s3: str, tmp_path: Path) -> None:
    root = buckets.in_s3()
    local = lived(tmp_path / "run", tmp_path / "a")
    remote = lived(root, tmp_path / "a" / "again")
    assert list(remote.annotations()) != []
    # The pictures lie elsewhere, so uris differ; what else is there does not.
    names = set(content(local.root, tmp_path / "one"))
    assert set(content(root, tmp_path / "two")) == names
    assert len([name for name in names if ".shelf" in name]) == 6
    assert verify(root).findings == ()
    plans = make_plan([Brightness(), Caption(), Graph()])
    assert accounts.report(remote, plans, {}) == accounts.report(local, plans, {})


def test_a_damaged_object_is_found_and_made_again(s3: str, tmp_path: Path) -> None:
    root = buckets.in_s3()
    assert isinstance(root, BucketPath)
    plan = make_plan([Brightness(), Caption(), Graph()])
    run = make_run(tmp_path, images=4, shard_size=2, at=root)
    annotate_all(run, plan)
    before = content(root, tmp_path / "before")
    data = bytearray((root / GRAPH).read_bytes())
    data[len(data) // 3] ^= 4
    buckets.write(root / GRAPH, bytes(data))
    buckets.write(root / "images" / "00000.parquet", b"torn")
    buckets.write(root / "notes.txt", b"foreign")
    kinds = [(finding.path, finding.kind) for finding in verify(root).findings]
    assert kinds == [
        ("images/00000.parquet", "damaged"),
        ("notes.txt", "foreign"),
        (GRAPH, "damaged"),
    ]
    done = repair(root, lambda: annotate_all(run, plan))
    assert done.now.whole and len(done.moved) == 3
    aside = list((root / ".damaged").below())
    assert len(aside) == 3
    for name in aside:
        buckets.delete(root / ".damaged" / name)
    assert content(root, tmp_path / "after") == before


@pytest.fixture(scope="module")
def story(world: Path) -> tuple[Path, BucketPath]:
    """A run with everything in it, and its copy in a bucket."""
    remote = buckets.copied(world / "run", buckets.in_memory())
    assert isinstance(remote, BucketPath)
    return world / "run", remote


READERS: dict[str, Callable[[Run], object]] = {
    "rows": lambda run: list(run.annotations()),
    "stats": lambda run: stats.stats(run.annotations(), run.images()),
    "page": lambda run: page(listing(run), Filter(), 0, 9).items,
    "labels": lambda run: Site(run).answer("/api/labels").body,
}


@pytest.mark.parametrize("name", READERS)
def test_readers_read_the_same(story: tuple[Path, BucketPath], name: str) -> None:
    local, remote = story
    assert READERS[name](Run(remote)) == READERS[name](Run(local)) != []


def test_readers_beside_a_writer_see_whole_versions(tmp_path: Path) -> None:
    run = Run(buckets.copied(readers.prepared(tmp_path).root, buckets.in_memory()))
    # Training reads through fsspec.
    chosen = [reader for reader in readers.READERS if reader is not readers.read_training]
    with readers.writing(run, seconds=1) as active, ThreadPoolExecutor(len(chosen)) as pool:
        running = [pool.submit(readers.loop, reader, run, active) for reader in chosen]
        assert all(one.result() for one in running)
    assert readers.read_stats(run) == readers.SHARDS * readers.ROWS


def test_a_query_reads_the_same(story: tuple[Path, BucketPath]) -> None:
    told = []
    for root in story:
        with query.ask(Run(root), "SELECT * FROM objects ORDER BY image_id, id") as answer:
            told.append(list(answer.rows))
    assert told[0] == told[1] != []


def test_explanations_pictures_and_exports_are_the_same(
    story: tuple[Path, BucketPath], tmp_path: Path
) -> None:
    local, remote = story
    first = next(Run(local).images()).image_id
    told = [explain.explain(Run(root), first).json() for root in story]
    assert [{k: v for k, v in one.items() if k != "run"} for one in told[:1]] == [
        {k: v for k, v in one.items() if k != "run"} for one in told[1:]
    ]
    for name, root in (("local", local), ("remote", remote)):
        show(Run(root), tmp_path / name, limit=1)
        export.export_annotations(Run(root), tmp_path / f"{name}-grand")
    for kind in ("", "-grand"):
        one, two = (sorted((tmp_path / f"{n}{kind}").rglob("*.*")) for n in ("local", "remote"))
        assert [p.name for p in one] == [p.name for p in two] != []
        assert all(a.read_bytes() == b.read_bytes() for a, b in zip(one, two, strict=True))


def test_commands_take_the_name_of_a_bucket(
    s3: str, story: tuple[Path, BucketPath], capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(buckets.copied(story[0], buckets.in_s3()))
    for command in ("status", "verify", "stats"):
        assert call(command, root, "--json") == 0, command
        assert json.loads(capsys.readouterr().out)
    assert call("query", root, "SELECT count(*) AS n FROM images", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["n"] > 0
    assert call("show", root) == 2
    assert "give --out" in capsys.readouterr().err
    assert call("status", "s3://no-such-bucket/run") == 2
    assert "make the bucket" in capsys.readouterr().err


def test_what_is_imported_into_a_bucket_is_what_a_folder_gets(
    s3: str, story: tuple[Path, BucketPath], tmp_path: Path
) -> None:
    export.export_annotations(Run(story[0]), tmp_path / "files")
    places = (tmp_path / "run", buckets.in_s3())
    for root in places:
        assert call("import", "grand", str(tmp_path / "files"), "--run", str(root)) == 0
    one, two = (list(Run(root).annotations()) for root in places)
    assert one == two != []


def test_a_run_among_its_own_pictures_is_refused() -> None:
    out = buckets.in_memory()
    check_place(out, ["pictures", "s3://elsewhere/run"])
    with pytest.raises(RunError, match="lies in"):
        check_place(out, [f"{out.bucket.url}/"])


def test_other_stores_are_refused() -> None:
    with pytest.raises(UserError, match="s3://BUCKET/NAME"):
        check_place(place("gs://bucket/run"))
