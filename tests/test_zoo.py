"""The model table: its form, and its parameter counts against models built at published size."""

from __future__ import annotations

import pytest
import torch

from benchmarks.published import BUILDERS
from benchmarks.published_sizes import parameters
from grand_pipeline.errors import SettingsError
from grand_pipeline.zoo import MODELS, query
from grand_pipeline.zoo.files import FILES


def test_a_model_stands_once_per_role_and_says_what_was_verified() -> None:
    keys = [(model.role, model.name) for model in MODELS]
    assert len(keys) == len(set(keys))
    for model in MODELS:
        assert model.role and model.name and model.licence and model.verified, model
        assert model.parameters is None or model.parameters > 1000, model


def test_a_count_is_claimed_only_where_it_can_be_repeated() -> None:
    for model in MODELS:
        if "meta device" in model.verified:
            assert model.parameters and model.hub_id in BUILDERS, model.hub_id
    assert {*BUILDERS} <= {model.hub_id for model in MODELS}


@pytest.mark.slow
@pytest.mark.parametrize("hub_id", sorted(BUILDERS))
def test_parameters_are_those_of_the_published_size(hub_id: str) -> None:
    built, kind = parameters(BUILDERS[hub_id])
    rows = [model for model in MODELS if model.hub_id == hub_id]
    assert {(model.parameters, model.architecture) for model in rows} == {(built, kind)}
    assert torch.get_default_device().type == "cpu"


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("Salesforce/blip-image-captioning-base", "BLIP base"),
        ("Salesforce/blip-image-captioning-base@abc", "BLIP base"),
        ("open_clip:timm/eva02_base_patch16_clip_224.merged2b_s8b_b131k", "EVA-02-CLIP B/16"),
        ("~/models/sam_vit_b_01ec64.pth", "SAM ViT-B, original file sam_vit_b_01ec64.pth"),
    ],
)
def test_a_preset_s_model_is_found_in_the_table(model: str, name: str) -> None:
    row = query.known(model)
    assert row is not None and row.name == name


@pytest.mark.parametrize("model", ["embedded:sam", "owner/own", "/mine/own.pth", "", ".pth"])
def test_a_model_of_the_user_s_own_is_in_no_row(model: str) -> None:
    assert query.known(model) is None


def test_every_published_file_belongs_to_a_row() -> None:
    for file in FILES:
        row = query.known(f"/anywhere/{file.name}")
        assert row is not None and file.name in row.name
        assert file.url.partition("?")[0].endswith(file.name)
        assert file.bytes is None or query.disk(row) == file.bytes


def test_roles_are_found_by_their_words() -> None:
    assert {row.role for row in query.of_role("MASKS")} == {"automatic masks", "masks of boxes"}
    with pytest.raises(SettingsError, match="no model has the role 'mask maker'"):
        query.of_role("mask maker")
