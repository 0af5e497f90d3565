"""The cache is found where the library puts it, and a folder is whole or lacks something."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from huggingface_hub import constants

from grand_pipeline import hub_cache

COMMIT = "a" * 40


def test_cache_address_and_offline_are_those_of_the_library() -> None:
    assert hub_cache.folder(os.environ) == Path(constants.HF_HUB_CACHE)
    assert hub_cache.endpoint(os.environ) == constants.ENDPOINT
    assert hub_cache.offline(os.environ) == constants.HF_HUB_OFFLINE


def test_variables_that_move_the_cache() -> None:
    assert hub_cache.folder({"HF_HOME": "/a"}) == Path("/a/hub")
    assert hub_cache.folder({"HF_HOME": "/a", "HF_HUB_CACHE": "/b"}) == Path("/b")
    assert hub_cache.folder({"XDG_CACHE_HOME": "/c"}) == Path("/c/huggingface/hub")
    assert hub_cache.offline({"HF_HUB_OFFLINE": "1"}) and hub_cache.offline(
        {"TRANSFORMERS_OFFLINE": "true"}
    )
    assert not hub_cache.offline({"HF_HUB_OFFLINE": "0"})


def test_a_revision_is_followed_to_its_files(tmp_path: Path) -> None:
    assert hub_cache.snapshot(tmp_path, "a/b") is None
    hub_cache.pin(tmp_path, "a/b", "branch", COMMIT)
    assert hub_cache.commit(tmp_path, "a/b", "branch") == COMMIT
    assert hub_cache.commit(tmp_path, "a/b") is None
    assert hub_cache.snapshot(tmp_path, "a/b", "branch") is None, "noted, but not fetched"
    files = tmp_path / "models--a--b" / "snapshots" / COMMIT
    files.mkdir(parents=True)
    assert hub_cache.snapshot(tmp_path, "a/b", "branch") == files
    assert hub_cache.snapshot(tmp_path, "a/b", COMMIT) == files


SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


@pytest.mark.parametrize(
    ("names", "part", "lacks"),
    [
        (["config.json", "model.safetensors"], "model", None),
        (["config.json", "pytorch_model.bin"], "model", None),
        (["config.json", "model.safetensors.index.json", *SHARDS], "model", None),
        (["config.json", *SHARDS], "model", "no model.safetensors.index.json"),
        (["config.json", SHARDS[0]], "model", "1 of 2 files of weights"),
        (["config.json"], "model", "no weights"),
        (["model.safetensors"], "model", "no config.json"),
        ([], "model", "no config.json"),
        (["meta.json", "config.cfg"], "model", None),
        (["vocab.txt"], "tokenizer", None),
        (["config.json"], "tokenizer", "no tokenizer.json, vocab.json or the like"),
        (["open_clip_config.json", "open_clip_model.safetensors"], "open_clip", None),
        (["open_clip_config.json"], "open_clip", "no weights"),
        (["config.json", "model.safetensors"], "open_clip", "no open_clip_config.json"),
    ],
)
def test_what_a_folder_lacks(
    tmp_path: Path, names: list[str], part: hub_cache.Part, lacks: str | None
) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"")
    assert hub_cache.lacking(tmp_path, part) == lacks
