"""A run that nobody may write to can be looked at, and nothing else; and that is said at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from grand_pipeline import build, settings
from grand_pipeline.store import Run
from tests.fakes import make_run

CODE = "import sys; from grand_pipeline import cli; cli.main(sys.argv[1:])"
# Root may write anywhere, but not in a user namespace of its own.
ORDINARY = [] if os.geteuid() else ["unshare", "--user"]
CLOSED = "may not be written to"
ROOM = Path(__file__).parents[1]


def started(*arguments: object, home: Path, temporary: Path | None = None) -> subprocess.Popen[str]:
    """A command of a user with this home, and this folder for temporary files or the same."""
    if ORDINARY and subprocess.run([*ORDINARY, "true"], capture_output=True).returncode:
        pytest.skip("root writes anywhere, and may not become another user here")
    places = {"HOME": str(home), "TMPDIR": str(temporary or home)}
    return subprocess.Popen(
        [*ORDINARY, sys.executable, "-c", CODE, *map(str, arguments)],
        cwd=ROOM,
        env={**os.environ, **places, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def grand(*arguments: object, home: Path, temporary: Path | None = None) -> tuple[int, str]:
    """Exit code of a command, and all it said."""
    process = started(*arguments, home=home, temporary=temporary)
    out, err = process.communicate(timeout=300)
    assert "Traceback" not in out + err, err
    return process.returncode, out + err


def close(root: Path) -> None:
    """Nothing in it may be written, nor anything added."""
    for path in (root, *root.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)


def opened(root: Path) -> None:
    for path in (root, *root.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    """A run that was just begun, closed like the folder that it is in."""
    run = make_run(tmp_path, images=2)
    run.describe(build.described(settings.load_preset("picturebook"), None), "now")
    close(tmp_path)
    yield tmp_path / "run"
    opened(tmp_path)


def test_it_can_be_looked_at(run: Path) -> None:
    code, said = grand("status", run, home=run.parent)
    assert code == 0 and "2 pending" in said


def test_nothing_is_begun_in_it(run: Path) -> None:
    code, said = grand("build", "--out", run, home=run.parent)
    assert code == 2 and CLOSED in said and "give --out another folder" in said


@pytest.mark.chaos
@pytest.mark.timeout(1200)
def test_a_build_needs_no_home(tmp_path: Path) -> None:
    pictures = sorted((ROOM / "examples" / "images").glob("*.png"))[:2]
    order = ["build", "--out", tmp_path / "run", "--until", "tags.siglip"]
    order += [word for path in pictures for word in ("--images", path)]
    (tmp_path / "home").mkdir()
    close(tmp_path / "home")
    code, said = grand(*order, home=tmp_path / "home", temporary=tmp_path)
    assert code == 1 and f"logs in '{tmp_path}'" in said, "too long a path for Ray's sockets"
    code, said = grand(*order, home=tmp_path / "home", temporary=Path("/tmp"))
    assert code == 0 and "2 annotated" in said, said


LOOKS: Sequence[tuple[str, ...]] = (
    ("status", "RUN"),
    ("status", "RUN", "--json"),
    ("verify", "RUN"),
    ("verify", "RUN", "--images"),
    ("stats", "RUN"),
    ("explain", "RUN", "IMAGE"),
    ("query", "RUN", "select count(*) from annotations"),
)
REFUSED: Sequence[tuple[str, ...]] = (
    ("build", "--out", "RUN"),
    ("rerun", "--run", "RUN", "fusion"),
    ("rerun", "--run", "RUN", "--failed"),
    ("repair", "RUN"),
    ("show", "RUN", "--limit", "1"),
    ("build", "--images", "RUN", "--out", "RUN/new", "--preset", "picturebook"),
)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_every_command_on_a_closed_run(world: Path, tmp_path: Path) -> None:
    root = tmp_path / "run"
    shutil.copytree(world / "run", root)
    image = next(iter(Run(root).images())).image_id
    close(tmp_path)
    try:
        given = {"RUN": str(root), "RUN/new": str(root / "new"), "IMAGE": image}
        for words in LOOKS:
            code, said = grand(*(given.get(w, w) for w in words), home=tmp_path)
            assert code == 0, said
        begun = os.times()
        for words in REFUSED:
            code, said = grand(*(given.get(w, w) for w in words), home=tmp_path)
            print(" ".join(words), code, said.strip().splitlines()[-1])
            assert code in (1, 2), said
            assert CLOSED in said or "make it writable for this user" in said
        used = sum(os.times()[2:4]) - sum(begun[2:4])
        print(f"{used / len(REFUSED):.2f} s of processor time each, that of starting included")
        assert used / len(REFUSED) < 3
        view = started("view", root, home=tmp_path)
        assert view.stdout is not None
        try:
            address = view.stdout.readline().split(" on ")[1].split()[0]
            with urllib.request.urlopen(address) as page:
                assert page.status == 200
        finally:
            view.kill()
            view.communicate()
    finally:
        opened(tmp_path)
