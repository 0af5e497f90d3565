import argparse
from pathlib import Path
from typing import Any

import pytest
import torch

from grand_pipeline.errors import MissingDependencyError, SettingsError
from stages.mdetr import checkpoint, layout
from tests.tiny import mdetr as tiny


def heads(model: Any) -> torch.Tensor:
    weight: torch.Tensor = model.weights["class_embed.weight"]
    return weight


def test_a_published_file_gives_its_model_not_the_running_mean() -> None:
    assert checkpoint.is_checkpoint("x/refcocog_EB3_checkpoint.pth")
    assert not checkpoint.is_checkpoint("google/owlv2-base-patch16-ensemble")
    model = checkpoint.load(tiny.checkpoint("resnet"), "cpu")
    assert torch.equal(heads(model), tiny.state("resnet")["class_embed.weight"])
    assert not any("running_var" in key or "text_encoder" in key for key in model.weights)


def test_a_model_that_draws_masks_too_is_taken_without_them(tmp_path: Path) -> None:
    state = {f"detr.{key}": value for key, value in tiny.state("efficientnet").items()}
    state |= {
        "bbox_attention.q_linear.weight": torch.zeros(3),
        "mask_head.lay1.bias": torch.ones(2),
    }
    model = checkpoint.load(tiny.save(state, tmp_path / "phrasecut.pth"), "cpu")
    assert torch.equal(heads(model), tiny.state("efficientnet")["class_embed.weight"])


def test_a_bare_table_in_the_format_before_zip_is_read(tmp_path: Path) -> None:
    path = tmp_path / "bare.pth"
    torch.save(tiny.state("resnet"), path, _use_new_zipfile_serialization=False)
    assert heads(checkpoint.load(str(path), "cpu")).shape == (tiny.POSITIONS, tiny.WIDTH)


def test_nothing_but_weights_and_a_command_line_is_read(tmp_path: Path) -> None:
    path = tmp_path / "foreign.pth"
    state = tiny.state("resnet")
    torch.save({"model": state, "args": argparse.Namespace(output_dir=Path("x"))}, path)
    with pytest.raises(SettingsError, match=r"can not be read as weights alone"):
        checkpoint.load(str(path), "cpu")
    path.write_bytes(b"nothing that anybody knows")
    with pytest.raises(SettingsError, match=r"foreign\.pth' can not be read"):
        checkpoint.load(str(path), "cpu")
    torch.save([1, 2], path)
    with pytest.raises(SettingsError, match="no table of weights"):
        checkpoint.load(str(path), "cpu")
    with pytest.raises(SettingsError, match=r"absent\.pth' does not exist.*zenodo"):
        checkpoint.load("absent.pth", "cpu")
    with pytest.raises(SettingsError, match=r"1 missing: input_proj\.bias"):
        fewer = {key: value for key, value in state.items() if key != "input_proj.bias"}
        checkpoint.load(tiny.save(fewer, path), "cpu")
    assert argparse.Namespace not in torch.serialization.get_safe_globals()


def test_the_tokenizer_beside_the_file_is_seen(tmp_path: Path) -> None:
    file = tiny.checkpoint("resnet")
    assert checkpoint.tokenizer(file) == str(Path(file).parent)
    lonely = tmp_path / "lonely.pth"
    lonely.touch()
    assert checkpoint.tokenizer(str(lonely)) == "FacebookAI/roberta-base"


def test_a_library_with_other_names_is_told_from_a_bad_file() -> None:
    state = tiny.state("resnet")
    design = layout.design({key: tuple(value.shape) for key, value in state.items()}, "here")
    # As if the library had one layer more than the file.
    state["transformer.text_encoder.embeddings.word_embeddings.weight"] = torch.zeros(3, 3)
    with pytest.raises(MissingDependencyError, match=r"transformers==5\.23"):
        checkpoint.assembled(design, state, "cpu", torch.float32)
