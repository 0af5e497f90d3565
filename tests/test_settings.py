from __future__ import annotations

from pathlib import Path

import pytest

from grand_pipeline import settings
from grand_pipeline.errors import PlanError, SettingsError
from grand_pipeline.picturebook import vocabulary
from grand_pipeline.plan import make_plan
from grand_pipeline.stage import Resources


def preset_of(text: str, folder: Path) -> settings.Preset:
    path = folder / "mine.toml"
    path.write_text(text)
    return settings.load_preset(str(path))


@pytest.mark.parametrize("name", settings.preset_names())
def test_every_packaged_preset_is_a_plan(name: str) -> None:
    preset = settings.load_preset(name)
    plan = make_plan(settings.stages(preset))
    assert {step.key for step in plan.steps} == set(preset.tables)
    assert {step.stage.level for step in plan.steps} == {1, 2, 3, 4}
    assert preset.description


def test_picturebook_words_are_those_of_the_world() -> None:
    tables = settings.load_preset("picturebook").tables
    words = [*vocabulary.THINGS, *vocabulary.STUFF]
    assert tables["open_detection.owl_vit"]["queries"] == words
    assert tables["tags.siglip"]["vocabulary"] == [*words, *vocabulary.SCENES]
    assert tables["attributes.siglip"]["words"] == list(vocabulary.COLORS)


def test_overrides_reach_family_tables_and_nested_values(tmp_path: Path) -> None:
    preset = preset_of("[fusion]\n[open_detection.a]\nmodel = 'x/y'\nqueries = ['a']\n", tmp_path)
    changed = settings.override(
        preset,
        [
            "open_detection.a.threshold=0.25",
            "fusion.resources.cpus=2",
            "open_detection.a.model=m/n",
        ],
    )
    fusion, detector = settings.stages(changed)
    assert fusion.resources == Resources(cpus=2.0)
    assert detector.key == "open_detection.a"
    assert detector.options()["threshold"] == 0.25
    assert detector.models == ("m/n",)
    assert preset.tables["fusion"] == {}, "the original is left alone"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[fusoin]\n", r"no stage is called 'fusoin'\. Did you mean 'fusion'\?"),
        ("[fusion]\ngroup_iuo = 0.5\n", r"'fusion' has no option 'group_iuo'.*'group_iou'"),
        ("[fusion]\ngroup_iou = 'high'\n", r"'group_iou' of stage 'fusion' must be float"),
        ("[fusion]\nmax_floating = true\n", r"'max_floating' .* must be int, not True"),
        ("[open_detection]\nthreshold = 0.1\n", r"one table per source: write \[open_detection"),
        ("[masks]\nprefer = 'best'\n", r"can not be 'best'.*Available: auto, prompt"),
        ("[fusion\n", "not valid TOML"),
        ("[fusion]\nstuff = '$stuf'\n[lists]\nstuff = ['sky']\n", r"no list 'stuf'.*'stuff'"),
        ("[tags.a]\n", "needs a value for option 'vocabulary'"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        settings.stages(preset_of(text, tmp_path))


def test_substitutions_are_data_of_the_preset(tmp_path: Path) -> None:
    head = "[[preset.substitutions]]\nmodel = 'A'\nby = 'fusion'\n"
    preset = preset_of(head + "reason = 'gone'\n[fusion]\n", tmp_path)
    assert preset.substitutions == (settings.Substitution("A", "fusion", "gone"),)
    with pytest.raises(SettingsError, match=r"a substitution of .* needs a value for .*'reason'"):
        preset_of(head + "[fusion]\n", tmp_path)


@pytest.mark.parametrize("assignment", ["fusion", "nothing.at=1", "fusion=1"])
def test_unreadable_assignments_are_refused(tmp_path: Path, assignment: str) -> None:
    with pytest.raises(SettingsError, match=r"expected stage\.option=value"):
        settings.override(preset_of("[fusion]\n", tmp_path), [assignment])


def test_unknown_presets_are_suggested() -> None:
    with pytest.raises(SettingsError, match=r"'picturebok'.*Did you mean 'picturebook'"):
        settings.load_preset("picturebok")
    with pytest.raises(SettingsError, match="does not exist"):
        settings.load_preset("absent.toml")


def test_an_option_that_names_an_absent_source_is_refused(tmp_path: Path) -> None:
    text = "[open_detection.a]\nqueries = ['dog']\nmodel = 'x/y'\n[fusion]\n"
    assert make_plan(settings.stages(preset_of(text + "thresholds = [['a', 0.3]]", tmp_path)))
    with pytest.raises(PlanError, match=r"'fusion' reads column 'detections\.b'.*detections\.a"):
        make_plan(settings.stages(preset_of(text + "thresholds = [['b', 0.3]]", tmp_path)))
