"""Before any work begins every model is here and pinned, or one message names all that are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from grand_pipeline import preflight, settings
from grand_pipeline.errors import MissingDependencyError
from grand_pipeline.hub_cache import lacking
from grand_pipeline.settings import Preset
from stages import hub as loading
from tests.hub_server import Hub, commit_of, serving
from tests.test_weights import COMMIT, cached
from tests.tiny.checkpoints import checkpoint, siglip

TAGS = {"model": "owner/siglip", "vocabulary": ["dog", "cat"]}
CAPTIONS = {"model": "owner/blip"}


def preset(**tables: dict[str, object]) -> Preset:
    return Preset("mine", "", {key.replace("__", "."): table for key, table in tables.items()})


def test_a_preset_without_models_of_the_hub_is_left_alone() -> None:
    default = settings.load_preset("picturebook")
    assert preflight.ready(default, None, print) == default


def test_options_are_pinned_whether_written_or_by_default(tmp_path: Path) -> None:
    environment = cached(tmp_path, "owner/siglip")
    cached(tmp_path, "google/owlv2-base-patch16-ensemble")
    found = preflight.pinned(preset(tags__a=TAGS, phrase_grounding__b={}), environment)
    assert found.tables["tags.a"]["model"] == f"owner/siglip@{COMMIT}"
    name = f"google/owlv2-base-patch16-ensemble@{COMMIT}"
    assert found.tables["phrase_grounding.b"]["model"] == name
    assert preflight.pinned(found, {"HF_HUB_CACHE": "/absent"}) == found


def test_the_tokenizer_of_a_server_is_pinned_and_its_model_is_not(tmp_path: Path) -> None:
    environment = cached(tmp_path, "owner/llm")
    (tmp_path / "models--owner--llm" / "snapshots" / COMMIT / "tokenizer.json").write_text("{}")
    table = {"endpoint": "http://host/v1", "model": "owner/llm", "tokenizer": "owner/llm"}
    found = preflight.pinned(preset(context=table), environment).tables["context"]
    assert (found["model"], found["tokenizer"]) == ("owner/llm", f"owner/llm@{COMMIT}")


def test_every_missing_model_is_a_line_with_its_stages(tmp_path: Path) -> None:
    chosen = preset(
        tags__a=TAGS, landmark={"model": "owner/siglip"}, captions__b=CAPTIONS, captions__c=CAPTIONS
    )
    environment = {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    with pytest.raises(MissingDependencyError) as refused:
        preflight.ready(chosen, None, print, environment=environment)
    first, *lines, last = str(refused.value).splitlines()
    assert (
        first == "2 models are not on this machine, and HF_HUB_OFFLINE is set; no work was begun:"
    )
    assert sorted(line.split(": ")[0] for line in lines) == [
        "  captions.b, captions.c",
        "  tags.a, landmark",
    ]
    assert last.startswith("Fetch what can be fetched: grand models pull ")


def test_stages_that_do_not_run_need_no_model(tmp_path: Path) -> None:
    chosen = preset(tags__a=TAGS, captions__b=CAPTIONS)
    environment = cached(tmp_path, "owner/siglip") | {"HF_HUB_OFFLINE": "1"}
    found = preflight.ready(chosen, "tags.a", print, environment=environment)
    assert found.tables["tags.a"]["model"] == f"owner/siglip@{COMMIT}"


def test_without_a_network_the_message_says_so(tmp_path: Path) -> None:
    environment = {"HF_HUB_CACHE": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:1"}
    with pytest.raises(MissingDependencyError, match=r"tags\.a: owner/siglip.*\n.*does not answer"):
        preflight.ready(preset(tags__a=TAGS), None, print, environment=environment)


def test_a_packaged_preset_is_named_in_the_remedy(tmp_path: Path) -> None:
    environment = {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    chosen = Preset("picturebook", "", {"tags.a": TAGS})
    with pytest.raises(MissingDependencyError, match="grand models pull --preset picturebook"):
        preflight.ready(chosen, None, print, environment=environment)


def test_on_a_cluster_nothing_is_looked_for(tmp_path: Path) -> None:
    environment = {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    chosen = preset(tags__a=TAGS)
    assert preflight.ready(chosen, None, print, alone=False, environment=environment) == chosen


def test_what_is_missing_is_fetched_first_and_loads(tmp_path: Path) -> None:
    files = {path.name: path.read_bytes() for path in Path(checkpoint(siglip)).iterdir()}
    said: list[str] = []
    with serving(Hub({"owner/siglip": files})) as hub:
        environment = {"HF_HUB_CACHE": str(tmp_path), "HF_ENDPOINT": hub.address}
        found = preflight.ready(preset(tags__a=TAGS), None, said.append, environment=environment)
        again = preflight.ready(found, None, said.append, environment=environment)
    assert found == again
    assert found.tables["tags.a"]["model"] == f"owner/siglip@{commit_of(files)}"
    assert any("config.json" in path for _, path, _ in hub.asked) and said
    folder = tmp_path / "models--owner--siglip" / "snapshots" / commit_of(files)
    assert lacking(folder) is None
    assert loading.pretrained("AutoModel", str(folder), "cpu").config.model_type == "siglip"
