"""The presets for photographs: complete plans, known models, licences; run with tiny checkpoints
of the architectures that they name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from grand_pipeline import build, lock, plan_view, settings
from grand_pipeline.annotations import publish_shard
from grand_pipeline.columns import Annotation
from grand_pipeline.plan import Plan, make_plan
from grand_pipeline.store import Run
from grand_pipeline.worker import annotate_shard
from grand_pipeline.zoo import MODELS, query
from tests.tiny import chats, checkpoints, depth, detectors, masks, towers, vlms
from tests.tiny.checkpoints import Builder, checkpoint

PERMISSIVE = {"Apache-2.0", "MIT", "BSD-3-Clause"}
PHOTOGRAPHS = ("open", "open_large", "grand")
GPU_GB = 16.0

TINY: dict[str, Builder] = {
    "SiglipModel": towers.siglip2,
    # The package open_clip is an extra; a CLIP of transformers is given instead.
    "CustomTextCLIP": checkpoints.clip,
    "OwlViTForObjectDetection": checkpoints.owl_vit,
    "Owlv2ForObjectDetection": checkpoints.owlv2,
    "GroundingDinoForObjectDetection": detectors.grounding_dino,
    "MMGroundingDinoForObjectDetection": detectors.mm_grounding_dino,
    "DFineForObjectDetection": detectors.d_fine,
    "DepthAnythingForDepthEstimation": depth.depth_anything,
    "DPTForDepthEstimation": depth.dpt_beit,
    "SamModel": masks.sam,
    "SamHQModel": masks.sam_hq,
    "Sam2Model": masks.sam2,
    "BlipForConditionalGeneration": checkpoints.blip,
    "Blip2ForConditionalGeneration": vlms.blip2,
    "Florence2ForConditionalGeneration": vlms.florence2,
    "Kosmos2ForConditionalGeneration": vlms.kosmos2,
    "LlavaForConditionalGeneration": checkpoints.llava,
    "Qwen3VLForConditionalGeneration": vlms.qwen3_vl,
    # What matters to the stages is the chat template and not the kind of layers.
    "Qwen3ForCausalLM": chats.long_llama,
    "LlamaForCausalLM": chats.long_llama,
}
"""Architecture of the model table -> a tiny checkpoint of it."""

ANY_ANSWER = '["stop", "length", "repeated", "empty", "wrong language", "invalid JSON"]'


def plan_of(name: str) -> Plan:
    return make_plan(settings.stages(settings.load_preset(name)))


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_every_model_is_in_the_table(name: str) -> None:
    steps = plan_of(name).steps
    named = {model for step in steps for model in step.stage.models}
    assert named and {model for model in named if query.known(model) is None} == set()
    assert {row.stage for row in plan_view.models(plan_of(name))} == {
        step.key for step in steps if step.stage.models
    }


@pytest.mark.parametrize("name", ["open", "open_large"])
def test_open_models_are_permissive_read_and_fit_one_gpu(name: str) -> None:
    rows = plan_view.models(plan_of(name))
    assert {row.licence for row in rows} <= PERMISSIVE
    assert [row.model for row in rows if row.licence_read is None] == []
    assert [row.stage for row in rows if (row.gpu_memory_gb or 0.0) > GPU_GB] == []


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_a_gpu_is_asked_for_where_there_is_a_model_and_can_be_missed(name: str) -> None:
    for step in plan_of(name).steps:
        runs = step.stage.models not in ((), ("en_core_web_sm",))
        asked = step.stage.resources
        assert (asked.gpus, asked.cpu_will_do) == ((1.0, True) if runs else (0.0, False)), step.key


@pytest.mark.parametrize(
    ("name", "rounds"), [("open", 2), ("open_large", 2), ("grand", 2), ("picturebook", 0)]
)
def test_the_feedback_loop_is_on_for_photographs(name: str, rounds: int) -> None:
    assert plan_of(name).step("dense_caption").stage.options()["rounds"] == rounds


def test_every_substitution_of_grand_names_a_stage_and_a_reason() -> None:
    preset = settings.load_preset("grand")
    missing = ("Co-DETR", "EVA-02", "POMP", "OV-SAM", "GRiT", "GPT4RoI", "MDETR", "RAM", "SA-1B")
    for model in missing:
        assert any(model in one.model for one in preset.substitutions), model
    for one in preset.substitutions:
        assert one.reason and (one.by == "" or one.by in preset.tables), one


def test_what_grand_s_own_models_predicted_keeps_its_thresholds() -> None:
    from stages.level1.grand_v1_fusion import GrandV1Fusion

    stage = plan_of("grand").step("grand_v1_fusion").stage
    assert isinstance(stage, GrandV1Fusion)
    theirs = GrandV1Fusion()
    assert set(theirs.thresholds) <= set(stage.thresholds)
    assert set(theirs.person_thresholds) <= set(stage.person_thresholds)
    assert set(theirs.single_person) <= set(stage.single_person)
    assert [name for name in stage.order if name in theirs.order] == list(theirs.order)
    rows = {name for name, _ in stage.thresholds} - {name for name, _ in theirs.thresholds}
    detections = {w for step in plan_of("grand").steps for w in step.writes if "detections" in w}
    assert {f"detections.{name}" for name in rows} <= detections


def test_words_are_lists_without_repetition() -> None:
    tables = settings.load_preset("open").tables
    words = tables["open_detection.owlv2"]["queries"]
    assert len(words) == len(set(words)) > 600
    assert all(word == word.strip().lower() for word in words)
    assert tables["tags.siglip2"]["vocabulary"] == words
    assert set(tables["fusion"]["stuff"]) < set(words)


def test_licences_were_read_for_models_of_the_table_only() -> None:
    from grand_pipeline.zoo.licences import SEEN

    assert set(SEEN) <= {model.hub_id for model in MODELS}


def replaced(name: str) -> settings.Preset:
    """The preset with tiny checkpoints, small grids, short answers, and thresholds that boxes of
    models without knowledge pass."""
    preset = settings.load_preset(name)
    chosen: list[str] = []
    for stage in settings.stages(preset):
        for model in stage.models:
            row = query.known(model)
            assert row is not None
            spacy = row.architecture == "spacy.Language"
            folder = "embedded:spacy" if spacy else checkpoint(TINY[row.architecture])
            chosen.append(f'{stage.key}.model="{folder}"')
        options = preset.tables[stage.key]
        if "detection" in stage.key or "grounding." in stage.key:
            chosen += [f"{stage.key}.threshold=0.0", f"{stage.key}.max_boxes=6"]
        if "queries" in options:
            chosen.append(f'{stage.key}.queries=["dog", "cat", "sky"]')
        if "max_new_tokens" in stage.options():
            chosen.append(f"{stage.key}.max_new_tokens=6")
        if "attempts" in stage.options():
            chosen += [f"{stage.key}.attempts=1", f"{stage.key}.accept={ANY_ANSWER}"]
    chosen += ["segments.points_per_side=2", "tags.siglip2.threshold=0.0", "tags.siglip2.top_k=3"]
    chosen.append('tags.siglip2.vocabulary=["dog", "cat", "sky"]')
    low = "[" + ", ".join(f'["{s}", 0.0]' for s in preset_sources(preset)) + "]"
    fusing = "grand_v1_fusion" if "grand_v1_fusion" in preset.tables else "fusion"
    floor = "floor" if fusing == "grand_v1_fusion" else "threshold"
    chosen += [f"{fusing}.thresholds={low}", f"{fusing}.{floor}=0.0"]
    return settings.override(preset, chosen)


def preset_sources(preset: settings.Preset) -> list[str]:
    return [key.partition(".")[2] for key in preset.tables if "detection." in key]


def pictures(folder: Path) -> Path:
    """A noisy one, a tall grey one, one of the smallest that are read."""
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "noise.png")
    Image.new("L", (20, 60), 128).save(folder / "grey.png")
    Image.new("RGB", (8, 8), (200, 20, 20)).save(folder / "dot.png")
    return folder


def built(preset: settings.Preset, root: Path) -> tuple[Plan, dict[str, Annotation]]:
    """Compute every stage in this process, as workers do; published rows by file name."""
    plan = make_plan(settings.stages(preset))
    run = Run.create(root / "run", build.described(preset, None))
    build.add_images(run, [str(pictures(root / "images"))], 16)
    with lock.hold(run.root) as token:
        for step in plan.steps:
            annotate_shard(run, step, step.stage.load("cpu"), "00000", token)
        publish_shard(run, plan, "00000", token)
    return plan, {Path(row.uri).name: row for row in run.annotations()}


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "name", ["open", "grand", pytest.param("open_large", marks=pytest.mark.slow)]
)
def test_tiny_models_of_every_architecture_annotate_images(name: str, tmp_path: Path) -> None:
    plan, rows = built(replaced(name), tmp_path)
    assert {step.key for step in plan.steps} == set(settings.load_preset(name).tables)
    assert set(rows) == {"noise.png", "grey.png", "dot.png"}
    for file, row in rows.items():
        assert row.errors == (), (file, row.errors)
        assert row.tags and row.landmark is not None and row.scene_graph is not None
        assert len(row.captions) == 2 and row.dense_caption is not None and row.context is not None
    noise = rows["noise.png"]
    assert noise.objects
    assert all(one.label and one.votes and one.mask is not None for one in noise.objects)
