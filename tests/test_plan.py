from __future__ import annotations

import time

import pytest

from grand_pipeline import plan_view
from grand_pipeline.errors import PlanError
from grand_pipeline.plan import (
    Plan,
    check_fits,
    feasible,
    make_plan,
    without_gpus,
)
from grand_pipeline.stage import Resources
from tests.fakes import Brightness, Caption, Graph


def fake_plan(brightness: Brightness | None = None, caption: Caption | None = None) -> Plan:
    return make_plan([Graph(), caption or Caption(), brightness or Brightness()])


def fingerprints(plan: Plan) -> dict[str, str]:
    return {step.key: step.fingerprint for step in plan.steps}


def test_order_follows_columns_not_the_list() -> None:
    assert [s.key for s in fake_plan().steps] == ["brightness.fake", "caption.fake", "graph"]
    assert fake_plan().step("caption.fake").parents == ("brightness.fake",)


def test_family_read_takes_every_member() -> None:
    plan = make_plan([Caption(), Brightness(), Brightness(source="other")])
    assert plan.step("caption.fake").parents == ("brightness.fake", "brightness.other")


def test_option_changes_the_stage_and_its_descendants_only() -> None:
    before = fingerprints(fake_plan())
    after = fingerprints(fake_plan(caption=Caption(word="average")))
    assert before["brightness.fake"] == after["brightness.fake"]
    assert before["caption.fake"] != after["caption.fake"]
    assert before["graph"] != after["graph"]


def test_batch_size_and_resources_are_not_part_of_the_fingerprint() -> None:
    other = Brightness(batch_size=99, resources=Resources(gpus=3), device="cuda")
    assert fingerprints(fake_plan(other)) == fingerprints(fake_plan())


def test_unmet_read_lists_what_is_written() -> None:
    with pytest.raises(PlanError, match=r"'graph' reads column 'captions.fake'.*tags\.fake"):
        make_plan([Graph(), Brightness()])


def test_two_writers_are_refused() -> None:
    with pytest.raises(PlanError, match=r"'tags\.fake' has two writers"):
        make_plan([Brightness(), Brightness(scale=2.0)])


def test_until_keeps_what_is_needed_and_unknown_names_are_suggested() -> None:
    stages = [Graph(), Caption(), Brightness()]
    plan = make_plan(stages, until="caption.fake")
    assert [step.key for step in plan.steps] == ["brightness.fake", "caption.fake"]
    assert plan.step("caption.fake") == make_plan(stages).step("caption.fake")
    with pytest.raises(PlanError, match=r"no stage 'grph'.*'graph'"):
        make_plan(stages, until="grph")


def test_descendants_in_plan_order() -> None:
    assert fake_plan().descendants("caption.fake") == ("caption.fake", "graph")


def test_plan_that_can_not_fit_is_refused_at_once_with_a_table() -> None:
    plan = fake_plan(Brightness(resources=Resources(cpus=2, gpus=4)))
    begun = time.monotonic()
    with pytest.raises(PlanError, match=r"(?s)brightness\.fake +2 +4.*node 0 +8 +1"):
        check_fits(plan, [Resources(8, 1, 64)])
    assert time.monotonic() - begun < 1
    check_fits(plan, [Resources(8, 1, 64), Resources(8, 4, 64)])


def test_views_name_every_stage_and_edge() -> None:
    plan = fake_plan()
    assert '"caption.fake" -> "graph" [label="captions.fake"]' in plan_view.dot(plan)
    assert "s0 --> s1" in plan_view.mermaid(plan)
    assert [row["stage"] for row in plan_view.rows(plan)] == [step.key for step in plan.steps]


def test_stages_that_can_not_work_are_left_out_with_what_needs_them() -> None:
    kept, unmet = feasible([Graph(), Caption(), Brightness()])
    assert len(kept) == 3 and unmet == {}
    kept, unmet = feasible([Graph(), Caption()])
    assert (kept, unmet) == ((), {"caption.fake": "tags", "graph": "captions.fake"})


def test_a_gpu_that_is_only_wished_for_is_left_out_where_there_is_none() -> None:
    wish, need = Resources(gpus=1.0, cpu_will_do=True), Resources(gpus=1.0)
    plan = make_plan([Graph(), Caption(resources=need), Brightness(resources=wish)])
    bare, rich = Resources(cpus=4, memory_gb=8), Resources(cpus=4, gpus=1, memory_gb=8)
    assert without_gpus(plan, [bare, rich]) is plan, "one node with a GPU is enough"
    fitted = without_gpus(plan, [bare])
    asked = {step.key: step.stage.resources.gpus for step in fitted.steps}
    assert asked == {"brightness.fake": 0.0, "caption.fake": 1.0, "graph": 0.0}
    assert fingerprints(fitted) == fingerprints(plan)
    with pytest.raises(PlanError, match=r"stage caption\.fake"):
        check_fits(fitted, [bare])
