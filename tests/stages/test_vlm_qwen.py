from typing import Any

import pytest
from PIL import Image

from stages import vlm
from stages.vlm import Options, Writing
from stages.vlm_chat import ChatVlm
from tests.tiny.checkpoints import Builder, checkpoint
from tests.tiny.vlms import bare_qwen2_5_vl, qwen2_5_vl, qwen3_vl

PATCH, MERGE = 4, 2


def inputs(build: Builder, sizes: list[tuple[int, int]], **options: Any) -> tuple[Any, ChatVlm]:
    model = vlm.load(checkpoint(build), "cpu", Options(**options))
    assert isinstance(model, ChatVlm)
    images = [Image.new("RGB", size, "red") for size in sizes]
    return model._inputs(images, ["a cat", "several people"][: len(sizes)]), model


@pytest.mark.parametrize("build", [qwen2_5_vl, qwen3_vl])
def test_an_image_has_as_many_places_as_tokens(build: Builder) -> None:
    given, model = inputs(build, [(32, 16), (24, 24)])
    grids = given["image_grid_thw"]
    assert grids.tolist() == [[1, 4, 8], [1, 6, 6]]
    here = given["input_ids"] == model.model.config.image_token_id
    assert here.sum(1).tolist() == [4 * 8 // 4, 6 * 6 // 4]
    assert (here.int() == given["mm_token_type_ids"]).all()
    assert len(given["pixel_values"]) == 4 * 8 + 6 * 6
    # Answers begin together: what is shorter is padded in front.
    assert given["attention_mask"][:, -1].tolist() == [1, 1]
    assert given["attention_mask"][:, 0].tolist() == [0, 1]


@pytest.mark.parametrize("build", [qwen2_5_vl, qwen3_vl])
def test_pixels_are_bounded_by_options(build: Builder) -> None:
    def tokens(size: tuple[int, int], **options: Any) -> int:
        given, _ = inputs(build, [size], **options)
        return int(given["image_grid_thw"].prod()) // MERGE**2

    whole = (8 * PATCH) ** 2
    assert tokens((400, 300)) * (PATCH * MERGE) ** 2 <= whole
    assert tokens((400, 300), max_pixels=4 * whole) > 3 * tokens((400, 300))
    assert tokens((1, 1)) == 1
    assert tokens((1, 1), min_pixels=400) * (PATCH * MERGE) ** 2 >= 400


def test_without_chat_template_the_published_turns_are_written() -> None:
    given, model = inputs(bare_qwen2_5_vl, [(8, 8)])
    assert model.tokenizer.decode(given["input_ids"][0]).split() == [
        "<|im_start|>",
        "user",
        "<|vision_start|>",
        "<|image_pad|>",
        "<|vision_end|>",
        "a",
        "cat",
        "<|im_end|>",
        "<|im_start|>",
        "assistant",
    ]
    assert model.ask([Image.new("RGB", (9, 9))], ["a cat"], Writing(3))
