"""Damaged pictures by the ten thousand, and the largest ones, in processes that may die of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import bombs
from tests.chaos import corpus
from tests.test_guard import weighed

pytestmark = pytest.mark.chaos

FILES = 40_000
PROCESSES = 4


@pytest.mark.parametrize("part", range(PROCESSES))
def test_damaged_files_are_pictures_or_have_a_reason(tmp_path: Path, part: int) -> None:
    """No crash, no hang, no other exception, nothing on stderr, no growing memory."""
    each = FILES // PROCESSES
    note = tmp_path / "at"
    note.write_text("")
    command = [sys.executable, "-m", "tests.chaos.corpus", str(part * each), str((part + 1) * each)]
    done = subprocess.run([*command, str(note)], capture_output=True, text=True, timeout=1800)
    where = f"at file {note.read_text()} of the corpus"
    assert (done.returncode, done.stderr) == (0, ""), where
    found = json.loads(done.stdout)
    print(part, found)
    assert 0.05 * each < found["pictures"] < 0.95 * each, "the damage is too much or too little"
    assert found["grown_mb"] < 50
    assert found["longest"] < 5


def test_every_seed_is_damaged_in_many_ways() -> None:
    """The corpus is the same every time, and hardly any two files are equal."""
    names = sorted(corpus.seeds())
    files = [corpus.damaged(number) for number in range(2000)]
    assert files[:50] == [corpus.damaged(number) for number in range(50)]
    assert [name for name, _ in files[: len(names)]] == names
    assert len({data for _, data in files}) > 1900


def test_what_ingest_finds_readable_no_stage_fails_on(tmp_path: Path) -> None:
    found = corpus.accounted_for(tmp_path, 2000)
    print(found)
    assert found.pop("found") == 2020 == sum(found.values())
    assert (found["failed"], found["pending"]) == (0, 0)
    assert found["annotated"] > 300
    assert found["duplicate"] >= 20


def test_the_largest_pictures_alone_and_at_once(tmp_path: Path) -> None:
    """Eight threads ask for them; the memory stays that of the one that takes the most."""
    folder = tmp_path / "largest"
    folder.mkdir()
    for name, make in bombs.LARGEST.items():
        (folder / name).write_bytes(make())
    alone = {file.name: weighed([file], 8000)[file.name] for file in sorted(folder.iterdir())}
    together = weighed([folder], 8000)["largest"]
    print({name: round(one["mb"]) for name, one in alone.items()}, together)
    size = f"{bombs.SIDE} x {bombs.SIDE}"
    assert {one["came"] for one in (*alone.values(), together)} == {size}
    most = max(one["mb"] for one in alone.values())
    assert most < 3000
    assert together["mb"] < most + 300
