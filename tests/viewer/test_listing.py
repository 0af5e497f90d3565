from __future__ import annotations

from pathlib import Path

import pytest

from grand_pipeline.errors import DamageError
from grand_pipeline.store import ANNOTATIONS, Run
from grand_pipeline.viewer.listing import find, images, listing, published
from tests.training.data.made import write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("made"), [130, 70])


def test_pictures_are_numbered_through_all_shards(run: Run) -> None:
    listed = listing(run)
    assert (listed.total, listed.starts) == (200, (0, 130, 200))
    rows = [*images(listed, 60, 130), *images(listed, 130, 140)]
    assert [row["number"] for row in rows] == list(range(60, 140))
    assert [int(Path(row["uri"]).stem) for row in rows] == list(range(60, 140))


def test_published_rows_are_those_of_the_images(run: Run) -> None:
    listed = listing(run)
    rows = images(listed, 100, 129)
    table = published(listed, rows, ["captions.list.element.text"])
    assert table is not None and table.num_rows == 29
    assert table["image_id"].to_pylist() == [row["image_id"] for row in rows]
    assert list(table.to_pylist()[0]["captions"][0]) == ["text"]


@pytest.mark.parametrize("hint", [None, 150, 3, 10**9])
def test_an_image_is_found_by_its_id_whatever_the_hint(run: Run, hint: int | None) -> None:
    listed = listing(run)
    wanted = images(listed, 150, 151)[0]["image_id"]
    assert find(listed, wanted, hint) == 150


@pytest.mark.parametrize("name", ["", "zz", "\N{GRINNING FACE}", "0" * 64])
def test_what_is_not_in_the_run_is_not_found(run: Run, name: str) -> None:
    assert find(listing(run), name) is None


def test_a_shard_in_progress_has_images_and_no_rows(tmp_path: Path) -> None:
    run = write_run(tmp_path, [3])
    run.discard(ANNOTATIONS, "00000")
    listed = listing(run)
    assert published(listed, images(listed, 0, 3), ["scene_graph"]) is None


def test_rows_of_other_images_are_not_shown(tmp_path: Path) -> None:
    run = write_run(tmp_path, [3, 3])
    run.fragment(ANNOTATIONS, "00001").replace(run.fragment(ANNOTATIONS, "00000"))
    listed = listing(run)
    with pytest.raises(DamageError, match="grand verify"):
        published(listed, images(listed, 0, 3), ["scene_graph"])


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    run = write_run(tmp_path, [3])
    path = run.fragment(ANNOTATIONS, "00000")
    path.write_bytes(path.read_bytes()[:-40])
    listed = listing(run)
    with pytest.raises(DamageError, match=r"00000\.parquet' can not be read"):
        published(listed, images(listed, 0, 3), ["scene_graph"])
