from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from stages import hub, zero_shot
from stages.zero_shot import ZeroShot
from tests.tiny.checkpoints import Builder, checkpoint, clip, siglip
from tests.tiny.records import record
from tests.tiny.towers import LENGTH, siglip2, siglip2_naflex

TEXTS = ["a photo of a cat", "a dog", "grass"]
BUILDERS = [clip, siglip, siglip2, siglip2_naflex]


@dataclass(frozen=True)
class Counting:
    """Towers that note what they are asked; the embedding of a text is its length."""

    side: int = 32
    scale: Tensor = field(default_factory=lambda: torch.tensor(2.0))
    bias: Tensor | None = None
    asked: list[int] = field(default_factory=list)

    def texts(self, texts: Sequence[str]) -> Tensor:
        self.asked.append(len(texts))
        return torch.tensor([[1.0, float(len(text))] for text in texts])

    def images(self, images: Sequence[Any]) -> Tensor:
        self.asked.append(len(images))
        return torch.ones(len(images), 2)


def padding(model: ZeroShot) -> dict[str, Any]:
    towers: Any = model.towers
    length = towers.model.config.text_config.max_position_embeddings
    return {"padding": "max_length", "max_length": length} if model.sigmoid else {"padding": True}


@pytest.mark.parametrize("build", BUILDERS)
def test_two_towers_agree_with_the_joint_model(build: Builder) -> None:
    model = zero_shot.load(checkpoint(build), "cpu")
    towers: Any = model.towers
    image = record().image
    inputs = {
        **towers.processor.image_processor(images=image, return_tensors="pt"),
        **towers.processor.tokenizer(TEXTS, truncation=True, return_tensors="pt", **padding(model)),
    }
    with torch.inference_mode():
        joint = towers.model(**inputs).logits_per_image
    ours = model.logits(model.images([image]), model.texts(TEXTS))
    assert torch.allclose(ours, joint, atol=1e-4)
    assert model.sigmoid is (build is not clip)


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_says_nearly_the_same(build: Builder, dtype: hub.Dtype) -> None:
    image = record().image
    full, half = (zero_shot.load(checkpoint(build), "cpu", kind) for kind in ("float32", dtype))
    found = [model.logits(model.images([image]), model.texts(TEXTS)) for model in (full, half)]
    assert found[1].dtype == torch.float32
    scale = float(full.towers.scale)
    assert torch.allclose(found[0] / scale, found[1] / scale, atol=0.03)


@pytest.mark.parametrize("build", [siglip2, siglip2_naflex])
def test_texts_are_padded_and_cut_where_the_tokenizer_knows_no_limit(build: Builder) -> None:
    model = zero_shot.load(checkpoint(build), "cpu")
    towers: Any = model.towers
    assert towers.processor.tokenizer.model_max_length > 10**6
    long = "a cat and " * LENGTH
    rows = model.texts(["cat", "CAT", long])
    assert torch.equal(rows[0], rows[1]), "the tokenizer of SigLIP 2 writes everything small"
    padded = towers.processor.tokenizer("cat", padding="max_length", max_length=LENGTH)["input_ids"]
    assert len(padded) == LENGTH
    with torch.inference_mode():
        alone = towers.model.get_text_features(torch.tensor([padded])).pooler_output
    assert torch.allclose(rows[0], alone[0] / alone[0].norm(), atol=1e-5)


def test_texts_are_encoded_once_and_in_order() -> None:
    model = zero_shot.load(checkpoint(siglip), "cpu")
    first = model.texts(TEXTS)
    assert torch.equal(model.texts(TEXTS[::-1]), first.flip(0))
    assert len(model._texts) == 3


def test_long_lists_are_encoded_in_parts_and_only_once() -> None:
    towers = Counting()
    model = ZeroShot(towers)
    words = [f"word {n}" for n in range(21_900)]
    rows = model.texts(words)
    assert rows.shape == (21_900, 2)
    assert sum(towers.asked) == 21_900 and max(towers.asked) == 256
    calls = len(towers.asked)
    model.remember(words)
    assert model.texts(words) is rows
    assert len(towers.asked) == calls, "nothing is asked again"


def test_what_is_remembered_is_bounded() -> None:
    model = ZeroShot(Counting())
    for start in range(0, 60_000, 5_000):
        model.texts([f"word {n}" for n in range(start, start + 5_000)])
    assert len(model._texts) <= 20_000
    assert len(model._lists) <= 8


def test_images_are_encoded_as_many_at_once_as_pixels_allow() -> None:
    small, large = Counting(side=32), Counting(side=2048)
    images = [record().image] * 300
    assert len(ZeroShot(small).images(images)) == len(ZeroShot(large).images(images)) == 300
    assert small.asked == [256, 44]
    assert max(large.asked) == 8


def test_choice_sums_to_one() -> None:
    model = zero_shot.load(checkpoint(siglip), "cpu")
    chances = model.choice(model.images([record().image]), model.texts(TEXTS))
    assert float(chances.sum()) == pytest.approx(1.0)
