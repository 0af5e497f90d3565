"""Whatever becomes of the pictures: only new content is annotated, and what is gone is reported."""

from __future__ import annotations

from pathlib import Path

from grand_pipeline import accounts, build, ingest
from grand_pipeline.reasons import PATHS
from grand_pipeline.store import ANNOTATIONS, Run
from tests.drift.bench import IMAGES, SHARD, Bench
from tests.fakes import png


def test_a_picture_s_bytes(bench: Bench) -> None:
    picture = bench.pictures / "2.png"
    before = ingest.content_id(picture.read_bytes())
    picture.write_bytes(png(77))
    now = ingest.content_id(png(77))
    bench.ingest()
    assert bench.build() == {("brightness.fake", 1): 1, ("caption.fake", 1): 1}
    assert bench.uris() == [*(f"{i}.png" for i in range(IMAGES)), "2.png"], "no row was lost"
    told = f"is another picture now, {now}; the row of {before} stays"
    assert list(accounts.departed(bench.run)) == [(str(picture), told)]
    picture.write_bytes(png(2))
    bench.ingest()
    assert bench.build() == {}
    told = f"is another picture now, {before}; the row of {now} stays"
    assert list(accounts.departed(bench.run)) == [(str(picture), told)]


def test_added_pictures(bench: Bench) -> None:
    (bench.pictures / "new.png").write_bytes(png(10))
    bench.ingest()
    assert bench.why(bench.plan()) == {}, "what is missing is not stale"
    assert bench.build() == {("brightness.fake", 1): 1, ("caption.fake", 1): 1}


def test_a_deleted_picture_keeps_its_row_and_is_reported(bench: Bench) -> None:
    picture, rows = bench.pictures / "2.png", list(bench.run.annotations())
    picture.unlink()
    bench.ingest()
    assert bench.build() == {}
    assert list(bench.run.annotations()) == rows
    told = f"is gone; the row of {rows[2].image_id} stays"
    assert list(accounts.departed(bench.run)) == [(str(picture), told)]
    picture.write_bytes(png(2))
    bench.ingest()
    assert bench.build() == {}
    assert list(accounts.departed(bench.run)) == []


def test_a_deleted_picture_fails_alone_when_its_pixels_are_needed_again(bench: Bench) -> None:
    (bench.pictures / "2.png").unlink()
    changed = bench.plan(bench.brightness(2.0))
    bench.build(changed)
    errors = {Path(row.uri).name: row.errors for row in bench.run.annotations() if row.errors}
    assert list(errors) == ["2.png"]
    assert "cannot read" in errors["2.png"][0].message
    assert bench.build() == {}, "its values with the first options were kept"
    assert not any(row.errors for row in bench.run.annotations())


def test_a_run_with_copies_misses_no_file(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.pictures.mkdir()
    (bench.pictures / "0.png").write_bytes(png(0))
    Run.create(bench.run.root, {})
    build.add_images(bench.run, [str(bench.pictures)], SHARD, embed=True)
    (bench.pictures / "0.png").unlink()
    assert list(accounts.departed(bench.run)) == []


def test_renamed_pictures_keep_their_values_and_get_their_new_uri(bench: Bench) -> None:
    rows = list(bench.run.annotations())
    (bench.pictures / "2.png").rename(bench.pictures / "two.png")
    bench.ingest()
    assert bench.why(bench.plan()) == {ANNOTATIONS: [PATHS]}
    assert bench.build() == {}
    assert bench.uris() == ["0.png", "1.png", "two.png", "3.png", "4.png", "5.png"]
    assert [row.captions for row in bench.run.annotations()] == [row.captions for row in rows]
    assert list(accounts.departed(bench.run)) == []
    counts = accounts.account(bench.run, (), bench.plan().fingerprint)
    assert (counts["found"], counts["duplicate"]) == (IMAGES, 0)
    (bench.pictures / "two.png").rename(bench.pictures / "2.png")
    bench.ingest()
    assert bench.build() == {}
    assert list(bench.run.annotations()) == rows


def test_swapped_names(bench: Bench) -> None:
    ids = {row.image_id: Path(row.uri).name for row in bench.run.annotations()}
    (bench.pictures / "1.png").rename(bench.root / "aside")
    (bench.pictures / "2.png").rename(bench.pictures / "1.png")
    (bench.root / "aside").rename(bench.pictures / "2.png")
    bench.ingest()
    assert bench.build() == {}
    swap = {"1.png": "2.png", "2.png": "1.png"}
    now = {row.image_id: Path(row.uri).name for row in bench.run.annotations()}
    assert now == {image_id: swap.get(name, name) for image_id, name in ids.items()}


def test_rows_of_older_options_come_back_with_the_new_uri(bench: Bench) -> None:
    bench.build(bench.plan(second=bench.caption("avg")))
    (bench.pictures / "5.png").rename(bench.pictures / "five.png")
    bench.ingest()
    assert bench.build() == {}
    assert bench.uris()[-1] == "five.png"


def test_another_shard_size_is_for_new_pictures(bench: Bench) -> None:
    bench.ingest(shard_size=2)
    assert bench.build() == {}
    for index in range(10, 13):
        (bench.pictures / f"{index}.png").write_bytes(png(index))
    bench.ingest(shard_size=2)
    sizes = [len(bench.run.shard_images(shard)) for shard in bench.run.shards()]
    assert sizes == [3, 3, 2, 1]
    assert bench.build() == {(k, n): 1 for k in ("brightness.fake", "caption.fake") for n in (1, 2)}
