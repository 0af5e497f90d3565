from __future__ import annotations

from pathlib import Path

import pytest

import prompts
from grand_pipeline.errors import SettingsError

FIELDS = {
    "feedback": ("graph", "draft", "faults"),
    "feedback/witness": ("claim",),
    "landmark": ("options",),
}
"""Fields of a prompt, or of the prompts of a stage, where they are not the scene graph alone."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A prompt `greet/short` with two fields and one example, in a library of its own."""
    place = tmp_path / "greet" / "short"
    place.mkdir(parents=True)
    (place / "system.txt").write_text("Greet.\n")
    (place / "user.txt").write_text("{name} of {town}, {name}! {Not a field} {}\n")
    (place / "examples.toml").write_text(
        '[[example]]\nname = "Ida"\ntown = "Ulm"\nanswer = "Hello Ida"\n'
    )
    monkeypatch.setattr(prompts, "FOLDER", tmp_path)
    prompts.load.cache_clear()
    return place


def test_examples_become_turns_and_fields_are_filled(folder: Path) -> None:
    messages = prompts.render(prompts.load("greet/short"), name="Max", town="{name}")
    assert messages == [
        {"role": "system", "content": "Greet."},
        {"role": "user", "content": "Ida of Ulm, Ida! {Not a field} {}"},
        {"role": "assistant", "content": "Hello Ida"},
        {"role": "user", "content": "Max of {name}, Max! {Not a field} {}"},
    ]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "A"}, r"missing \['town'\]"),
        ({"name": "A", "town": "B", "age": "9"}, r"\['age'\]"),
    ],
)
def test_missing_and_unknown_fields_are_named(
    folder: Path, fields: dict[str, str], said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        prompts.render(prompts.load("greet/short"), **fields)


@pytest.mark.parametrize(
    ("examples", "said"),
    [
        ('[[example]]\nname = "Ida"\nanswer = "x"\n', r"missing \['town'\]"),
        ('[[example]]\nname = "Ida"\ntown = "Ulm"\n', "no 'answer'"),
    ],
)
def test_incomplete_examples_are_refused(folder: Path, examples: str, said: str) -> None:
    (folder / "examples.toml").write_text(examples)
    with pytest.raises(SettingsError, match=said):
        prompts.load("greet/short")


def test_missing_files_and_unknown_names_are_refused(folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"Did you mean 'greet/short'"):
        prompts.load("greet/shot")
    (folder / "system.txt").unlink()
    with pytest.raises(SettingsError, match=r"lacks system\.txt"):
        prompts.digest("greet/short")


@pytest.mark.parametrize("file", prompts.FILES)
def test_any_change_of_a_file_changes_the_digest(folder: Path, file: str) -> None:
    before = prompts.digest("greet/short")
    assert prompts.digest("greet/short") == before
    (folder / file).write_text((folder / file).read_text() + "\n")
    assert prompts.digest("greet/short") != before


@pytest.mark.parametrize("name", prompts.available())
def test_every_prompt_of_the_project_renders_its_fields(name: str) -> None:
    prompt = prompts.load(name)
    assert prompt.fields == FIELDS.get(name, FIELDS.get(name.partition("/")[0], ("graph",)))
    messages = prompts.render(prompt, **{field: field.upper() for field in prompt.fields})
    assert all(field.upper() in messages[-1]["content"] for field in prompt.fields)
    assert [m["role"] for m in messages[1:-1]] == ["user", "assistant"] * len(prompt.examples)
    assert prompt.examples or "graph" not in prompt.fields


@pytest.mark.parametrize("name", [n for n in prompts.available() if n.startswith("dense")])
def test_examples_refer_to_objects_of_their_graph_only(name: str) -> None:
    from grand_pipeline.structured import read

    for example in prompts.load(name).examples:
        graph = dict(example.fields)["graph"]
        answer = read(example.answer)
        ids = {i for piece in answer.marked for i in piece.ids or ()}
        assert answer.clean and ids
        assert all(f"[{i}]" in graph for i in ids)
