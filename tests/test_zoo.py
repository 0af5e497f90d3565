"""The model table: its form, and its parameter counts against models built at published size."""

from __future__ import annotations

import pytest
import torch

from benchmarks.published import BUILDERS
from benchmarks.published_sizes import parameters
from grand_pipeline.zoo import MODELS


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
