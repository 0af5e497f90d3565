"""Failed images are tried again, and nothing else is computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from grand_pipeline import build, fragments, lock, publication, retry, settings
from grand_pipeline.errors import TooManyFailedError, UserError
from grand_pipeline.plan import Plan, make_plan
from grand_pipeline.store import ANNOTATIONS, ERROR, Run
from grand_pipeline.verify import verify
from tests.fakes import Brightness, Caption, Graph, annotate_all, make_run
from tests.poisons import Fatal

BAD = "0001.png"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def plan_of(log: Path, once: Path | None = None) -> Plan:
    """Image 1 fails, with `once` only the first time that it is looked at."""
    if once is not None:
        once.mkdir()
    bad = Fatal(bad=((BAD, "raise"),), once=str(once or ""), batch_size=1, log=str(log))
    other = Brightness(source="other", log=str(log))
    return make_plan([bad, other, Caption(log=str(log), batch_size=8), Graph()])


def failed_once(tmp_path: Path, plan: Plan) -> Run:
    run = make_run(tmp_path, images=6, shard_size=3)
    annotate_all(run, plan)
    assert [len(row.errors) for row in run.annotations()] == [0, 1, 0, 0, 0, 0]
    return run


def take_out(run: Run, plan: Plan, key: str | None = None) -> int:
    with lock.hold(run.root):
        return retry.take_out_failed(run, plan, key)


def looked_at(log: Path, run: Run) -> dict[str, list[str]]:
    """Stage -> names of the pictures that it was given since the log was emptied."""
    names = {row.image_id: Path(row.uri).name for row in run.images()}
    found: dict[str, list[str]] = {}
    for line in log.read_text().splitlines() if log.exists() else ():
        key, _, ids = line.partition(" ")
        found.setdefault(key, []).extend(names[i] for i in ids.split(","))
    return found


def test_what_succeeds_is_published_and_no_neighbour_is_computed(tmp_path: Path, log: Path) -> None:
    plan = plan_of(log, tmp_path / "once")
    run = failed_once(tmp_path, plan)
    before = {path: path.stat().st_mtime_ns for path in run.root.rglob("*.parquet")}
    log.unlink()
    assert take_out(run, plan) == 1
    annotate_all(run, plan)
    assert looked_at(log, run) == {"brightness.fake": [BAD], "caption.fake": [BAD]}
    rows = list(run.annotations())
    assert [row.errors for row in rows] == [()] * 6
    assert [row.image_id for row in rows] == [row.image_id for row in run.images()]
    assert rows[1].captions[0].text.startswith("mean fake 2.67"), "made anew, with both votes"
    assert verify(run.root).whole
    changed = {p.parent.name + p.stem for p, then in before.items() if p.stat().st_mtime_ns != then}
    assert changed == {
        f"{name}00000" for name in ("brightness.fake", "caption.fake", "graph", ANNOTATIONS)
    }
    plain = make_run(tmp_path / "plain", images=6, shard_size=3)
    annotate_all(plain, make_plan([Brightness(), Brightness(source="other"), Caption(), Graph()]))
    for key in ("brightness.fake", "caption.fake", "graph"):
        assert content(run, key) == content(plain, key)


def content(run: Run, key: str) -> str:
    return (publication.metadata(run.fragment(key, "00000")) or {})["content"]


def test_what_fails_again_is_a_failure_again(tmp_path: Path, log: Path) -> None:
    plan = plan_of(log)
    run = failed_once(tmp_path, plan)
    log.unlink()
    take_out(run, plan)
    annotate_all(run, plan)
    assert looked_at(log, run) == {"caption.fake": [BAD]}
    assert [len(row.errors) for row in run.annotations()] == [0, 1, 0, 0, 0, 0]
    assert verify(run.root).whole


@pytest.mark.parametrize(("key", "count"), [("caption.fake", 0), ("brightness.fake", 1), (None, 1)])
def test_a_stage_can_be_named(tmp_path: Path, log: Path, key: str | None, count: int) -> None:
    plan = plan_of(log)
    run = failed_once(tmp_path, plan)
    assert take_out(run, plan, key) == count
    states = Counter(run.state(step.key, "00000", step.fingerprint) for step in plan.steps)
    assert states["stale"] == 3 * count


def test_until_it_is_done_the_images_are_pending(tmp_path: Path, log: Path) -> None:
    plan = plan_of(log)
    run = failed_once(tmp_path, plan)
    take_out(run, plan)
    errors = run.read("brightness.fake", "00000", [ERROR])[ERROR]
    assert errors == [None] * 3, "every row is there, the failed one without its error"
    assert verify(run.root).whole
    assert take_out(run, plan) == 0, "nothing is taken out twice"


def test_other_values_of_a_parent_make_the_rest_of_a_partial_fragment_useless(
    tmp_path: Path, log: Path
) -> None:
    plan = plan_of(log)
    run = failed_once(tmp_path, plan)
    take_out(run, plan)
    step = plan.step("caption.fake")
    assert fragments.kept(run, step, "00000").keys() == {0, 2}
    other = make_plan([Brightness(source="other", scale=2.0)]).steps[0]
    twin = replace(other, identity=plan.step("brightness.other").identity)
    run.discard(twin.key, "00000")
    annotate_all(run, Plan((twin,)))
    assert fragments.kept(run, step, "00000") == {}


def test_more_failed_images_than_allowed_are_an_error_with_their_number(
    tmp_path: Path, log: Path
) -> None:
    plan = plan_of(log)
    run = failed_once(tmp_path, plan)
    build.check_failed(run, plan, 1)
    for allowed in (None, 0):
        with pytest.raises(
            TooManyFailedError, match=r"1 images failed \(brightness.fake: 1\)"
        ) as stop:
            build.check_failed(run, plan, allowed)
        assert stop.value.exit_code == 3


REFUSALS: list[tuple[Callable[[settings.Tables], None], str | None, str]] = [
    (lambda tables: tables["tags.siglip"].update(top_k=3), None, "only options can be set"),
    (lambda tables: None, "nonsense", "no stage 'nonsense'"),
]


@pytest.mark.parametrize(("change", "key", "words"), REFUSALS)
def test_refusals_come_before_anything_is_touched(
    tmp_path: Path, change: Callable[[settings.Tables], None], key: str | None, words: str
) -> None:
    preset = settings.load_preset("picturebook")
    run = make_run(tmp_path)
    run.describe(build.described(preset, None), "now")
    changed = settings.override(preset, [])
    change(changed.tables)
    watch = build.Watcher(lambda name: None, lambda todo: None, lambda outcome: None)
    with pytest.raises(UserError, match=words):
        build.rerun_failed(run, key, build.Job(run.root, changed), watch)
