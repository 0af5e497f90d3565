import pytest
import torch

from stages import zero_shot
from tests.tiny.checkpoints import Builder, checkpoint, clip, siglip
from tests.tiny.records import ODD_SIZES, record

TEXTS = ["a photo of a cat", "a dog", "grass"]


@pytest.mark.parametrize("build", [clip, siglip])
def test_two_towers_agree_with_the_joint_model(build: Builder) -> None:
    model = zero_shot.load(checkpoint(build), "cpu")
    image = record().image
    padding = "max_length" if model.sigmoid else True
    inputs = model.processor(text=TEXTS, images=image, padding=padding, return_tensors="pt")
    with torch.inference_mode():
        joint = model.model(**inputs).logits_per_image
    ours = model.logits(model.images([image]), model.texts(TEXTS))
    assert torch.allclose(ours, joint, atol=1e-4)
    assert model.sigmoid is (build is siglip)


@pytest.mark.parametrize("build", [clip, siglip])
def test_batch_equals_single_and_odd_sizes_are_taken(build: Builder) -> None:
    model = zero_shot.load(checkpoint(build), "cpu")
    images = [record(size, seed=i).image for i, size in enumerate(((40, 60), *ODD_SIZES))]
    together = model.images(images)
    apart = torch.cat([model.images([image]) for image in images])
    assert torch.allclose(together, apart, atol=1e-5)
    assert torch.allclose(together.norm(dim=-1), torch.ones(len(images)), atol=1e-5)


def test_texts_are_encoded_once_and_in_order() -> None:
    model = zero_shot.load(checkpoint(siglip), "cpu")
    first = model.texts(TEXTS)
    assert torch.equal(model.texts(TEXTS[::-1]), first.flip(0))
    assert len(model._texts) == 3


def test_choice_sums_to_one() -> None:
    model = zero_shot.load(checkpoint(siglip), "cpu")
    chances = model.choice(model.images([record().image]), model.texts(TEXTS))
    assert float(chances.sum()) == pytest.approx(1.0)
