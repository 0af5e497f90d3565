from __future__ import annotations

from pathlib import Path

import pytest

from grand_pipeline import hub_cache, weights
from grand_pipeline.errors import SettingsError
from grand_pipeline.weights import Source

COMMIT = "0123456789" * 4


def cached(cache: Path, name: str, commit: str = COMMIT) -> dict[str, str]:
    """An environment whose cache holds a model, whole, and calls its commit main."""
    files = hub_cache.repository(cache, name) / "snapshots" / commit
    files.mkdir(parents=True)
    for file in ("config.json", "model.safetensors"):
        (files / file).write_bytes(b"{}")
    hub_cache.pin(cache, name, None, commit)
    return {"HF_HUB_CACHE": str(cache)}


def test_a_file_is_a_model_known_by_its_content(tmp_path: Path) -> None:
    file, copy, other = (tmp_path / name for name in ("a.pth", "b.pth", "c.pth"))
    file.write_bytes(b"weights")
    copy.write_bytes(b"weights")
    other.write_bytes(b"others")
    assert weights.resolve(str(file)) == str(file)
    assert weights.revision(str(file)) is None
    assert weights.digest(str(file)) == weights.digest(str(copy)) != weights.digest(str(other))


def test_what_looks_like_a_path_has_to_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist; give a file, a folder or a hub id"):
        weights.resolve(str(tmp_path / "nothing.pth"))


def test_what_is_not_here_yet_is_known_by_its_name_until_it_is(tmp_path: Path) -> None:
    file = tmp_path / "later.pth"
    assert weights.digest(str(file)) == f"absent:{file}"
    file.write_bytes(b"weights")
    assert weights.digest(str(file)).startswith("sha256:")
    assert weights.digest("xx_none_here_sm") == "spacy:xx_none_here_sm-absent"


def test_a_hub_id_is_known_by_its_name_and_revision() -> None:
    assert weights.resolve("owner/name@abc") == "owner/name"
    assert weights.revision("owner/name@abc") == "abc"
    assert weights.digest("owner/name@abc") == "hub:owner/name@abc"


@pytest.mark.parametrize(
    ("model", "source"),
    [
        ("owner/name", Source("hub", "owner/name")),
        ("owner/name@v1.0", Source("hub", "owner/name", "v1.0")),
        ("open_clip:owner/name@v1", Source("hub", "owner/name", "v1", "open_clip")),
        ("tokenizer:owner/name", Source("hub", "owner/name", None, "tokenizer")),
        ("tokenizer:/folder", Source("path", "/folder", None, "tokenizer")),
        ("gpt2", Source("hub", "gpt2")),
        ("en_core_web_sm", Source("spacy", "en_core_web_sm")),
        ("embedded:sam", Source("embedded", "sam")),
        ("~/models/a@b", Source("path", "~/models/a@b")),
        ("weights/ram.pth", Source("path", "weights/ram.pth")),
    ],
)
def test_what_a_name_means(model: str, source: Source) -> None:
    assert weights.source(model) == source


@pytest.mark.parametrize("name", ["owner/name", "owner/name@main", f"owner/name@{COMMIT}"])
def test_what_the_cache_holds_whole_is_loaded_from_there_and_pinned(
    tmp_path: Path, name: str
) -> None:
    environment = cached(tmp_path, "owner/name")
    files = tmp_path / "models--owner--name" / "snapshots" / COMMIT
    assert weights.resolve(name, environment) == str(files)
    assert weights.revision(name, environment) is None
    assert weights.pinned(name, environment) == f"owner/name@{COMMIT}"


def test_what_the_cache_holds_in_part_is_left_to_the_library(tmp_path: Path) -> None:
    environment = cached(tmp_path, "owner/name")
    (tmp_path / "models--owner--name" / "snapshots" / COMMIT / "model.safetensors").unlink()
    assert weights.resolve("owner/name@main", environment) == "owner/name"
    assert weights.revision("owner/name@main", environment) == "main"
    assert weights.pinned("owner/name@main", environment) == "owner/name@main"


@pytest.mark.parametrize("model", ["embedded:sam", "en_core_web_sm", "/folder", "owner/other"])
def test_nothing_else_is_pinned(tmp_path: Path, model: str) -> None:
    assert weights.pinned(model, cached(tmp_path, "owner/name")) == model


def test_a_pin_keeps_the_prefix(tmp_path: Path) -> None:
    environment = cached(tmp_path, "owner/name")
    files = tmp_path / "models--owner--name" / "snapshots" / COMMIT
    (files / "tokenizer.json").write_bytes(b"{}")
    pinned = weights.pinned("tokenizer:owner/name", environment)
    assert pinned == f"tokenizer:owner/name@{COMMIT}"
