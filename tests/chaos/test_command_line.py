"""Disks that fill up or vanish and pictures that fail, as who types the commands meets them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from grand_pipeline import lock
from grand_pipeline.picturebook.truth import render_dataset
from grand_pipeline.store import Run
from tests.chaos import fakes
from tests.chaos.test_disk import small_disk

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]

PATIENCE = 600
LAST = "tags.siglip"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four scenes."""
    root = tmp_path_factory.mktemp("scenes")
    render_dataset(root, 4, 3_600_001)
    return root / "images"


def started(*arguments: object) -> subprocess.Popen[str]:
    code = "import sys; from grand_pipeline import cli; cli.main(sys.argv[1:])"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def grand(*arguments: object) -> tuple[int, str]:
    """Exit code of a command, and all it said."""
    process = started(*arguments)
    out, err = process.communicate(timeout=PATIENCE)
    said = out + err
    assert "Traceback" not in said, said
    return process.returncode, said


def order(pictures: Path, root: Path) -> list[object]:
    return ["build", "--images", pictures, "--out", root, "--shard-size", 2, "--until", LAST]


def failures(root: Path) -> list[object]:
    return [row.errors for row in Run(root).annotations() if row.errors]


@contextmanager
def undisturbed(pictures: Path, root: Path) -> Iterator[dict[str, str]]:
    """What a build ends with that nothing stands in the way of."""
    assert grand(*order(pictures, root))[0] == 0
    yield fakes.content(root)


def test_a_disk_that_is_full(pictures: Path, tmp_path: Path) -> None:
    root = tmp_path / "disk" / "run"
    said = {}
    with small_disk(tmp_path / "disk", 16):
        for kilobytes in (16, 40, 56, 72):
            subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", root.parent], check=True)
            made = fakes.committed(root)
            code, said[kilobytes] = grand(*order(pictures, root))
            last = said[kilobytes].strip().splitlines()[-1]
            print(f"{kilobytes} KB: {code}, {last}")
            assert code == 1
            assert last.startswith("grand: ") and "No space left on device" in last
            assert "free some, and run the same command again" in last
            assert fakes.torn(root) == []
            assert made.keys() <= fakes.committed(root).keys()
            assert failures(root) == [], "no picture is blamed"
        assert any("grand: stage 'tags" in words for words in said.values()), "in a worker too"
        subprocess.run(["mount", "-o", "remount,size=64m", root.parent], check=True)
        assert grand(*order(pictures, root))[0] == 0
        with undisturbed(pictures, tmp_path / "plain") as content:
            assert fakes.content(root) == content
        fakes.assert_whole(root)


@pytest.mark.parametrize("name", ["run", ""], ids=["above the run", "the run itself"])
def test_a_disk_that_is_taken_away(pictures: Path, tmp_path: Path, name: str) -> None:
    place = tmp_path / "disk"
    with small_disk(place, 4096):
        build = started(*order(pictures, place / name))
        fakes.wait_until(lambda: list(place.rglob("images/*.parquet")), PATIENCE)
        subprocess.run(["umount", "--lazy", place], check=True)
        out, err = build.communicate(timeout=PATIENCE)
        left = {path.name for path in place.iterdir()}
        subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
    last = (out + err).strip().splitlines()[-1]
    print(build.returncode, last)
    assert build.returncode in (1, 2)
    assert last.startswith("grand: ") and str(place) in last
    assert "Traceback" not in out + err
    assert left <= lock.FILES, "nothing of the run is written where the disk was"


def test_a_picture_that_fails_is_counted_allowed_and_tried_again(
    pictures: Path, tmp_path: Path
) -> None:
    folder, root = tmp_path / "pictures", tmp_path / "run"
    shutil.copytree(pictures, folder)
    one = ["--shard-size", 1]
    begun = ["build", "--images", folder, "--out", root, "--until", "tags.siglip", *one]
    assert grand(*begun)[0] == 0
    away = sorted(folder.glob("*.png"))[1]
    away.rename(tmp_path / "away.png")
    code, said = grand("build", "--out", root, "--until", "open_detection.owl_vit")
    print(said.strip().splitlines()[-1])
    assert code == 3
    assert "grand: 1 images failed (open_detection.owl_vit: 1)" in said
    code, said = grand(
        "build", "--out", root, "--until", "open_detection.owl_vit", "--max-failed", 1
    )
    assert code == 0 and "3 annotated, 1 failed" in said
    (tmp_path / "away.png").rename(away)
    made = fakes.committed(root)
    code, said = grand("rerun", "--failed", "--run", root)
    assert code == 0 and "1 failed images are tried again" in said
    assert "4 annotated, 0 failed" in said
    fresh = [path for inode, path in fakes.committed(root).items() if inode not in made]
    assert sorted(path.relative_to(root).as_posix() for path in fresh) == [
        "annotations/00001.parquet",
        "stages/open_detection.owl_vit/00001.parquet",
    ]
    away.unlink()
    away.symlink_to("nowhere")
    code, said = grand(*begun)
    assert code == 0 and "4 found, 4 annotated" in said
    assert "1 files that the run knows can not be read now" in said
