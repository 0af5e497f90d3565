"""Whatever changes of the stages: only what depends on it is computed again, going back costs
nothing, and the status says why."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import prompts
from grand_pipeline import build, lock, settings
from grand_pipeline.fragments import Result, commit_results
from grand_pipeline.plan import Step, make_plan
from grand_pipeline.reasons import differences
from grand_pipeline.store import ANNOTATIONS, Run
from tests.drift.bench import SHARD, Bench
from tests.fakes import Brightness, Caption
from tests.world import grand

BELOW_CAPTION = {
    "graph": ["parent caption.fake changed"],
    ANNOTATIONS: ["parent caption.fake changed", "parent graph changed"],
}


@dataclass(frozen=True, kw_only=True)
class Upgraded(Caption):
    """The same class in a later version of the package."""

    __module__, __qualname__ = Caption.__module__, "Caption"
    version: ClassVar[int] = 2


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
from tests.drift.bench import Bench, Modelled
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
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)
    assert done.stdout == "ok\n", done.stderr


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
