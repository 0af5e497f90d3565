"""Whatever changes under a run: only what depends on it is computed again, going back costs
nothing, and the status says why."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

import prompts
from grand_pipeline import accounts, build, ingest, lock, settings
from grand_pipeline.fragments import Result, commit_results
from grand_pipeline.plan import Plan, Step, make_plan
from grand_pipeline.reasons import PATHS, differences
from grand_pipeline.store import ANNOTATIONS, Run
from tests.fakes import Brightness, Caption, Graph, annotate_all, png
from tests.world import grand

IMAGES, SHARD = 6, 3
Calls = Counter[tuple[str, int]]


@dataclass(frozen=True, kw_only=True)
class Modelled(Brightness):
    """With weights and a prompt."""

    model: str = ""
    prompt: str = ""

    @property
    def prompts(self) -> tuple[str, ...]:
        return (self.prompt,) if self.prompt else ()


@dataclass(frozen=True, kw_only=True)
class Upgraded(Caption):
    """The same class in a later version of the package."""

    __module__, __qualname__ = Caption.__module__, "Caption"
    version: ClassVar[int] = 2


@dataclass(frozen=True)
class Bench:
    """A folder of pictures, a run of them, and the log of what stages were called for."""

    root: Path

    @property
    def pictures(self) -> Path:
        return self.root / "pictures"

    @property
    def run(self) -> Run:
        return Run(self.root / "run")

    @property
    def log(self) -> str:
        return str(self.root / "log")

    def plan(self, first: Brightness | None = None, second: Caption | None = None) -> Plan:
        """Brightness, its caption, and a graph of the caption."""
        return make_plan([first or self.brightness(), second or self.caption(), Graph()])

    def brightness(self, scale: float = 1.0) -> Brightness:
        return Brightness(log=self.log, scale=scale)

    def caption(self, word: str = "mean") -> Caption:
        return Caption(log=self.log, word=word)

    def modelled(self, model: Path) -> Plan:
        return self.plan(Modelled(log=self.log, model=str(model)))

    def ingest(self, shard_size: int = SHARD) -> None:
        build.add_images(self.run, [str(self.pictures)], shard_size)

    def build(self, plan: Plan | None = None) -> Calls:
        """Bring everything up to date; (step, how many images) of every call that this took."""
        log = Path(self.log)
        before = len(log.read_text().splitlines()) if log.exists() else 0
        annotate_all(self.run, plan or self.plan())
        lines = (line.split() for line in log.read_text().splitlines()[before:])
        return Counter((key, len(ids.split(","))) for key, ids in lines)

    def why(self, plan: Plan) -> dict[str, list[str]]:
        """Step -> why it is stale, of the stale ones."""
        report = accounts.report(self.run, plan, build.failed_images(self.run, plan))
        return {key: counts["why"] for key, counts in report["stages"].items() if "why" in counts}

    def uris(self) -> list[str]:
        """File names in the published rows."""
        return [Path(row.uri).name for row in self.run.annotations()]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Six pictures, annotated."""
    bench = Bench(tmp_path)
    bench.pictures.mkdir()
    for index in range(IMAGES):
        (bench.pictures / f"{index}.png").write_bytes(png(index))
    Run.create(bench.run.root, {"name": "fake", "description": "", "stages": {}})
    bench.ingest()
    assert bench.build() == {("brightness.fake", SHARD): 2, ("caption.fake", SHARD): 2}
    return bench


BELOW_CAPTION = {
    "graph": ["parent caption.fake changed"],
    ANNOTATIONS: ["parent caption.fake changed", "parent graph changed"],
}


def test_nothing_changed(bench: Bench) -> None:
    bench.ingest()
    assert bench.why(bench.plan()) == {}
    assert bench.build() == {}


def test_an_option(bench: Bench) -> None:
    changed = bench.plan(second=bench.caption("avg"))
    assert bench.why(changed) == {"caption.fake": ["option word: 'mean' -> 'avg'"], **BELOW_CAPTION}
    assert bench.build(changed) == {("caption.fake", SHARD): 2}
    assert bench.why(changed) == {}
    assert bench.build() == {}, "the first option's values were kept"


def test_an_option_of_the_first_stage_reaches_everything(bench: Bench) -> None:
    changed = bench.plan(bench.brightness(2.0))
    why = bench.why(changed)
    assert why["brightness.fake"] == ["option scale: 1.0 -> 2.0"]
    assert why["caption.fake"] == ["parent brightness.fake changed"]
    assert bench.build(changed) == {("brightness.fake", SHARD): 2, ("caption.fake", SHARD): 2}
    assert bench.build() == {}


def test_a_version_of_a_stage(bench: Bench) -> None:
    upgraded = bench.plan(second=Upgraded(log=bench.log))
    assert bench.why(upgraded) == {"caption.fake": ["version: 1 -> 2"], **BELOW_CAPTION}
    assert bench.build(upgraded) == {("caption.fake", SHARD): 2}
    assert bench.build() == {}


def test_a_weight_file_of_the_same_name_size_and_time(bench: Bench) -> None:
    weights = bench.root / "model.pth"
    weights.write_bytes(b"first")
    stamp = weights.stat()
    bench.build(bench.modelled(weights))
    weights.write_bytes(b"other")
    os.utime(weights, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    changed = bench.modelled(weights)
    assert bench.why(changed)["brightness.fake"] == [f"weights of {weights} changed"]
    assert bench.why(changed)["caption.fake"] == ["parent brightness.fake changed"]
    assert bench.build(changed) == {("brightness.fake", SHARD): 2, ("caption.fake", SHARD): 2}
    weights.write_bytes(b"first")
    assert bench.build(bench.modelled(weights)) == {}


def test_weights_that_have_gone(bench: Bench) -> None:
    weights = bench.root / "folder"
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(b"first")
    bench.build(bench.modelled(weights))
    shutil.move(weights, bench.root / "elsewhere")
    gone = bench.why(bench.modelled(weights))["brightness.fake"]
    assert gone == [f"weights of {weights} are not on this machine"]
    shutil.move(bench.root / "elsewhere", weights)
    assert bench.build(bench.modelled(weights)) == {}


PROMPTED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import prompts
from tests.test_drift import Bench, Modelled
assert prompts.FOLDER == Path(sys.argv[2]) / "prompts"
bench = Bench(Path(sys.argv[1]))
plan = lambda: bench.plan(Modelled(log=bench.log, prompt="context/default"))
bench.build(plan())
file = prompts.FOLDER / "context" / "default" / "system.txt"
before = file.read_text()
file.write_text(before + "Be brief.")
why = bench.why(plan())
assert why["brightness.fake"] == ["prompt context/default changed"], why
assert sum(bench.build(plan()).values()) == 4
file.write_text(before)
assert bench.build(plan()) == {}
print("ok")
"""


def test_a_prompt(bench: Bench) -> None:
    shutil.copytree(prompts.FOLDER, bench.root / "copy" / "prompts")
    command = [sys.executable, "-c", PROMPTED, str(bench.root), str(bench.root / "copy")]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)
    assert done.stdout == "ok\n", done.stderr


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


def test_a_stage_more_and_a_stage_less(bench: Bench) -> None:
    both = make_plan([*(step.stage for step in bench.plan().steps), Brightness(source="b")])
    why = bench.why(both)
    assert why["caption.fake"] == ["parent brightness.b added"]
    assert "parent brightness.b added" in why[ANNOTATIONS]
    bench.build(both)
    assert bench.why(bench.plan())["caption.fake"] == ["parent brightness.b no longer used"]
    assert bench.build() == {}


def test_long_lists_are_told_by_what_came_and_went() -> None:
    def identity(words: list[str]) -> str:
        return make_plan([Brightness(poison=tuple(words))]).steps[0].identity

    words = [f"word{n}" for n in range(400)]
    (line,) = differences(identity(words), identity([*words[1:], "dog"]))
    assert line == "option poison: 400 -> 400 items, with 'dog', without 'word0'"
    (line,) = differences(identity(words), identity(words[:300]))
    assert line == (
        "option poison: 400 -> 300 items, without 'word300', 'word301', 'word302' and 97 more"
    )
    (line,) = differences(identity(words), identity(words[::-1]))
    assert line.startswith("option poison: 400 -> 400 items, in another order")


def test_the_command_says_why(bench: Bench) -> None:
    preset = settings.load_preset("picturebook")
    run = bench.run
    Run.create(run.root, build.described(preset, "tags.siglip"))
    before = build.resolved_plan(
        settings.override(preset, ["tags.siglip.threshold=0.9"]), "tags.siglip"
    )
    for step in before.steps:
        commit_nothing(run, step)
    picture = bench.pictures / "0.png"
    picture.unlink()
    told = grand("status", run.root)
    assert "stale: tags.siglip: option threshold: 0.9 -> " in told
    assert f"departed: {picture}: is gone" in told
    assert "6 found" in told
    assert '"what": "is gone' in grand("status", run.root, "--json")


def commit_nothing(run: Run, step: Step) -> None:
    """Fragments without values."""
    with lock.hold(run.root) as token:
        for shard in run.shards():
            rows = run.shard_images(shard)
            nothing = [Result(None, error="nothing") for _ in rows]
            commit_results(run, step, shard, rows, nothing, token)
