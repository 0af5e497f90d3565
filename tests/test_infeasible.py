"""What can not work is refused at once, before any work, with what to do about it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from grand_pipeline import cli
from grand_pipeline.errors import PlanError
from grand_pipeline.plan import check_fits, make_plan
from grand_pipeline.stage import Resources
from tests.fakes import Brightness, png

SECONDS = 1.0
"""Longest time for a refusal, of this process and after imports."""


@dataclass(frozen=True)
class Case:
    """A command that can not work. FOLDER stands for a folder with a picture and a file."""

    name: str
    arguments: Sequence[str]
    says: Sequence[str]
    unless: str = ""
    """A package with which it could work."""
    offline: bool = False


def asked(name: str, option: str, *says: str, unless: str = "", offline: bool = False) -> Case:
    return Case(name, ("--preset", "picturebook", "--set", option), says, unless, offline)


CASES = (
    asked(
        "gpu",
        "depth.resources.gpus=99",
        "no node can hold",
        "stage depth",
        "--set depth.resources.gpus=",
    ),
    asked("cpus", "depth.resources.cpus=9999", "--set depth.resources.cpus="),
    asked("memory", "depth.resources.memory_gb=99999", "--set depth.resources.memory_gb="),
    Case("before pictures are opened", ("--set", "depth.resources.gpus=99"), ["no node can hold"]),
    Case("file system", ("--images", "foo://bucket"), ["Protocol not known: foo", "Available: "]),
    Case("package of a file system", ("--images", "oci://b@n/x"), ["pip", "oci"], "ocifs"),
    Case("s3", ("--images", "s3://b/x"), ["pip install 'grand-pipeline[s3]'"], "s3fs"),
    asked(
        "extra for SAM",
        "masks.model='/x/sam_vit_h_4b8939.pth'",
        "masks: extra segment-anything",
        "pip install 'grand-pipeline[segment-anything]'",
        unless="segment_anything",
    ),
    asked(
        "extra for open_clip",
        "tags.siglip.model='open_clip:timm/eva02'",
        "tags.siglip: extra open-clip",
        "pip install 'grand-pipeline[open-clip]'",
        unless="open_clip",
    ),
    asked("weights", "depth.model='/absent/depth'", "depth: /absent/depth", "give a file"),
    asked("shipped weights", "depth.model='embedded:dept'", "Did you mean 'depth'"),
    asked(
        "weights of the hub",
        "depth.model='owner/absent'",
        "depth: owner/absent",
        "grand models pull",
        offline=True,
    ),
    Case("cluster", ("--address", "127.0.0.1:1"), ["no Ray cluster at", "give --address auto"]),
    Case("object store", ("--out", "gs://bucket/run"), ["s3://BUCKET/NAME", "names gs"]),
    Case("out is a file", ("--out", "FOLDER/file"), ["is a file", "give --out another"]),
    Case("out is in a file", ("--out", "FOLDER/file/run"), ["is a file", "give --out another"]),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "0.png").write_bytes(png(0))
    (tmp_path / "file").write_text("mine")
    return tmp_path


def command(case: Case, folder: Path) -> list[str]:
    """The whole command; what the case does not name is in order."""
    given = [text.replace("FOLDER", str(folder)) for text in case.arguments]
    rest = [] if "--images" in given else ["--images", str(folder / "pictures")]
    rest += [] if "--out" in given else ["--out", str(folder / "run")]
    rest += [] if "--preset" in given or "--set" in given else ["--preset", "picturebook"]
    return ["build", *given, *rest]


def feasible(case: Case) -> bool:
    return bool(case.unless and importlib.util.find_spec(case.unless))


@pytest.mark.parametrize("case", [c for c in CASES if not c.offline], ids=lambda case: case.name)
def test_it_is_refused_with_the_remedy_and_nothing_is_begun(
    case: Case, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if feasible(case):
        pytest.skip(f"{case.unless} is installed")
    before = sorted(folder.rglob("*"))
    with pytest.raises(SystemExit) as stopped:
        cli.main(command(case, folder))
    printed = capsys.readouterr()
    assert stopped.value.code == 2
    for words in case.says:
        assert words in printed.err
    assert "Traceback" not in printed.err + printed.out
    assert sorted(folder.rglob("*")) == before
    assert not Path("s3:").exists()


def test_a_refusal_is_quick(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = [case for case in CASES if case.name in ("gpu", "file system", "weights")]
    for timed in (False, True):  # The first round imports.
        for case in cases:
            begun = time.process_time()
            with pytest.raises(SystemExit):
                cli.main(command(case, folder))
            assert not timed or time.process_time() - begun < SECONDS
    capsys.readouterr()


def test_the_node_that_comes_nearest_says_what_to_ask() -> None:
    plan = make_plan([Brightness(resources=Resources(cpus=2, gpus=1, memory_gb=80))])
    big, quick = Resources(cpus=64, memory_gb=70.36), Resources(cpus=4, gpus=2, memory_gb=64.28)
    with pytest.raises(PlanError, match=r"--set brightness\.fake\.resources\.memory_gb=64\.2$"):
        check_fits(plan, [big, quick])
    with pytest.raises(PlanError, match=r"resources\.gpus=0 --set .*\.memory_gb=70\.3$"):
        check_fits(plan, [big])


def cpu_seconds(arguments: Sequence[str]) -> tuple[int, float, str]:
    """Exit code, CPU seconds and messages of `grand` in a process of its own, without a hub."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": "/absent"}
    code = "import sys; from grand_pipeline import cli; cli.main(sys.argv[1:])"
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=Path(__file__).parents[1],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stderr is not None
        said = child.stderr.read()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    return child.returncode, used.ru_utime + used.ru_stime, said


@pytest.mark.chaos
def test_every_refusal_takes_less_than_a_second_more_than_help(folder: Path) -> None:
    # CPU time, so that what else the machine does is not counted; the least of three helps.
    start = min(cpu_seconds(["--help"])[1] for _ in range(3))
    for case in CASES:
        if not feasible(case):
            code, seconds, said = cpu_seconds(command(case, folder))
            print(f"{case.name}: {seconds - start:.2f} s")
            assert (code, all(words in said for words in case.says)) == (2, True), said
            assert seconds - start < SECONDS, case.name
