from __future__ import annotations

from pathlib import Path

import pytest

from grand_pipeline import listfiles, settings
from grand_pipeline.errors import SettingsError
from grand_pipeline.plan import make_plan


def test_lines_are_items(tmp_path: Path) -> None:
    (tmp_path / "tags.txt").write_bytes("\ufeffred car\r\n  3D glasses \n\nzoo".encode())
    assert listfiles.read("file:tags.txt", tmp_path) == ["red car", "3D glasses", "zoo"]
    absolute = f"file:{tmp_path / 'tags.txt'}"
    assert listfiles.read(absolute, Path("elsewhere")) == ["red car", "3D glasses", "zoo"]


def test_lines_of_numbers_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "thresholds.txt").write_text("0.65\n1\n 0.89\n")
    assert listfiles.read("file:thresholds.txt", tmp_path) == [0.65, 1.0, 0.89]


def test_words_that_python_takes_for_numbers_stay_words(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("nan\ninfinity\n")
    assert listfiles.read("file:words.txt", tmp_path) == ["nan", "infinity"]


def test_json_arrays_are_read(tmp_path: Path) -> None:
    (tmp_path / "tags.json").write_text('["1", "two words"]')
    assert listfiles.read("file:tags.json", tmp_path) == ["1", "two words"]
    (tmp_path / "thresholds.json").write_text("[0.5, 1]")
    assert listfiles.read("file:thresholds.json", tmp_path) == [0.5, 1.0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.txt", None, r"absent\.txt', which can not be read"),
        ("binary.txt", b"\xff\xfe\x00", "can not be read"),
        ("empty.txt", b" \n\n", "holds nothing"),
        ("broken.json", b"[1,", "not valid JSON"),
        ("table.json", b'{"a": 1}', "must hold an array, not dict"),
        ("mixed.json", b'["a", 1]', "strings alone or numbers alone"),
        ("flags.json", b"[true]", "strings alone or numbers alone"),
        ("nan.json", b"[NaN]", "strings alone or numbers alone"),
        ("infinite.json", b"[0.5, 1e400]", "strings alone or numbers alone"),
        ("large.json", b"[1" + b"0" * 400 + b"]", "strings alone or numbers alone"),
        ("long.json", b"[" + b"1" * 5000 + b"]", "not valid JSON"),
        ("deep.json", b"[" * 100_000, "not valid JSON"),
        ("nul\0.txt", None, "can not be read"),
        ("~nobody at all/x.txt", None, "can not be read"),
        ("/dev/zero", None, "can not be read: it is a folder, pipe or device"),
        ("..", None, "can not be read: it is a folder, pipe or device"),
    ],
)
def test_what_is_no_list_is_refused(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SettingsError, match=message):
        listfiles.read(f"file:{name}", tmp_path)


def test_references_are_replaced_wherever_they_stand(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x\ny\n")
    value = {"one": "file:a.txt", "more": ["w", "file:a.txt", 3], "none": "a file: b"}
    assert listfiles.expand(value, tmp_path) == {
        "one": ["x", "y"],
        "more": ["w", "x", "y", 3],
        "none": "a file: b",
    }


def preset(folder: Path, text: str) -> settings.Preset:
    path = folder / "mine.toml"
    path.write_text(text)
    return settings.load_preset(str(path))


def test_presets_find_their_files_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "words.txt").write_text("cat\ndog\n")
    (tmp_path / "least.txt").write_text("0.5\n0.25\n0.75\n")
    found = preset(
        tmp_path,
        "[lists]\nanimals = 'file:words.txt'\n"
        "[tags.a]\nvocabulary = ['$animals', 'car']\nthresholds = 'file:least.txt'\n"
        "[tags.b]\nvocabulary = ['file:words.txt', 'car']\n",
    )
    assert found.tables["tags.a"]["vocabulary"] == found.tables["tags.b"]["vocabulary"]
    first, _ = settings.stages(found)
    assert first.options()["vocabulary"] == ("cat", "dog", "car")
    assert first.options()["thresholds"] == (0.5, 0.25, 0.75)
    monkeypatch.chdir(tmp_path)
    (changed, _) = settings.stages(
        settings.override(
            found, ["tags.a.vocabulary=file:words.txt", "tags.a.thresholds=[0.1, 0.2]"]
        )
    )
    assert changed.options()["vocabulary"] == ("cat", "dog")


def test_another_content_is_another_computation(tmp_path: Path) -> None:
    text = "[tags.a]\nmodel = 'owner/name'\nvocabulary = 'file:words.txt'\n"
    (tmp_path / "words.txt").write_text("cat\ndog\n")
    (before,) = make_plan(settings.stages(preset(tmp_path, text))).steps
    (tmp_path / "words.txt").write_text("cat\ncow\n")
    (after,) = make_plan(settings.stages(preset(tmp_path, text))).steps
    assert before.fingerprint != after.fingerprint
